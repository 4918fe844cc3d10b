//! What both processes need: telemetry, health, shutdown, and readable errors.
//!
//! It depends on no event, no database and no AWS SDK.

mod caught;
mod guarded;
mod hangups;
mod health;
mod log_fields; // key=value
mod process;
mod readiness;
mod reload;
mod report;
mod shutdown;
mod sources;
mod tally;
mod telemetry;
mod trace;

pub use caught::{Panicked, again, apart, caught};
pub use guarded::Guarded;
pub use hangups::Hangups;
pub use process::{Build, Finished, Patience, Started, block_on, duration, refuse, start, until_stopped};
pub use readiness::{Halted, Part, Readiness};
pub use reload::{RELOAD, reload, reload_nothing, shows_router};
pub use report::Chain;
pub use shutdown::process_name;
pub use sources::{Sources, Standing, Trouble, backoff};
pub use tally::Tally;
pub use telemetry::{Logs, SECONDS_BOUNDS, install_metrics};
pub use trace::{Role, Span, Tracer};
