//! What `cargo xtask` and the tests share: a throwaway Postgres, a stand-in for AWS, Terraform, and the project's own
//! programs as processes.

pub mod answers;
pub mod bench;
pub mod cluster;
pub mod demo;
pub mod emulator;
pub mod process;
pub mod scrape;
pub mod servers;
pub mod strict;
pub mod terraform;
pub mod test;
pub mod tools;
pub mod torture;
