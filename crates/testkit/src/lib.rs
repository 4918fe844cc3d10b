//! What tests, benchmarks, demo and torture share: a throwaway Postgres, an emulator of AWS, Terraform, and the project's
//! own programs as processes.

pub mod answers; // answers of RPC servers, byte for byte, and their meaning
pub mod cluster; // a throwaway Postgres
pub mod database; // databases, created, migrated and dropped
pub mod emulator; // an emulator of AWS
pub mod process; // the project's own programs, built and started
pub mod proxy; // a proxy before Postgres that cuts and stalls connections
pub mod scrape; // the metrics of a process
pub mod servers; // servers of other versions of Postgres
pub mod strict; // a proxy in front of the emulator that refuses what AWS refuses
pub mod terraform; // infra/, applied
pub mod tools; // programs of other projects
