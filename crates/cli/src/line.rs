//! What carries an event once the relay has put it: queues, dead letters, and the record of what was done.

#[cfg(feature = "aws")]
mod aws;
mod postgres;

#[cfg(feature = "aws")]
pub(crate) use aws::{Aws, trouble as aws_trouble};
pub(crate) use postgres::Postgres;

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use event::EventId;
use event_router::Rpc;
use runtime::Transport;
use serde::Serialize;

use crate::database::Database;
use crate::options::Options;
use crate::repair::Repair;
use crate::show::Count;
use crate::stopped::Stopped;
use crate::time::At;

/// The source of what is not in a database.
pub(crate) const SQS: &str = "sqs";
/// The same of repairs.
#[cfg(feature = "aws")]
pub(crate) const DYNAMODB: &str = "dynamodb";

/// What a command does on a line, whichever transport that is.
pub(crate) trait Work {
    async fn on<L: Line>(self, lines: Vec<L>) -> Result<ExitCode, Stopped>;
}

/// Opens the line and does the work on it: one for each database, or the one on AWS.
pub(crate) async fn work(
    options: &Options,
    databases: &[Database],
    work: impl Work,
) -> Result<ExitCode, Stopped> {
    match options.transport {
        Transport::Postgres => work.on(databases.iter().cloned().map(Postgres::new).collect()).await,
        #[cfg(feature = "aws")]
        Transport::Aws => work.on(vec![Aws::open(options).await?]).await,
        #[cfg(not(feature = "aws"))]
        Transport::Aws => Err(Stopped::without_aws()),
    }
}

/// All of it.
pub(crate) trait Line: Queues + DeadLetters + Deliveries + Audit {}

impl<L: Queues + DeadLetters + Deliveries + Audit> Line for L {}

/// The queues of every RPC.
pub(crate) trait Queues {
    /// Which source they are of: a database's name, or [`SQS`].
    fn source(&self) -> &str;

    /// What lies in the queue of each RPC; also of those that nobody names any more, as far as they can be known.
    async fn depths(&self, rpcs: &[Rpc]) -> Result<Vec<Depth>, Stopped>;

    /// What could not even be put into a queue, where there is a place for it.
    async fn undeliverable(&self) -> Result<Option<Undeliverable>, Stopped>;

    /// Sends messages into the queues of their RPCs; `force` forgets first that they were done. One answer for each, or one
    /// failure for all. `false` if somebody is calling it at this moment: then nothing is forgotten, and nothing sent.
    async fn replay(
        &self,
        repair: &Repair,
        messages: &[Addressed],
        force: bool,
    ) -> Vec<Result<bool, Stopped>>;
}

/// The dead letters of every RPC.
pub(crate) trait DeadLetters {
    type Handle;

    /// The next ones, none at the end. They may be hidden from others from here on, until [`DeadLetters::put_back`].
    async fn next(&mut self, filter: &Filter) -> Result<Vec<Letter<Self::Handle>>, Stopped>;

    /// Back into their RPCs' queues; `force` forgets first that they were done. One answer for each, or one failure for all.
    async fn redrive(
        &self,
        repair: &Repair,
        letters: &[Letter<Self::Handle>],
        force: bool,
    ) -> Vec<Result<Outcome, Stopped>>;

    /// Away for good, with answers as [`DeadLetters::redrive`] has them.
    async fn take_away(
        &self,
        repair: &Repair,
        letters: &[Letter<Self::Handle>],
    ) -> Vec<Result<Outcome, Stopped>>;

    /// Lets others see again what was looked at and not moved.
    async fn put_back(&mut self);
}

/// The record of what was done, and what else is known of an event after it was put.
pub(crate) trait Deliveries {
    /// What became of an event at each of these RPCs, and at others as far as they can be known; `put_at` tells where to
    /// look for it.
    async fn of(
        &self,
        event: EventId,
        rpcs: &[Rpc],
        put_at: Option<DateTime<Utc>>,
    ) -> Result<Vec<Delivery>, Stopped>;

    /// Whether the RPC has succeeded for the event, for each pair.
    async fn done(&self, pairs: &[(EventId, Rpc)]) -> Result<Vec<bool>, Stopped>;

    /// For so long workers dead-letter what the RPC refuses, and hold none of it. `false` if it has no queue.
    async fn poison(&self, repair: &Repair, rpc: &Rpc, time: Duration) -> Result<bool, Stopped>;
}

/// Who repaired what, and when.
pub(crate) trait Audit {
    /// Keeps a repair before it changes anything. One that can be undone goes on where a failure is only a warning.
    async fn begin(&self, repair: &Repair, undoable: bool) -> Result<(), Stopped>;

    /// Keeps its result.
    async fn end(&self, repair: &Repair) -> Result<(), Stopped>;

    /// The newest repairs, newest first.
    async fn kept(&self, limit: u32) -> Result<Vec<Kept>, Stopped>;
}

/// A repair as it was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Kept {
    /// The database, or [`DYNAMODB`].
    pub(crate) source: String,
    pub(crate) at: At,
    pub(crate) who: String,
    /// The role of Postgres. AWS has the identity in a trail of its own.
    pub(crate) role: Option<String>,
    pub(crate) command: String,
    /// As the command itself printed it with --format json. Of one that did not live to tell, how many rows it had changed, where
    /// that is known.
    pub(crate) result: Option<serde_json::Value>,
}

/// Events on the bus that reached no queue.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Undeliverable {
    pub(crate) queue: String,
    pub(crate) messages: Count,
}

/// What lies in one RPC's queue.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Depth {
    pub(crate) rpc: String,
    pub(crate) waiting: Count,
    /// Received by a worker and not settled. On SQS also what waits for its next attempt.
    pub(crate) hidden: Count,
    /// What waits for its next attempt, where that can be told from `hidden`.
    pub(crate) retrying: Option<Count>,
    pub(crate) dead: Count,
    /// Dead, and refused by the dead-letter queue. On SQS only workers know.
    pub(crate) set_aside: Option<SetAside>,
    /// For how long the oldest of `waiting` could have been received.
    pub(crate) oldest_seconds: Option<f64>,
    pub(crate) oldest_event: Option<EventId>,
    /// Why nothing is known of it.
    pub(crate) missing: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct SetAside {
    pub(crate) messages: Count,
    /// Of one of them, as the server said it.
    pub(crate) reason: String,
}

impl Depth {
    /// Of a queue that is there, or will be, and holds nothing.
    pub(crate) fn empty(rpc: &Rpc) -> Self {
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
pub(crate) struct Filter {
    pub(crate) rpc: Option<Rpc>,
    pub(crate) event: Option<EventId>,
    pub(crate) code: Option<String>,
    pub(crate) older_than: Option<Duration>,
    /// As a list shows it.
    pub(crate) id: Option<String>,
}

/// A dead letter.
pub(crate) struct Letter<H> {
    pub(crate) id: String,
    pub(crate) handle: H,
    /// Whose queue it is; the body may say otherwise.
    pub(crate) rpc: Rpc,
    pub(crate) event: Option<EventId>,
    pub(crate) attempts: Option<i32>,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) dead_at: At,
    pub(crate) body: String,
}

/// What became of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Moved,
    /// Somebody else has moved it meanwhile.
    Gone,
    /// It stays: its RPC is being called at this moment, so that it was done can't be forgotten.
    Busy,
    /// It stays: the queue refuses it, and may take others.
    Refused(String),
}

/// A message for one RPC.
pub(crate) struct Addressed {
    pub(crate) event: EventId,
    pub(crate) rpc: Rpc,
    pub(crate) body: String,
}

/// One copy of an event at one RPC, or the record of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Delivery {
    pub(crate) rpc: String,
    #[serde(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum State {
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
    /// No worker has received it yet: on the way to its queue, or in it.
    NotReceived,
    /// Neither in the queue nor recorded.
    Absent,
}
