//! Was it done before, and is somebody on it: one record per event and RPC.

#[cfg(feature = "aws")]
mod dynamodb;
mod postgres;

#[cfg(feature = "aws")]
pub use dynamodb::DynamoDedup;
pub use postgres::PostgresDedup;

use std::time::Duration;

use event::EventId;

/// The right to call an RPC for an event, until it ends. The token fences: who lost the lease can't complete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    pub event: EventId,
    pub token: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Ours to call.
    Won(Lease),
    /// The RPC succeeded for this event before.
    Done,
    /// Somebody else is on it, at most this long.
    Held { remaining: Duration },
}

/// A lease given back, because its call did not succeed, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released<'a> {
    pub lease: Lease,
    pub attempt: u32,
    /// It goes to the dead-letter queue; otherwise it comes again.
    pub dead: bool,
    pub code: &'a str,
    pub error: &'a str,
}

/// The dedup record of one RPC.
pub trait Dedup: Send + Sync + 'static {
    /// Claims each event; one answer per event, in their order.
    fn claim(&self, events: &[EventId]) -> impl Future<Output = Result<Vec<Claim>, DedupError>> + Send;

    /// Records for good that the RPC succeeded. Returns the leases that were lost meanwhile: those are not recorded.
    fn complete(&self, leases: &[Lease]) -> impl Future<Output = Result<Vec<Lease>, DedupError>> + Send;

    /// Gives leases back whose call did not succeed.
    fn release(&self, released: &[Released<'_>]) -> impl Future<Output = Result<(), DedupError>> + Send;
}

#[derive(Debug, thiserror::Error)]
#[error("the dedup record can't be reached")]
pub struct DedupError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl From<sqlx::Error> for DedupError {
    fn from(error: sqlx::Error) -> Self {
        Self(Box::new(error))
    }
}
