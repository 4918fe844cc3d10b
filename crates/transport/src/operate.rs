//! What an operator asks and repairs: the seam between the command and what each transport stores.

mod at;
mod count;
mod error;

pub use at::At;
pub use count::{COUNT_LIMIT, COUNTED_MAX, Count, thousands};
pub use error::OperateError;

use std::time::Duration;

use chrono::{DateTime, Utc};
use event::EventId;
use event_router::Rpc;
use serde::Serialize;
use uuid::Uuid;

/// The source of what is not in a database.
pub const SQS: &str = "sqs";
/// The same of repairs.
pub const DYNAMODB: &str = "dynamodb";

/// Says something to the person who waits for an answer.
pub type Say = fn(&str);

/// All of it.
pub trait Operator: Queues + DeadLetters + Deliveries + Audit {}

impl<O: Queues + DeadLetters + Deliveries + Audit> Operator for O {}

/// The queues of every RPC.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Queues {
    /// Which source they are of: a database's name, or [`SQS`].
    fn source(&self) -> &str;

    /// What lies in the queue of each RPC; also of those that nobody names any more, as far as they can be known.
    async fn depths(&self, rpcs: &[Rpc]) -> Result<Vec<Depth>, OperateError>;

    /// What could not even be put into a queue, where there is a place for it.
    async fn undeliverable(&self) -> Result<Option<Undeliverable>, OperateError>;

    /// Sends messages into the queues of their RPCs; `force` forgets first that they were done. `false` if somebody is calling
    /// it at this moment: then nothing is forgotten, and nothing sent.
    ///
    /// On Postgres all of them are one transaction, and one failure is the answer for all. On SQS each is sent by itself, and
    /// has an answer of its own. Postgres makes a queue that is missing; on SQS that is a failure.
    async fn replay(
        &self,
        repair: &Repair,
        messages: &[Addressed],
        force: bool,
    ) -> Vec<Result<bool, OperateError>>;
}

/// The dead letters of every RPC.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait DeadLetters {
    type Handle;

    /// The next ones, none at the end. Postgres has them in the order of their ids. On SQS they are in no order, and are hidden
    /// from others from here on, for a minute or until [`DeadLetters::put_back`]. What this redrove and died again is not among
    /// them. An RPC without a queue has none, or on SQS is a failure.
    async fn next(&mut self, filter: &Filter) -> Result<Vec<Letter<Self::Handle>>, OperateError>;

    /// Back into their RPCs' queues; `force` forgets first that they were done.
    ///
    /// On Postgres all of them are one transaction, and one failure is the answer for all. On SQS each is moved by itself, and
    /// has an answer of its own.
    async fn redrive(
        &self,
        repair: &Repair,
        letters: &[Letter<Self::Handle>],
        force: bool,
    ) -> Vec<Result<Repaired, OperateError>>;

    /// Away for good, with answers as [`DeadLetters::redrive`] has them.
    async fn take_away(
        &self,
        repair: &Repair,
        letters: &[Letter<Self::Handle>],
    ) -> Vec<Result<Repaired, OperateError>>;

    /// Lets others see again what was looked at and not moved. On SQS it must be looked at anew before it can be moved.
    async fn put_back(&mut self);
}

/// The record of what was done, and what else is known of an event after it was put.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Deliveries {
    /// What became of an event at each of these RPCs, and at others as far as they can be known; `put_at` tells where to
    /// look for it. SQS can't be searched: what has no record is [`State::NotReceived`] there, in a queue or not.
    async fn of(
        &self,
        event: EventId,
        rpcs: &[Rpc],
        put_at: Option<DateTime<Utc>>,
    ) -> Result<Vec<Delivery>, OperateError>;

    /// Whether the RPC has succeeded for the event, for each pair.
    async fn done(&self, pairs: &[(EventId, Rpc)]) -> Result<Vec<bool>, OperateError>;

    /// For so long, 30 days at most, workers dead-letter what the RPC refuses, and hold none of it. `false` if it has no queue.
    async fn poison(&self, repair: &Repair, rpc: &Rpc, time: Duration) -> Result<bool, OperateError>;
}

/// Who repaired what, and when. On Postgres a repair that has not begun, or has ended, changes nothing. On AWS everyone who may
/// write can write past it, and it is the command that keeps it.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Audit {
    /// Keeps a repair before it changes anything. One that can be undone goes on where a failure is only a warning.
    async fn begin(&self, repair: &Repair, undoable: bool) -> Result<(), OperateError>;

    /// Keeps its result.
    async fn end(&self, repair: &Repair) -> Result<(), OperateError>;

    /// The newest repairs, newest first.
    async fn kept(&self, limit: u32) -> Result<Vec<Kept>, OperateError>;
}

/// A repair as it was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    /// The database, or [`DYNAMODB`].
    pub source: String,
    pub at: At,
    pub who: String,
    /// The role of Postgres. AWS has the identity in a trail of its own.
    pub role: Option<String>,
    pub command: String,
    /// As the command itself printed it with --format json. Of one that has not ended, how many rows it has changed so far,
    /// where that is known.
    pub result: Option<serde_json::Value>,
    /// Otherwise it goes on, or did not live to tell.
    pub ended: bool,
}

/// Events on the bus that reached no queue.
#[derive(Debug, Clone, Serialize)]
pub struct Undeliverable {
    pub queue: String,
    pub messages: Count,
}

/// What lies in one RPC's queue.
#[derive(Debug, Clone, Serialize)]
pub struct Depth {
    pub rpc: String,
    pub waiting: Count,
    /// Received by a worker and not settled. On SQS also what waits for its next attempt.
    pub hidden: Count,
    /// What waits for its next attempt, where that can be told from `hidden`.
    pub retrying: Option<Count>,
    pub dead: Count,
    /// Dead, and refused by the dead-letter queue. On SQS only workers know.
    pub set_aside: Option<SetAside>,
    /// For how long the oldest of `waiting` could have been received.
    pub oldest_seconds: Option<f64>,
    pub oldest_event: Option<EventId>,
    /// Why nothing is known of it.
    pub missing: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SetAside {
    pub messages: Count,
    /// Of one of them, as the server said it.
    pub reason: String,
}

impl Depth {
    /// Of a queue that is there, or will be, and holds nothing.
    pub fn empty(rpc: &Rpc) -> Self {
        Self {
            rpc: rpc.to_string(),
            waiting: Count::default(),
            hidden: Count::default(),
            retrying: None,
            dead: Count::default(),
            set_aside: None,
            oldest_seconds: None,
            oldest_event: None,
            missing: None,
        }
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub rpc: Option<Rpc>,
    pub event: Option<EventId>,
    pub code: Option<String>,
    pub older_than: Option<Duration>,
    /// As a list shows it.
    pub id: Option<String>,
}

/// A dead letter.
#[expect(missing_debug_implementations, reason = "its body is never shown")]
pub struct Letter<H> {
    pub id: String,
    pub handle: H,
    /// Whose queue it is; the body may say otherwise.
    pub rpc: Rpc,
    pub event: Option<EventId>,
    pub attempts: Option<i32>,
    pub code: String,
    pub reason: String,
    pub dead_at: At,
    pub body: String,
}

/// What became of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    Moved,
    /// Somebody else has moved it meanwhile; on SQS also if somebody else has it before them.
    Gone,
    /// It stays: its RPC is being called at this moment, so that it was done can't be forgotten.
    Busy,
    /// It stays: the queue refuses it, and may take others.
    Refused(String),
}

/// A message for one RPC.
#[expect(missing_debug_implementations, reason = "its body is never shown")]
pub struct Addressed {
    pub event: EventId,
    pub rpc: Rpc,
    pub body: String,
}

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
    /// In the queue; `ahead` of it are so many.
    Queued {
        since: At,
        ahead: Option<Count>,
        why: Option<String>,
    },
    /// A worker has it.
    Calling {
        worker: Option<String>,
        until: At,
        attempt: Option<i32>,
    },
    /// A worker had it, and did not say what became of it.
    Abandoned {
        worker: Option<String>,
        until: At,
    },
    /// It comes again.
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
    /// Nothing is recorded of it: it is on the way to its queue, or in it, or was dropped.
    NotReceived,
    /// Neither in the queue nor recorded.
    Absent,
}

/// One repair, as it is kept.
#[derive(Debug, Clone)]
pub struct Repair {
    pub id: Uuid,
    /// Postgres has a clock of its own.
    pub at: DateTime<Utc>,
    /// The system's user and host; Postgres adds its role, AWS's own trail the identity.
    pub who: String,
    /// As it was typed, but for addresses of databases.
    pub command: String,
    /// What was done, as JSON; none yet, or nobody lived to tell.
    pub result: Option<String>,
}
