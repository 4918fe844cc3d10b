//! Where deliveries come from: one queue per RPC.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Lease, Outcome, Unsettled};

/// One copy of a message, received and not yet settled.
#[derive(Clone)]
pub struct Delivery<R> {
    pub receipt: R,
    pub body: String,
    /// 1 for the first.
    pub attempt: u32,
    pub enqueued_at: DateTime<Utc>,
    /// By a queue that keeps the dedup record beside it: won together with the delivery, and not before this.
    pub lease: Option<(Lease, Instant)>,
}

/// Shows everything but the body.
impl<R: std::fmt::Debug> std::fmt::Debug for Delivery<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("receipt", &self.receipt)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// One RPC's queue. A received message stays hidden from others until it is settled or its visibility ends.
pub trait Queue: Send + Sync + 'static {
    type Receipt: Clone + Send + Sync + 'static;

    /// Waits for messages and returns at most as many; returns none at `stop`, and may at other times.
    fn receive(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Receipt>>, QueueError>> + Send;

    /// One answer for each, in their order: whatever becomes of its neighbours, what can be settled is.
    fn settle(
        &self,
        settled: &[(Self::Receipt, Outcome)],
    ) -> impl Future<Output = Vec<Result<(), Unsettled>>> + Send;

    /// Starts the visibility of these messages anew.
    fn extend(&self, receipts: &[Self::Receipt]) -> impl Future<Output = Result<(), QueueError>> + Send;

    fn limits(&self) -> Limits;

    /// How long this message can wait for its next attempt, and how much of that this queue can hide it by itself.
    fn wait(&self, _: &Self::Receipt, wanted: Duration) -> Wait {
        Wait { all: wanted, hidden: wanted }
    }
}

/// A wait for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub all: Duration,
    /// If less than `all`, the message comes back meanwhile. The dedup record then says how long it still waits.
    pub hidden: Duration,
}

/// Which messages, and how many at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub most: usize,
    /// Also those that have failed before; a queue that does not choose gives them anyway.
    pub failed: bool,
}

impl Wanted {
    pub fn any(most: usize) -> Self {
        Self { most, failed: true }
    }
}

/// What a queue is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a received message stays hidden.
    pub visibility: Duration,
    /// How long a message may wait before the queue forgets it.
    pub keeps: Duration,
    /// How many messages one request receives or settles.
    pub batch_max: usize,
    /// How long to wait for a batch to fill, where requests are what costs.
    pub linger: Duration,
    /// Whether it can be asked for what has not failed before, and puts back without counting.
    pub chooses: bool,
}

/// How full a queue is, for people: delivering does not need to know.
pub trait Depths: Send + Sync + 'static {
    fn depth(&self) -> impl Future<Output = Result<Depth, QueueError>> + Send;
}

/// Messages of one RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// In the queue, due or not.
    pub waiting: i64,
    /// Received and not settled.
    pub hidden: i64,
    /// In the dead-letter queue.
    pub dead: i64,
    pub oldest: Option<DateTime<Utc>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the queue can't be reached")]
pub struct QueueError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl QueueError {
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }
}
