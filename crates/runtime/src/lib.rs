//! What both processes need: telemetry, health, shutdown, and errors told to a person.
//!
//! Knows no event, no database and no AWS.

mod health;
mod process;
mod report;
mod shutdown;
mod telemetry;

pub use process::{block_on, duration, refuse, start, until_stopped};
pub use report::Chain;
pub use shutdown::process_name;
pub use telemetry::{Logs, install_metrics};
