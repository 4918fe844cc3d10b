//! Was it done before.
#[cfg(feature = "aws")]
pub use outbox_aws::DynamoDedup;
pub use outbox_postgres::PostgresDedup;
pub use outbox_transport::{Dedup, DedupError, Lease, LeaseAnswer, Poison, Recorded, Released};
