//! What happened in a run, as plain data: the judge's only input.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use outbox::EventId;
use serde::Serialize;

use crate::faults::Fault;
use crate::how::How;
use crate::routes::Rpc;
use crate::run::Transport;

/// Since the run began.
pub(crate) type At = Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_at: DateTime<Utc>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), began_at: Utc::now() }
    }

    pub(crate) fn now(self) -> At {
        self.began.elapsed()
    }

    pub(crate) fn at(self, at: At) -> tokio::time::Instant {
        (self.began + at).into()
    }

    /// Converts a time of the database or of the emulator.
    pub(crate) fn of(self, time: DateTime<Utc>) -> At {
        (time - self.began_at).to_std().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct History {
    pub(crate) transport: Transport,
    pub(crate) told: Vec<Told>,
    /// The rows of the domain table, which the same transactions wrote: the truth about what was committed.
    pub(crate) committed: Vec<Change>,
    pub(crate) calls: Vec<Call>,
    /// Calls whose answer came too late for their worker.
    pub(crate) unheard: HashSet<(EventId, Rpc, u32)>,
    pub(crate) dead: HashSet<(EventId, Rpc)>,
    /// The codes of each parked event, one for every time that it was parked.
    pub(crate) parked: HashMap<EventId, Vec<String>>,
    /// The done records, each with its time.
    #[serde(serialize_with = "as_list")]
    pub(crate) recorded: HashMap<(EventId, Rpc), At>,
    pub(crate) puts: Vec<Put>,
    pub(crate) cursor: Vec<Sample>,
    pub(crate) spells: Vec<Spell>,
    pub(crate) found: Vec<Found>,
    /// Commits without a notification.
    pub(crate) silent: Vec<Silent>,
    /// Transactions that were prepared while the relay was awake, and while it slept.
    pub(crate) prepared: (usize, usize),
    /// How often relays' metrics were read.
    pub(crate) looks: usize,
    /// Wrong states at the end of the run, and forbidden acts of processes.
    pub(crate) complaints: Vec<Complaint>,
}

/// The outcome that a publisher saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    pub(crate) event: EventId,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    Committed,
    RolledBack,
    /// The connection died before COMMIT was answered.
    Unknown,
}

/// One row of the domain table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) event: EventId,
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    /// Counts a key's changes, under its row's lock.
    pub(crate) n: i64,
    /// Its RPC must refuse it for good.
    pub(crate) refuse: bool,
    /// How it was published.
    pub(crate) how: String,
    /// The sequence's value when the key's row was locked, and after the write. The event's seq lies between them, unless
    /// the sequence was set back meanwhile.
    pub(crate) seq_before: i64,
    pub(crate) seq: i64,
}

impl Change {
    /// A change with the id alone.
    pub(crate) fn of(event: EventId, how: How) -> Self {
        let how = format!("{how:?}");
        Self { event, name: String::new(), key: None, n: 0, refuse: false, how, seq_before: 0, seq: 0 }
    }
}

/// One call, as the RPC's server saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Call {
    pub(crate) event: EventId,
    pub(crate) rpc: Rpc,
    /// The name of the calling worker.
    pub(crate) worker: &'static str,
    pub(crate) attempt: u32,
    pub(crate) came: At,
    pub(crate) answer: Option<(Answer, At)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Answer {
    Success,
    /// For good.
    Refused,
    Failed,
}

/// An event took effect on the bus: on postgres once in each subscriber's queue, on aws once. `begun` and `done` are ticks
/// of one clock: the delivery's seq, or counted requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Put {
    pub(crate) event: EventId,
    pub(crate) rpc: Option<Rpc>,
    pub(crate) begun: i64,
    pub(crate) done: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sample {
    pub(crate) at: At,
    pub(crate) last_seq: i64,
    /// A session holds the doorbell's lock exclusively, mostly the relay's.
    pub(crate) asleep: bool,
}

/// A fault and how long it lasted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Spell {
    pub(crate) fault: Fault,
    pub(crate) whom: String,
    pub(crate) at: At,
    pub(crate) until: At,
}

/// A relay's fallback poll found events without a notification, between two readings of its metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    pub(crate) relay: String,
    pub(crate) source: &'static str,
    pub(crate) events: u64,
    pub(crate) from: At,
    pub(crate) to: At,
}

/// A prepared transaction was committed between these times. PREPARE allows no notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Silent {
    pub(crate) from: At,
    pub(crate) to: At,
    pub(crate) events: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Complaint {
    pub(crate) kind: &'static str,
    pub(crate) what: String,
}

fn as_list<S: serde::Serializer>(
    recorded: &HashMap<(EventId, Rpc), At>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(recorded)
}
