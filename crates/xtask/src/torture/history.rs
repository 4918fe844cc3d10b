//! What happened in a run, as plain data: the judge knows nothing else.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use outbox::EventId;
use serde::Serialize;

use super::Transport;
use super::faults::Fault;
use super::publishers::How;
use super::routes::Rpc;

/// Since the run began.
pub(super) type At = Duration;

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
    began_at: DateTime<Utc>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), began_at: Utc::now() }
    }

    pub(super) fn now(self) -> At {
        self.began.elapsed()
    }

    pub(super) fn at(self, at: At) -> tokio::time::Instant {
        (self.began + at).into()
    }

    /// What the database, or AWS's stand-in, calls the time.
    pub(super) fn of(self, time: DateTime<Utc>) -> At {
        (time - self.began_at).to_std().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct History {
    pub(super) transport: Transport,
    pub(super) told: Vec<Told>,
    /// What the domain table says, which the same transactions wrote: the truth of what was committed.
    pub(super) committed: Vec<Change>,
    pub(super) calls: Vec<Call>,
    /// Calls whose answer a worker did not wait for any longer.
    pub(super) unheard: HashSet<(EventId, Rpc, u32)>,
    pub(super) dead: HashSet<(EventId, Rpc)>,
    /// And the codes of each, once for every time that it was parked.
    pub(super) parked: HashMap<EventId, Vec<String>>,
    /// What the dedup record has as done, and since when.
    #[serde(serialize_with = "as_list")]
    pub(super) recorded: HashMap<(EventId, Rpc), At>,
    pub(super) puts: Vec<Put>,
    pub(super) cursor: Vec<Sample>,
    pub(super) spells: Vec<Spell>,
    pub(super) found: Vec<Found>,
    /// Commits that can't ring.
    pub(super) silent: Vec<Silent>,
    /// Transactions that were prepared while the relay was awake, and while it slept.
    pub(super) prepared: (usize, usize),
    /// How often relays' metrics were read.
    pub(super) looks: usize,
    /// What was not as it must be at the end, and what processes did that they never may.
    pub(super) complaints: Vec<Complaint>,
}

/// What a publisher was told became of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    pub(super) event: EventId,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    Committed,
    RolledBack,
    /// The connection died before COMMIT was answered.
    Unknown,
}

/// One row of the domain table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) event: EventId,
    pub(super) name: String,
    pub(super) key: Option<String>,
    /// Counts a key's changes, under its row's lock.
    pub(super) n: i64,
    /// Its RPC is to refuse it for good.
    pub(super) refuse: bool,
    /// How it was published.
    pub(super) how: String,
    /// What the outbox's sequence had come to when its key's row was locked, and when it was written: its own seq is between
    /// them, unless the sequence was set back meanwhile.
    pub(super) seq_before: i64,
    pub(super) seq: i64,
}

impl Change {
    /// With nothing said of it yet.
    pub(super) fn of(event: EventId, how: How) -> Self {
        let how = format!("{how:?}");
        Self { event, name: String::new(), key: None, n: 0, refuse: false, how, seq_before: 0, seq: 0 }
    }
}

/// One call, as the RPC's server saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Call {
    pub(super) event: EventId,
    pub(super) rpc: Rpc,
    /// The name of who called.
    pub(super) worker: &'static str,
    pub(super) attempt: u32,
    pub(super) came: At,
    pub(super) answer: Option<(Answer, At)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Answer {
    Success,
    /// For good.
    Refused,
    Failed,
}

/// An event took effect on the bus: once in each subscriber's queue on the transport postgres, once on aws. `begun` and
/// `done` are ticks of one clock: the delivery's seq, or requests and answers counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Put {
    pub(super) event: EventId,
    pub(super) rpc: Option<Rpc>,
    pub(super) begun: i64,
    pub(super) done: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Sample {
    pub(super) at: At,
    pub(super) last_seq: i64,
    /// Somebody keeps the bell's lock to himself: the relay, mostly.
    pub(super) asleep: bool,
}

/// A fault and how long it lasted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Spell {
    pub(super) fault: Fault,
    pub(super) whom: String,
    pub(super) at: At,
    pub(super) until: At,
}

/// A relay's fallback poll found events that nobody had rung for, between two looks at its metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    pub(super) relay: String,
    pub(super) source: &'static str,
    pub(super) events: u64,
    pub(super) from: At,
    pub(super) to: At,
}

/// A prepared transaction was committed at some time between these: PREPARE allows no notification, and so nobody rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Silent {
    pub(super) from: At,
    pub(super) to: At,
    pub(super) events: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Complaint {
    pub(super) kind: &'static str,
    pub(super) what: String,
}

fn as_list<S: serde::Serializer>(
    recorded: &HashMap<(EventId, Rpc), At>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(recorded)
}
