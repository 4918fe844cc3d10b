//! Where deliveries come from.
#[cfg(feature = "aws")]
pub use outbox_aws::{SqsQueue, SqsReceipt};
pub use outbox_postgres::SESSION;
pub use outbox_postgres::queue::{Bell, PostgresQueue, Receipt, Watched};
pub use outbox_transport::{Delivery, Depth, Depths, Limits, Queue, QueueError, Wait, Wanted};
