//! What tests start, and how they look at it.

pub(crate) mod cloud; // Terraform and the emulator, once for all tests
mod databases; // databases of the one throwaway cluster
mod events; // what tests publish, and who subscribes
pub(crate) mod operator; // the operator's commands, run and pasted
pub(crate) mod pgbouncer; // a pooler before Postgres
pub(crate) mod processes; // what must hold of every process that is stopped
pub(crate) mod role; // roles with the rights of one part
mod rpcs; // the RPCs' server, and what it was called with
pub(crate) mod server; // a Connect server for whatever methods a test thinks of
pub(crate) mod stub; // a server that fails as AWS does
mod turns; // which test has the machine to itself
mod waiting; // for what happens, never for time
pub(crate) mod world; // what every test starts with
