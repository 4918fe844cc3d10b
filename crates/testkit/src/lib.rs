//! What tests, benchmarks, demo and torture share: a throwaway Postgres, a stand-in for AWS, Terraform, and the project's own
//! programs as processes.

pub mod answers; // what RPC servers answer, byte for byte, and what each answer means
pub mod cluster; // a throwaway Postgres
pub mod emulator; // a stand-in for AWS
pub mod process; // the project's own programs, built and started
pub mod proxy; // a proxy before Postgres that cuts and stalls connections
pub mod scrape; // what a process serves to Prometheus
pub mod servers; // Postgres's servers of other versions
pub mod strict; // a proxy before the stand-in that refuses what AWS refuses
pub mod terraform; // infra/, applied
pub mod tools; // programs of other people
