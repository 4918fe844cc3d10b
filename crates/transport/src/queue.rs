//! The queues of deliveries, one per RPC.

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
    /// The lease, if the queue won it together with the delivery, and an instant before that.
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

    /// Waits for messages and returns at most as many as wanted. It returns none at `stop`, and may at other times.
    fn receive(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Receipt>>, QueueError>> + Send;

    /// One answer for each, in their order. A failure of one does not keep the others from being settled.
    fn settle(
        &self,
        settled: &[(Self::Receipt, Outcome)],
    ) -> impl Future<Output = Vec<Result<(), Unsettled>>> + Send;

    /// Restarts the visibility of these messages.
    fn extend(&self, receipts: &[Self::Receipt]) -> impl Future<Output = Result<(), QueueError>> + Send;

    fn limits(&self) -> Limits;

    /// How long this message can wait for its next attempt, and how long this queue can hide it.
    fn wait(&self, _: &Self::Receipt, wanted: Duration) -> Wait {
        Wait { all: wanted, hidden: wanted }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub all: Duration,
    /// If less than `all`, the message comes back early, and the dedup record has the rest of the wait.
    pub hidden: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub most: usize,
    /// Also messages that have failed before. A queue that can't choose returns them anyway.
    pub failed: bool,
}

impl Wanted {
    pub fn any(most: usize) -> Self {
        Self { most, failed: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a received message stays hidden.
    pub visibility: Duration,
    /// How long a message may wait before the queue forgets it.
    pub keeps: Duration,
    /// How many messages one request receives or settles.
    pub batch_max: usize,
    /// How long to wait for a batch to fill.
    pub linger: Duration,
    /// Whether each request costs money. Then it is for a whole batch, if that fills in time.
    pub charges: bool,
    /// Whether it can select messages that have not failed, and put back without counting an attempt.
    pub chooses: bool,
}

/// How full a queue is, for people: delivering does not need it.
pub trait Depths: Send + Sync + 'static {
    fn depth(&self) -> impl Future<Output = Result<Depth, QueueError>> + Send;

    /// Returns once another measurement may find something else. A queue that can't tell returns at once.
    fn may_differ(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Could be received now.
    pub waiting: i64,
    /// Received and not settled. On SQS this includes messages that wait for their next attempt.
    pub hidden: i64,
    /// Waits for its next attempt, if it is not part of `hidden`.
    pub retrying: i64,
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
