//! What `cargo xtask` and the tests share: a throwaway Postgres, and the project's own programs as processes.

pub mod cluster;
pub mod demo;
pub mod process;
pub mod test;
pub mod tools;
