//! What became of an event at an RPC.

use serde::Serialize;

use super::at::At;
use super::count::Count;

/// One copy of an event at one RPC, or the record of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delivery {
    pub rpc: String,
    #[serde(flatten)]
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// In the queue, behind `ahead` others.
    Queued {
        since: At,
        ahead: Option<Count>,
        why: Option<String>,
    },
    Calling {
        worker: Option<String>,
        until: At,
        attempt: Option<i32>,
    },
    /// A worker received it, and recorded no outcome.
    Abandoned {
        worker: Option<String>,
        until: At,
    },
    /// Another attempt follows.
    Failed {
        attempt: i32,
        at: At,
        code: String,
        error: String,
        due_at: Option<At>,
    },
    Done {
        at: Option<At>,
    },
    Dead {
        at: Option<At>,
        attempts: Option<i32>,
        code: String,
        reason: String,
    },
    /// An operator dropped it for good, and nothing later is known of it.
    Dropped {
        at: At,
        by: String,
    },
    /// It has no record: it is on the way to its queue, in it, or was dropped.
    NotReceived,
    /// Neither in the queue nor recorded.
    Absent,
}
