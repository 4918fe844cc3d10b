//! What is kept of an event besides its state: failed attempts and repairs.

use outbox_event::EventId;
use outbox_event_router::Rpc;
use serde::Serialize;

use super::at::At;
use super::error::OperateError;

/// Failed attempts and repairs, for 21 days.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait History {
    /// The entries of an event, oldest first. On Postgres they are of every RPC. On AWS only these RPCs are looked at, and a
    /// success after a failure has no entry: its dedup record has the time.
    async fn past(&self, event: EventId, rpcs: &[Rpc]) -> Result<Vec<Past>, OperateError>;
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Past {
    /// None for a parked event, which had no queue yet.
    pub rpc: Option<String>,
    pub at: At,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// Another attempt followed.
    Failed(Try),
    /// It would have been dead, but different events failed alike. The attempt did not count.
    Held(Try),
    /// The call outlived its lease: another worker may have called, too.
    Lost(Try),
    Dead(Try),
    /// A success after a failure.
    Done {
        attempt: Option<i32>,
        worker: Option<String>,
    },
    Redriven {
        by: Option<String>,
    },
    Replayed {
        by: Option<String>,
    },
    Dropped {
        by: Option<String>,
    },
    /// It was redriven or replayed, and taken out of its queue before it began: `outbox repair undo`.
    TakenBack {
        by: Option<String>,
    },
    /// A parked event was published again.
    PublishedAgain {
        by: Option<String>,
        code: String,
        reason: String,
    },
    /// The dead letter was too old to be kept.
    Removed,
    /// So many entries found no room.
    LeftOut {
        entries: u32,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Try {
    /// Counted anew after each redrive and replay. On SQS each receive counts.
    pub attempt: Option<i32>,
    pub code: String,
    pub error: String,
    pub worker: Option<String>,
}
