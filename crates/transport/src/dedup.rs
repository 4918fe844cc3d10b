//! The dedup record: whether an RPC succeeded for an event, and which worker holds the lease.

use std::time::Duration;

use outbox_event::EventId;

use crate::{Outcome, Unsettled};

/// How long a success is remembered. Retries, queue and dead letters together hold no copy of a
/// delivery for longer. `infra/queues.tf` checks that on AWS.
pub const DEDUP_WINDOW: Duration = Duration::from_secs(21 * 24 * 60 * 60);

/// The right to call an RPC for an event, until it ends. The token fences: a worker that lost the lease can't complete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    pub event: EventId,
    pub token: i64,
}

/// The record's answer to a request for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// This worker may call.
    Won(Lease),
    /// This worker may call, after a wait that the queue could not hold. Receives during the wait were no attempts, so the
    /// number of attempts made is given.
    WonAfter(Lease, u32),
    /// The RPC's server asked for a wait: no worker may call before it is over.
    Early { remaining: Duration },
    /// The RPC succeeded for this event before.
    Done,
    /// Another worker holds the lease, at most this long.
    Held { remaining: Duration },
}

/// A lease that is given back, because the call did not happen or did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    pub lease: Lease,
    pub attempt: u32,
    pub outcome: Outcome,
    /// How long no worker may call, if the queue can't hide the delivery for as long.
    pub waits: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Written,
    /// Another worker has the lease by now: nothing is written.
    Lost,
}

pub trait Dedup: Send + Sync + 'static {
    /// Leases each event; one answer per event, in their order.
    fn lease(&self, events: &[EventId]) -> impl Future<Output = Result<Vec<LeaseAnswer>, DedupError>> + Send;

    /// Records for good that the RPC succeeded. One answer per lease, in their order.
    fn complete(&self, leases: &[Lease]) -> impl Future<Output = Vec<Result<Recorded, Unsettled>>> + Send;

    /// Gives back leases without a success. One answer for each, in their order.
    fn release(&self, released: &[Released]) -> impl Future<Output = Vec<Result<(), Unsettled>>> + Send;
}

/// Where `outbox poison` writes that an RPC's refusals are poison: then no delivery of it is held.
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
