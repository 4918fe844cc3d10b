//! What tests start, and how they observe it.

pub(crate) mod browser; // of the console, without scripts
pub(crate) mod cloud; // Terraform and the emulator, once for all tests
mod databases; // databases of the one throwaway cluster
mod events; // events that tests publish, and their subscribers
pub(crate) mod operator; // the operator's commands, run and pasted
pub(crate) mod pgbouncer; // a pooler before Postgres
pub(crate) mod processes; // checks of every process that is stopped
pub(crate) mod release; // the files of a release
pub(crate) mod role; // roles with the rights of one part
mod rpcs; // the RPCs' server, and its calls
pub(crate) mod server; // a Connect server for any method
pub(crate) mod stub; // a server that fails as AWS does
pub(crate) mod tls; // certificates, and the RPCs' server behind them
mod turns; // turns of tests that need the machine to themselves
mod waiting; // waiting for events, never for time
pub(crate) mod world; // what every test starts with
