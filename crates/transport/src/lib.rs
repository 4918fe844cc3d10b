//! The interfaces between the processes and the transports. Each transport implements them in a crate of its own:
//! `outbox-postgres` and `outbox-aws`.

#[cfg(feature = "args")]
pub mod args; // the arguments that all binaries share
pub mod operate; // an operator's questions and repairs
pub mod process; // the report of a relay or a worker

mod brake;
mod bus;
mod dedup;
mod entry;
mod history;
mod outcome;
mod queue;
mod unsettled;

pub use brake::{BRAKE_MAX, Brake, BrakeKind, Braked, Brakes, BrakesError, WHY_CHARS_MAX};
pub use bus::{BusLimits, PutError, PutErrorKind, RemoteBus};
pub use dedup::{DEDUP_WINDOW, Dedup, DedupError, Lease, LeaseAnswer, Poison, Recorded, Released};
pub use entry::Entry;
pub use history::{Budget, ERROR_CHARS_MAX, LOST_LEASE, Note, keeps_attempt};
pub use outcome::{Again, Outcome};
pub use queue::{Delivery, Depth, Depths, Limits, Queue, QueueError, Wait, Wanted};
pub use unsettled::{Kind, Unsettled};
