//! What goes wrong, and when: drawn from the seed. Pure.

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
    /// Stopped for longer than a standby waits, and resumed.
    LeaderPaused,
    WorkerPaused,
    /// Stopped as by a power cut, and started again.
    PostgresCrashed,
    PublishersCut,
    RelayCut,
    RelayRefused,
    RelayStalled,
    /// What is open goes nowhere any more, and nobody is told; new connections work.
    RelayHalfOpen,
    WorkerCut,
    WorkerRefused,
    WorkerStalled,
    WorkerHalfOpen,
    RpcDown,
    RpcStalled,
    /// Messages that were delivered arrive again.
    Duplicates,
    /// Somebody reads all of the rings and keeps his locks and his snapshot: what is to be truncated is not, and what is old
    /// stays visible.
    SlowReader,
    /// A transaction publishes very many events and stays open for a while. Most are rolled back.
    BigTransaction,
    /// Somebody keeps a snapshot while an RPC fails and recovers: retries come and go under it.
    RetriesUnderSnapshot,
    /// The database or the role gets timeouts that are meant for people's sessions, and sessions end so that they count.
    Timeouts,
    /// The second database loses its schema for a while, or gets a new one.
    SchemaLost,
    /// A role that may only connect holds the advisory locks of the outbox.
    LocksHeld,
    /// As after a switch-over that carries no sequences along: they are set back while no relay runs.
    SequencesSetBack,
    /// One relay's or worker's clock is wrong for a while. (Postgres's is wrong after each crash, as another machine's would
    /// be.)
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

/// Either way. A lease outlives a call by half of the visibility: two clocks may differ by less than that.
pub(crate) const CLOCK_OFF_MAX: Duration = Duration::from_millis(400);

/// A fault, when it begins, how long it lasts, whom of two or three it meets, by how much a clock is off, and what the rest
/// of it is drawn from.
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
    /// As it is counted.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }

    /// May it come between an RPC's success and the record of it?
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

    /// May it keep a record from being written for longer than a lease lasts?
    pub(crate) fn delays_the_record(self) -> bool {
        use Fault::{CloudLosesAnswers, CloudSlow, CloudThrottles, CloudTruncates};
        matches!(self, CloudLosesAnswers | CloudSlow | CloudThrottles | CloudTruncates)
    }

    /// May it keep a ring from the relay while the rest of its connections work?
    pub(crate) fn may_mute_the_bell(self) -> bool {
        matches!(self, Fault::RelayStalled | Fault::RelayHalfOpen | Fault::LeaderPaused)
    }

    /// One of them, and not the others.
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

    /// In tenths of a second.
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
/// Where the workers' queues and records are in Postgres.
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

/// A run's faults in their order: the great ones one after another, the small ones about one a second, each kind as often as
/// the others.
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
        // Who is to take over is left alone while the leader is stopped.
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
