//! The seams between relay and worker on one side, and what carries events on the other. Each transport fills them in a
//! crate of its own: `outbox-postgres` and `outbox-aws`.

#[cfg(feature = "args")]
pub mod args; // what all binaries are told
pub mod operate; // what an operator asks and repairs

mod bus;
mod dedup;
mod entry;
mod outcome;
mod queue;
mod unsettled;

pub use bus::{BusLimits, PutError, PutErrorKind, RemoteBus};
pub use dedup::{Dedup, DedupError, Lease, LeaseAnswer, Poison, Recorded, Released};
pub use entry::Entry;
pub use outcome::{Again, Outcome};
pub use queue::{Delivery, Depth, Depths, Limits, Queue, QueueError, Wait, Wanted};
pub use unsettled::{Kind, Unsettled};
