//! An operator's questions and repairs: the interface between the command and each transport.

mod about;
mod at;
mod brake;
mod clocked; // the clock by which letters die
mod count;
mod delivery; // what became of an event at an RPC
mod error;
mod history;
mod letter; // a dead letter, and a message that is sent again
mod pace; // the rate of a repair, which others may change
mod repairs; // seen, paced, stopped and taken back
mod waiting; // what is in the queues
mod words; // of a command, as others may see them

pub use about::About;
pub use at::At;
pub use brake::SetBrake;
pub use clocked::Clocked;
pub use count::{COUNT_LIMIT, COUNTED_MAX, Count, thousands};
pub use delivery::{Delivery, State};
pub use error::OperateError;
pub use history::{History, Past, Try, What};
pub use letter::{Addressed, Filter, Letter, Repaired};
pub use pace::{Change, RATE_MAX, Speed};
pub use repairs::{
    Asked, BEAT_EVERY, Fates, Heard, Job, Kind, Paced, Progress, Reached, Repairs, SILENT_AFTER, Standing,
    Started,
};
pub use waiting::{
    Able, Carried, Hand, InQueue, LOOKED_AT_MAX, Look, Part, Retire, Spot, Stage, Waiting, Which,
};
pub use words::without_values;

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use serde::Serialize;
use uuid::Uuid;

use crate::brake::{Brake, BrakeKind};
use crate::process::Seen;

/// The source of an answer that is not from a database.
pub const SQS: &str = "sqs";
/// The source of a repair that is not kept in a database.
pub const DYNAMODB: &str = "dynamodb";
/// The longest time for [`Deliveries::poison`].
pub const POISON_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Shows progress to a waiting operator.
pub type Say = fn(&str);

pub trait Operator:
    Queues
    + Able
    + Waiting
    + Retire
    + DeadLetters
    + Deliveries
    + History
    + Audit
    + Repairs
    + Paced
    + Clocked
    + Processes
    + SetBrakes
{
}

impl<O> Operator for O where
    O: Queues
        + Able
        + Waiting
        + Retire
        + DeadLetters
        + Deliveries
        + History
        + Audit
        + Repairs
        + Paced
        + Clocked
        + Processes
        + SetBrakes
{
}

/// The queues of every RPC.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Queues {
    /// The source of these queues: a database's name, or [`SQS`].
    fn source(&self) -> &str;

    /// The depth of each RPC's queue, and of queues without a route as far as they are known.
    async fn depths(&self, rpcs: &[Rpc]) -> Result<Vec<Depth>, OperateError>;

    /// The events that reached no queue, if the transport keeps them.
    async fn undeliverable(&self) -> Result<Option<Undeliverable>, OperateError>;

    /// Sends messages to the queues of their RPCs; `force` first forgets past successes. `false` if a worker is calling at this
    /// moment: then nothing is forgotten, and nothing sent.
    ///
    /// On Postgres all are one transaction, and one failure answers for all; a missing queue is made. On SQS each is sent by
    /// itself and has its own answer; a missing queue is a failure.
    async fn replay(
        &self,
        repair: &Repair,
        messages: &[Addressed],
        force: bool,
    ) -> Vec<Result<bool, OperateError>>;
}

/// The processes that wrote that they run.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Processes {
    /// By program and name, also those that were killed lately. On Postgres relays and workers of the database; on AWS the
    /// workers of the dedup table, because a relay writes its row to its database.
    async fn processes(&self) -> Result<Vec<Seen>, OperateError>;
}

/// The dead letters of every RPC.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait DeadLetters {
    type Handle;

    /// The next dead letters; none at the end. On Postgres they come in the order of their ids, or as [`Filter::newest_first`] says. On SQS they have no order, and
    /// are hidden from others for a minute or until [`DeadLetters::put_back`]. A letter that this command redrove and that
    /// died again is not among them. For an RPC without a queue there are none; on SQS that is a failure.
    async fn next(&mut self, filter: &Filter) -> Result<Vec<Letter<Self::Handle>>, OperateError>;

    /// Moves letters back to their RPCs' queues; `force` first forgets past successes.
    ///
    /// On Postgres all are one transaction, and one failure answers for all. On SQS each is moved by itself and has its own
    /// answer.
    async fn redrive(
        &self,
        repair: &Repair,
        letters: &[Letter<Self::Handle>],
        force: bool,
    ) -> Vec<Result<Repaired, OperateError>>;

    /// Deletes letters for good, with answers as [`DeadLetters::redrive`] has them.
    async fn take_away(
        &self,
        repair: &Repair,
        letters: &[Letter<Self::Handle>],
    ) -> Vec<Result<Repaired, OperateError>>;

    /// Makes letters that were read and not moved visible to others again. On SQS they must be read again before a move.
    async fn put_back(&mut self);
}

/// The dedup records, and what else is known of an event after it was put.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Deliveries {
    /// What became of an event at each of these RPCs, and at others as far as they are known. The times between which it was
    /// put narrow the search. SQS can't be searched: an event without a record is [`State::NotReceived`] there, in a queue or not.
    async fn of(
        &self,
        event: EventId,
        rpcs: &[Rpc],
        put_between: Option<(DateTime<Utc>, DateTime<Utc>)>,
    ) -> Result<Vec<Delivery>, OperateError>;

    /// Whether the RPC has succeeded for the event, for each pair.
    async fn done(&self, pairs: &[(EventId, Rpc)]) -> Result<Vec<bool>, OperateError>;

    /// For this time, at most 30 days, workers dead-letter what the RPC refuses, and hold none of it. `false` if the RPC has no
    /// queue.
    async fn poison(&self, repair: &Repair, rpc: &Rpc, time: Duration) -> Result<bool, OperateError>;
}

/// Pauses and limits of RPCs. Workers follow within 5 s. Each ends by itself.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait SetBrakes {
    /// Those that have not ended, by RPC.
    async fn brakes(&self) -> Result<Vec<SetBrake>, OperateError>;

    /// Sets a brake for this time, at most [`crate::brake::BRAKE_MAX`], in place of the one of its kind. The RPC may have no queue yet.
    async fn brake(
        &self,
        repair: &Repair,
        rpc: &Rpc,
        brake: Brake,
        time: Duration,
        why: &str,
    ) -> Result<(), OperateError>;

    /// Ends a brake before its time. `false` if there was none.
    async fn lift(&self, repair: &Repair, rpc: &Rpc, kind: BrakeKind) -> Result<bool, OperateError>;
}

/// Who repaired what, and when. On Postgres a repair that has not begun, or has ended, changes nothing. On AWS only the command
/// keeps the audit: a role that may write there can write without it.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Audit {
    /// Stores a repair before it changes anything. For one that can be undone, a failure is only a warning.
    async fn begin(&self, repair: &Repair, undoable: bool) -> Result<(), OperateError>;

    async fn end(&self, repair: &Repair) -> Result<(), OperateError>;

    /// The newest repairs, newest first.
    async fn kept(&self, limit: u32) -> Result<Vec<Kept>, OperateError>;

    /// One repair. On AWS only one of many things is found by its id.
    async fn find(&self, id: Uuid) -> Result<Option<Kept>, OperateError>;
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    /// The database, or [`DYNAMODB`].
    pub source: String,
    pub id: Uuid,
    pub at: At,
    pub who: String,
    /// The role in Postgres. AWS has the identity in its own trail.
    pub role: Option<String>,
    pub command: String,
    /// As the command printed it with --format json. Before the end, the number of rows changed so far, if it is known.
    pub result: Option<serde_json::Value>,
    /// `false` while the repair runs, and after a repair that was killed.
    pub ended: bool,
    /// Of a repair of many things.
    pub progress: Option<Progress>,
}

impl Kept {
    pub fn standing(&self) -> Standing {
        let beat = self.progress.as_ref().map(|progress| progress.beat_seconds_ago);
        Standing::of(self.ended, self.result.as_ref(), beat)
    }

    /// How many things it has moved, changed or sent: each command has its own name for it.
    pub fn changed(&self) -> Option<i64> {
        let count = |name: &&str| self.result.as_ref()?.get(*name)?.as_i64();
        ["moved", "changed", "sent", "taken_back"].iter().find_map(count)
    }
}

/// Events on the bus that reached no queue.
#[derive(Debug, Clone, Serialize)]
pub struct Undeliverable {
    pub queue: String,
    pub messages: Count,
}

#[derive(Debug, Clone, Serialize)]
pub struct Depth {
    pub rpc: String,
    pub waiting: Count,
    /// Received by a worker and not settled. On SQS this includes deliveries that wait for their next attempt.
    pub hidden: Count,
    /// Deliveries that wait for their next attempt, if they are not part of `hidden`.
    pub retrying: Option<Count>,
    pub dead: Count,
    /// Dead, and refused by the dead-letter queue. On SQS only workers have this number.
    pub set_aside: Option<SetAside>,
    /// For how long the oldest of `waiting` could have been received.
    pub oldest_seconds: Option<f64>,
    pub oldest_event: Option<EventId>,
    /// Why the queue's depth is unknown.
    pub missing: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SetAside {
    pub messages: Count,
    /// The server's reason for one of them.
    pub reason: String,
}

impl Depth {
    /// For an empty queue, or one that does not exist yet.
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

#[derive(Debug, Clone)]
pub struct Repair {
    pub id: Uuid,
    /// The command's own time; Postgres has a clock of its own.
    pub at: DateTime<Utc>,
    /// The system's user and host; Postgres adds its role, AWS's own trail the identity.
    pub who: String,
    /// As it was typed, without addresses of databases.
    pub command: String,
    /// The result as JSON; none before the end, or after an interruption.
    pub result: Option<String>,
}
