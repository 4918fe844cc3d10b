//! What both processes need: telemetry, health, shutdown, and readable errors.
//!
//! It depends on no event, no database and no AWS SDK.

mod caught;
mod guarded;
mod health;
mod log_fields; // key=value
mod process;
mod readiness;
mod report;
mod shutdown;
mod sources;
mod telemetry;
mod trace;

pub use caught::{Panicked, again, apart, caught};
pub use guarded::Guarded;
pub use process::{Build, Finished, Patience, Started, block_on, duration, refuse, start, until_stopped};
pub use readiness::{Halted, Part, Readiness};
pub use report::Chain;
pub use shutdown::process_name;
pub use sources::{Sources, Standing, Trouble, backoff};
pub use telemetry::{Logs, install_metrics};
pub use trace::{Role, Span, Tracer};
