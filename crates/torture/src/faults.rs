//! The faults of a run and their times, drawn from the seed. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::run::Transport;

#[cfg(test)]
mod tests;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    RelayKilled,
    WorkerKilled,
    /// The leader is stopped for longer than a standby waits, and resumed.
    LeaderPaused,
    WorkerPaused,
    /// The server is stopped as by a power cut, and started again.
    PostgresCrashed,
    PublishersCut,
    RelayCut,
    RelayRefused,
    RelayStalled,
    /// Open connections carry no more traffic, without an error; new connections work.
    RelayHalfOpen,
    WorkerCut,
    WorkerRefused,
    WorkerStalled,
    WorkerHalfOpen,
    RpcDown,
    RpcStalled,
    /// Delivered messages arrive again.
    Duplicates,
    /// A session reads all of the rings, and keeps its locks and its snapshot. Slots can't be truncated meanwhile, and dead
    /// rows stay.
    SlowReader,
    /// A transaction publishes very many events and stays open for a while. Most are rolled back.
    BigTransaction,
    /// A session keeps a snapshot while an RPC fails and recovers: retries come and go under it.
    RetriesUnderSnapshot,
    /// The database or the role gets timeouts for interactive sessions. Sessions end, so that the new settings apply.
    Timeouts,
    /// The second database loses its schema for a while, or gets a new one.
    SchemaLost,
    /// A role that may only connect holds the advisory locks of the outbox.
    LocksHeld,
    /// Sequences are set back while no relay runs, as after a switch-over to a replica without its sequences.
    SequencesSetBack,
    /// One relay's or worker's clock is wrong for a while. (Postgres's clock is wrong after each crash, as on another
    /// machine.)
    ClockStepped,
    /// No fault: publishers pause, so that the relay sleeps and must be woken.
    Lull,
    CloudThrottles,
    CloudFailsEntries,
    CloudLosesAnswers,
    CloudTruncates,
    CloudSlow,
    DynamoAway,
}

/// In both directions. A lease outlives a call by half of the visibility, so two clocks may differ by less than that.
pub(crate) const CLOCK_OFF_MAX: Duration = Duration::from_millis(400);

/// A fault with its start and duration. `whom` chooses among two or three targets, `clock_off_ms` is a clock's error, and
/// `dice` seeds the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    pub(crate) lasts: Duration,
    pub(crate) whom: usize,
    pub(crate) clock_off_ms: i64,
    pub(crate) dice: u64,
}

impl Fault {
    /// The name in the report.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }

    /// Whether the fault may come between an RPC's success and its record.
    pub(crate) fn parts_success_from_record(self, transport: Transport) -> bool {
        use Fault::{
            DynamoAway, PostgresCrashed, WorkerCut, WorkerHalfOpen, WorkerKilled, WorkerPaused,
            WorkerRefused, WorkerStalled,
        };
        match self {
            WorkerKilled | WorkerPaused => true,
            PostgresCrashed | WorkerCut | WorkerRefused | WorkerStalled | WorkerHalfOpen => {
                transport == Transport::Postgres
            }
            DynamoAway => true,
            _ => false,
        }
    }

    /// Whether the fault may delay a record for longer than a lease.
    pub(crate) fn delays_the_record(self) -> bool {
        use Fault::{CloudLosesAnswers, CloudSlow, CloudThrottles, CloudTruncates};
        matches!(self, CloudLosesAnswers | CloudSlow | CloudThrottles | CloudTruncates)
    }

    /// Whether the fault may keep a notification from the relay, while its other connections work.
    pub(crate) fn may_keep_notifications(self) -> bool {
        matches!(self, Fault::RelayStalled | Fault::RelayHalfOpen | Fault::LeaderPaused)
    }

    /// Whether the fault affects one worker alone.
    pub(crate) fn meets_a_worker(self) -> bool {
        use Fault::{WorkerCut, WorkerHalfOpen, WorkerKilled, WorkerPaused, WorkerRefused, WorkerStalled};
        matches!(
            self,
            WorkerKilled | WorkerPaused | WorkerCut | WorkerRefused | WorkerStalled | WorkerHalfOpen
        )
    }

    fn meets_a_relay(self) -> bool {
        use Fault::{
            RelayCut, RelayHalfOpen, RelayKilled, RelayRefused, RelayStalled, SequencesSetBack, Timeouts,
        };
        matches!(
            self,
            RelayKilled
                | RelayCut
                | RelayRefused
                | RelayStalled
                | RelayHalfOpen
                | Timeouts
                | SequencesSetBack
        )
    }

    /// The duration, in tenths of a second.
    fn lasts(self) -> std::ops::Range<u64> {
        use Fault::{
            BigTransaction, ClockStepped, CloudFailsEntries, CloudLosesAnswers, CloudSlow, CloudThrottles,
            CloudTruncates, DynamoAway, LeaderPaused, LocksHeld, Lull, PostgresCrashed, RelayRefused,
            RelayStalled, RetriesUnderSnapshot, RpcDown, RpcStalled, SchemaLost, SequencesSetBack,
            SlowReader, Timeouts, WorkerPaused, WorkerRefused, WorkerStalled,
        };
        match self {
            LeaderPaused => 125..150,
            WorkerPaused => 20..80,
            PostgresCrashed => 1..20,
            Lull => 65..75,
            SequencesSetBack => 10..30,
            RelayStalled | WorkerStalled | SlowReader => 10..80,
            ClockStepped | BigTransaction | LocksHeld => 20..80,
            RetriesUnderSnapshot => 100..150,
            Timeouts => 20..60,
            SchemaLost => 0..70,
            RelayRefused | WorkerRefused | RpcDown | RpcStalled => 10..40,
            CloudThrottles | CloudFailsEntries | CloudLosesAnswers | CloudTruncates | CloudSlow
            | DynamoAway => 10..40,
            _ => 0..1,
        }
    }
}

const EVERYWHERE: [Fault; 20] = [
    Fault::RelayKilled,
    Fault::RelayKilled,
    Fault::WorkerKilled,
    Fault::WorkerKilled,
    Fault::WorkerPaused,
    Fault::PublishersCut,
    Fault::RelayCut,
    Fault::RelayRefused,
    Fault::RelayStalled,
    Fault::RelayHalfOpen,
    Fault::RpcDown,
    Fault::RpcStalled,
    Fault::Duplicates,
    Fault::Duplicates,
    Fault::SlowReader,
    Fault::ClockStepped,
    Fault::BigTransaction,
    Fault::Timeouts,
    Fault::SchemaLost,
    Fault::LocksHeld,
];
/// Only where the workers' queues and records are in Postgres.
const ON_POSTGRES: [Fault; 5] = [
    Fault::WorkerCut,
    Fault::WorkerRefused,
    Fault::WorkerStalled,
    Fault::WorkerHalfOpen,
    Fault::RetriesUnderSnapshot,
];
const ON_AWS: [Fault; 6] = [
    Fault::CloudThrottles,
    Fault::CloudFailsEntries,
    Fault::CloudLosesAnswers,
    Fault::CloudTruncates,
    Fault::CloudSlow,
    Fault::DynamoAway,
];

/// The faults of a run, in order: great ones one after another, small ones about one a second, each kind equally often.
pub(crate) fn plan(seed: u64, length: Duration, transport: Transport) -> Vec<Planned> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut plan = great(&mut random, length);
    let paused: Vec<_> = plan.iter().filter(|one| one.fault == Fault::LeaderPaused).copied().collect();
    let more: &[Fault] = match transport {
        Transport::Postgres => &ON_POSTGRES,
        Transport::Aws => &ON_AWS,
    };
    let (mut bag, mut at) = (Vec::new(), Duration::from_secs(1));
    while at < length {
        if bag.is_empty() {
            bag = [&EVERYWHERE, more].concat();
            random.shuffle(&mut bag);
        }
        let one = draw(&mut random, bag.pop().unwrap_or(Fault::WorkerKilled), at);
        // The standby is spared while the leader is stopped, because it must take over.
        let spared = one.fault.meets_a_relay()
            && paused.iter().any(|pause| {
                let about = pause.at..pause.at + pause.lasts;
                about.contains(&one.at) || one.at < pause.at && one.at + one.lasts > pause.at
            });
        if !spared && one.at + one.lasts <= length {
            plan.push(one);
        }
        at += Duration::from_millis(random.u64(500..1500));
    }
    plan.sort_by_key(|one| one.at);
    plan
}

fn great(random: &mut fastrand::Rng, length: Duration) -> Vec<Planned> {
    let (mut plan, mut at) = (Vec::new(), Duration::from_millis(random.u64(4000..7000)));
    let great = [Fault::PostgresCrashed, Fault::LeaderPaused, Fault::Lull, Fault::SequencesSetBack];
    for fault in great.into_iter().cycle() {
        let one = draw(random, fault, at);
        if one.at + one.lasts > length {
            return plan;
        }
        plan.push(one);
        at += one.lasts + Duration::from_millis(random.u64(1000..3000));
    }
    plan
}

fn draw(random: &mut fastrand::Rng, fault: Fault, at: Duration) -> Planned {
    let lasts = Duration::from_millis(100 * random.u64(fault.lasts()));
    let whom = random.usize(0..6);
    let off = CLOCK_OFF_MAX.as_millis() as i64;
    Planned { at, fault, lasts, whom, clock_off_ms: random.i64(-off..=off), dice: random.u64(..) }
}
