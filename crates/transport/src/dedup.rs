//! Was it done before, and is somebody on it: one record per event and RPC.

use std::time::Duration;

use outbox_event::EventId;

use crate::{Outcome, Unsettled};

/// The right to call an RPC for an event, until it ends. The token fences: who lost the lease can't complete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    pub event: EventId,
    pub token: i64,
}

/// What the record says to a worker that asks for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// Ours to call.
    Won(Lease),
    /// Ours to call, after a wait that its queue could not hold: it came back meanwhile, without an attempt. So many were made.
    WonAfter(Lease, u32),
    /// Nobody may call it before this is over: so its server asked.
    Early { remaining: Duration },
    /// The RPC succeeded for this event before.
    Done,
    /// Somebody else is on it, at most this long.
    Held { remaining: Duration },
}

/// A lease given back, because there was no call or it did not succeed, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    pub lease: Lease,
    pub attempt: u32,
    pub outcome: Outcome,
    /// How long nobody may call it, if its queue can't hide it for as long.
    pub waits: Option<Duration>,
}

/// What became of the record of a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Written,
    /// Somebody else has the lease by now: nothing is written.
    Lost,
}

/// The dedup record of one RPC.
pub trait Dedup: Send + Sync + 'static {
    /// Leases each event; one answer per event, in their order.
    fn lease(&self, events: &[EventId]) -> impl Future<Output = Result<Vec<LeaseAnswer>, DedupError>> + Send;

    /// Records for good that the RPC succeeded. One answer per lease, in their order.
    fn complete(&self, leases: &[Lease]) -> impl Future<Output = Vec<Result<Recorded, Unsettled>>> + Send;

    /// Gives leases back whose call did not succeed. One answer for each, in their order.
    fn release(&self, released: &[Released]) -> impl Future<Output = Vec<Result<(), Unsettled>>> + Send;
}

/// Where `outbox poison` writes that what an RPC refuses is poison: then nothing of it is held.
pub trait Poison: Send + Sync + 'static {
    /// How long that still holds, if it was written.
    fn poison_for(&self) -> impl Future<Output = Result<Option<Duration>, DedupError>> + Send;
}

#[derive(Debug, thiserror::Error)]
#[error("the dedup record can't be reached")]
pub struct DedupError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl DedupError {
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }
}
