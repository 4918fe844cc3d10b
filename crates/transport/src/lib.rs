//! The seams between relay and worker on one side, and what carries events on the other. Each transport fills them in a
//! crate of its own: `outbox-postgres` and `outbox-aws`.

mod bus;
mod dedup;
mod entry;
mod queue;
mod unsettled;

pub use bus::{BusLimits, PutError, PutErrorKind, RemoteBus};
pub use dedup::{Claim, Dedup, DedupError, Lease, Recorded, Released};
pub use entry::Entry;
pub use queue::{Delivery, Depth, Depths, Limits, Poison, Queue, QueueError, Settlement, Wait, Wanted};
pub use unsettled::{Kind, Unsettled};
