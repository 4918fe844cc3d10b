//! A consumer on simulated time, with its queue, its slots and its server.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::{Backoff, Policy};
use proptest::prelude::*;
use tokio::time::Instant;

use super::{Answer, Breaker, HOLD_MAX};
use crate::ask::{Ask, FailedSlots, ask};
use crate::decide::{Attempt, decide, held};
use crate::rpc::{By, CallError, Code};
use outbox_transport::{Again, Outcome};

const PUT_BACK: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
struct Event {
    id: EventId,
    arrives: Duration,
    takes: Duration,
    /// The failure of every call.
    fails: Option<(Code, By, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Done(Duration),
    Dead(Duration),
}

struct Call {
    ends: Duration,
    began: Duration,
    event: usize,
    again: bool,
    probe: Option<super::Probe>,
}

struct Consumer {
    start: Instant,
    now: Duration,
    breaker: Breaker,
    policy: Policy,
    events: Vec<Event>,
    states: Vec<State>,
    attempts: Vec<u32>,
    fresh: VecDeque<usize>,
    due: BTreeSet<(Duration, usize)>,
    calls: Vec<Call>,
    found: bool,
    random: fastrand::Rng,
    /// Until then the server refuses every call.
    broken_until: Duration,
}

impl Consumer {
    fn new(mut events: Vec<Event>, concurrency: usize) -> Self {
        let policy = Policy { concurrency, ..Policy::default() };
        events.sort_by_key(|event| event.arrives);
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            breaker: Breaker::new(policy.backoff, true),
            policy,
            states: vec![State::Waits; events.len()],
            attempts: vec![0; events.len()],
            fresh: VecDeque::new(),
            due: BTreeSet::new(),
            calls: Vec::new(),
            found: false,
            random: fastrand::Rng::with_seed(7),
            broken_until: Duration::ZERO,
            events,
        }
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    /// Calls under way come back later.
    fn restart(&mut self) {
        self.breaker = Breaker::new(self.policy.backoff, true);
        for call in std::mem::take(&mut self.calls) {
            self.due.insert((self.now + Duration::from_secs(30), call.event));
        }
    }

    fn run_until(&mut self, end: Duration) {
        let mut arrived = self.events.partition_point(|event| event.arrives < self.now);
        if self.now.is_zero() {
            arrived = 0;
        }
        loop {
            while self.events.get(arrived).is_some_and(|event| event.arrives <= self.now) {
                self.fresh.push_back(arrived);
                arrived += 1;
            }
            self.end_calls();
            let until = self.receive();
            let next = self.calls.iter().map(|call| call.ends).min();
            let next = next.into_iter().chain(self.events.get(arrived).map(|event| event.arrives));
            let next = next.chain(self.due.range((self.now, usize::MAX)..).next().map(|(at, _)| *at));
            let next = next.chain(until.map(|at| at.saturating_duration_since(self.start)));
            match next.filter(|at| *at > self.now).min() {
                Some(at) if at <= end => self.now = at,
                _ => break,
            }
        }
        self.now = end;
    }

    fn receive(&mut self) -> Option<Instant> {
        loop {
            let free = self.policy.concurrency - self.calls.len();
            if free == 0 {
                return None;
            }
            let again = self.calls.iter().filter(|call| call.again).count();
            let slots = FailedSlots {
                free: FailedSlots::of(self.policy.concurrency).saturating_sub(again),
                found: self.found,
                chooses: true,
                single: self.policy.concurrency == 1,
            };
            let asked = match ask(self.breaker.gate(self.at()), free, slots, self.at()) {
                Ok(asked) => asked,
                Err(until) => return until,
            };
            let mut received = self.take(asked);
            self.found = slots.finds(&asked, received.iter().any(|event| self.attempts[*event] > 0));
            let mut room = asked.failed_most;
            received.retain(|event| {
                let fits = self.attempts[*event] == 0 || room > 0;
                room -= usize::from(fits && self.attempts[*event] > 0);
                if !fits {
                    self.due.insert((self.now + PUT_BACK, *event));
                }
                fits
            });
            if received.is_empty() {
                if let Some(probe) = asked.probe {
                    self.breaker.probed(probe, false, self.at());
                }
                return asked.until;
            }
            for event in received {
                let (began, ends) = (self.now, self.now + self.events[event].takes);
                self.attempts[event] += 1;
                let again = self.attempts[event] > 1;
                self.calls.push(Call { ends, began, event, again, probe: asked.probe });
            }
        }
    }

    /// As `outbox.receive` does.
    fn take(&mut self, asked: Ask) -> Vec<usize> {
        let share = match asked.failed {
            true => asked.most / 2 + (asked.most % 2) * self.random.usize(0..2),
            false => 0,
        };
        let mut taken = Vec::new();
        self.take_due(share, &mut taken);
        while taken.len() < asked.most
            && let Some(event) = self.fresh.pop_front()
        {
            taken.push(event);
        }
        if asked.failed {
            self.take_due(asked.most, &mut taken);
        }
        taken
    }

    fn take_due(&mut self, most: usize, taken: &mut Vec<usize>) {
        while taken.len() < most && self.due.first().is_some_and(|(at, _)| *at <= self.now) {
            taken.extend(self.due.pop_first().map(|(_, event)| event));
        }
    }

    fn end_calls(&mut self) {
        let now = self.now;
        let (ended, running) = std::mem::take(&mut self.calls).into_iter().partition(|call| call.ends <= now);
        self.calls = running;
        let ended: Vec<Call> = ended;
        for call in ended {
            let event = &self.events[call.event];
            let fails = match now < self.broken_until {
                true => Some((Code::InvalidArgument, By::Server, format!("event {} is broken", event.id))),
                false => event.fails.clone(),
            };
            let reply = fails.map_or(Ok(()), |(code, by, message)| {
                Err(CallError { code, message, retry_after: None, by })
            });
            let (id, began) = (event.id, self.start + call.began);
            let answer = Answer { event: id, reply: &reply, began, probe: call.probe.is_some() };
            let at = self.at();
            let is_held = self.breaker.heard(answer, at);
            if let Some(probe) = call.probe {
                self.breaker.probed(probe, true, at);
            }
            let attempt = Attempt { number: self.attempts[call.event], last_chance: false };
            let random = self.random.f64();
            let outcome = match &reply {
                Err(error) if is_held => held(error, attempt, &self.policy, random),
                reply => decide(reply, attempt, &self.policy, random),
            };
            match outcome {
                Outcome::Done => self.states[call.event] = State::Done(now),
                Outcome::Dead { .. } => self.states[call.event] = State::Dead(now),
                Outcome::Retry { again, after, .. } => {
                    self.attempts[call.event] -= u32::from(again == Again::Held);
                    self.due.insert((now + after, call.event));
                }
                Outcome::Duplicate | Outcome::SetAside { .. } => unreachable!("it was called"),
            }
        }
    }

    fn dead(&self) -> usize {
        self.states.iter().filter(|state| matches!(state, State::Dead(_))).count()
    }

    fn done(&self) -> usize {
        self.states.iter().filter(|state| matches!(state, State::Done(_))).count()
    }

    /// How long each event that succeeds has waited.
    fn waits(&self) -> Vec<(EventId, Option<Duration>)> {
        let events = self.events.iter().zip(&self.states).filter(|(event, _)| event.fails.is_none());
        let waits = events.map(|(event, state)| match state {
            State::Done(at) => (event.id, Some(*at - event.arrives)),
            State::Waits | State::Dead(_) => (event.id, None),
        });
        waits.collect()
    }
}

fn event(arrives_ms: u64, takes_ms: u64, fails: Option<(Code, By, String)>) -> Event {
    let (arrives, takes) = (Duration::from_millis(arrives_ms), Duration::from_millis(takes_ms));
    Event { id: EventId::new(), arrives, takes, fails }
}

fn own(code: Code, message: &str) -> Option<(Code, By, String)> {
    Some((code, By::Server, message.to_owned()))
}

/// By how much failing events delay an event that succeeds, at most. `None`: for ever.
fn delay(healthy: &[Event], failing: &[Event], concurrency: usize) -> Option<Duration> {
    let end = Duration::from_secs(120);
    let mut alone = Consumer::new(healthy.to_vec(), concurrency);
    let mut mixed = Consumer::new([healthy, failing].concat(), concurrency);
    alone.run_until(end);
    mixed.run_until(end);
    let beside: std::collections::HashMap<EventId, Option<Duration>> = mixed.waits().into_iter().collect();
    let delays = alone.waits().into_iter().map(|(id, wait)| Some(beside[&id]?.saturating_sub(wait?)));
    delays.collect::<Option<Vec<Duration>>>().map(|delays| delays.into_iter().max().unwrap_or_default())
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Guards promise 6: failing events delay an event that does not fail by at most two seconds. That holds for any mixture,
    /// codes, times and concurrency.
    #[test]
    fn no_event_waits_for_the_failures_of_others(
        healthy in prop::collection::vec((0_u64..60_000, 1_u64..20), 1..40),
        failing in prop::collection::vec(
            (0_u64..60_000, 1_u64..15, prop::sample::select(Code::ALL.to_vec()), 0_u8..3), 0..60),
        at_once in any::<bool>(),
        concurrency in 1_usize..20,
    ) {
        let healthy: Vec<Event> = healthy.into_iter().map(|(at, takes)| event(at, takes, None)).collect();
        let failing: Vec<Event> = failing
            .into_iter()
            .filter(|(_, _, code, _)| *code != Code::AlreadyExists)
            .map(|(at, takes, code, n)| event(if at_once { 0 } else { at }, takes, own(code, &"no ".repeat(n.into()))))
            .collect();
        let delay = delay(&healthy, &failing, concurrency);
        prop_assert!(delay.is_some_and(|delay| delay <= Duration::from_secs(2)), "{delay:?}");
    }

    /// Guards promise 6: a proxy may answer 503 for some events only, as if the server were away. Once these have failed, an
    /// event that does not fail waits at most two seconds.
    #[test]
    fn no_event_waits_for_a_path_that_a_proxy_refuses(
        healthy in prop::collection::vec((30_000_u64..90_000, 1_u64..20), 1..40),
        failing in prop::collection::vec((0_u64..5_000, 1_u64..15), 0..12),
        concurrency in 1_usize..20,
    ) {
        let healthy: Vec<Event> = healthy.into_iter().map(|(at, takes)| event(at, takes, None)).collect();
        let proxy = || Some((Code::Unavailable, By::Nobody, "HTTP 503".to_owned()));
        let failing: Vec<Event> = failing.into_iter().map(|(at, takes)| event(at, takes, proxy())).collect();
        let delay = delay(&healthy, &failing, concurrency);
        prop_assert!(delay.is_some_and(|delay| delay <= Duration::from_millis(2100)), "{delay:?}");
    }
}

/// Guards promise 6: ten events above the server's size limit delay no small event, which comes every six seconds.
#[test]
fn large_events_keep_no_small_one_waiting() {
    for concurrency in [1, 2, 16] {
        let large: Vec<Event> =
            (0..10).map(|_| event(0, 5, own(Code::ResourceExhausted, "larger than 1000 bytes"))).collect();
        let small: Vec<Event> = (1..20).map(|n| event(n * 6000, 5, None)).collect();
        let delay = delay(&small, &large, concurrency).unwrap();
        assert!(delay < Duration::from_millis(100), "{delay:?} of {concurrency}");
    }
}

/// Guards promise 6: failures at any rate and with any code delay no other event, be they half of all or all but one in a
/// thousand.
#[test]
fn a_flood_of_failures_slows_no_other_event() {
    for code in [Code::PermissionDenied, Code::Unimplemented, Code::Internal, Code::InvalidArgument] {
        for (every_ms, healthy_every) in [(5, 2), (5, 100), (5, 1000)] {
            let mixed = |n: u64| {
                event(
                    n * every_ms,
                    5,
                    (!n.is_multiple_of(healthy_every)).then(|| own(code, "not this tenant")).flatten(),
                )
            };
            let (healthy, failing): (Vec<_>, Vec<_>) =
                (0..6000).map(mixed).partition(|event| event.fails.is_none());
            for concurrency in [2, 16] {
                let delay = delay(&healthy, &failing, concurrency).expect("none waits for ever");
                assert!(
                    delay < Duration::from_millis(500),
                    "{delay:?} of {code:?}, {healthy_every}, {concurrency}"
                );
            }
        }
    }
}

/// Guards promise 6: with a single slot, an event waits for the call under way, and not for the breaker.
#[test]
fn a_single_slot_is_shared() {
    let slow: Vec<Event> =
        (0..8).map(|_| event(0, 2000, own(Code::DeadlineExceeded, "slow tenant"))).collect();
    let healthy: Vec<Event> = (0..20).map(|n| event(30_000 + n * 3000, 5, None)).collect();
    let delay = delay(&healthy, &slow, 1).expect("none waits for ever");
    assert!(delay <= Duration::from_secs(2), "{delay:?}");
}

/// Guards promise 6: an old backlog of events that take their whole timeout leaves slots to others.
#[test]
fn a_backlog_that_times_out_leaves_slots() {
    // The breaker keeps the first code back, which is doubtful, and not the second.
    for code in [Code::DeadlineExceeded, Code::Internal] {
        let slow = (0..500).map(|_| event(0, 10_000, own(code, "it took too long")));
        let healthy = (0..100).map(|n| event(30 * 60_000 + n * 1000, 5, None));
        let mut consumer = Consumer::new(slow.chain(healthy).collect(), 16);
        consumer.run_until(minutes(35));
        let waits: Vec<Duration> =
            consumer.waits().into_iter().map(|(_, wait)| wait.expect("it is done")).collect();
        assert!(
            waits.iter().all(|wait| *wait < Duration::from_millis(100)),
            "{code:?}: {:?}",
            waits.iter().max()
        );
    }
}

/// Guards promise 2: a server refuses 5,000 events for a minute, in texts with each event's id. At most twenty of them are
/// dead-lettered, even with restarts of the worker. All others are delivered.
#[test]
fn a_broken_deploy_empties_no_queue() {
    for (restarts, concurrency) in [(0, 1), (0, 16), (1, 200), (3, 16)] {
        let events = (0..5000).map(|n| event(n * 10, 5, None)).collect();
        let mut consumer = Consumer::new(events, concurrency);
        consumer.broken_until = Duration::from_secs(60);
        for restart in 1..=restarts {
            consumer.run_until(Duration::from_secs(15 * restart));
            consumer.restart();
        }
        consumer.run_until(minutes(5));
        assert!(consumer.dead() <= 4 * (1 + restarts as usize), "{} dead", consumer.dead());
        assert_eq!(
            consumer.done() + consumer.dead(),
            5000,
            "after {restarts} restarts, {concurrency} at a time"
        );
    }
}

/// Guards promise 7: if every event is poison, none waits for ever. After six hours each probe is dead.
#[test]
fn poison_alone_dies_in_the_end() {
    let poison = |n| event(n, 5, own(Code::InvalidArgument, "unknown currency"));
    let mut consumer = Consumer::new((0..100).map(poison).collect(), 16);
    consumer.run_until(HOLD_MAX);
    assert_eq!(consumer.dead(), 4);
    consumer.run_until(HOLD_MAX + minutes(60));
    assert_eq!(consumer.dead(), 100);
}

/// Guards promise 6: poison among events that succeed dies at its first call.
#[test]
fn poison_among_successes_dies() {
    let mixed =
        |n: u64| event(n * 100, 5, n.is_multiple_of(3).then(|| own(Code::InvalidArgument, "no")).flatten());
    let mut consumer = Consumer::new((0..300).map(mixed).collect(), 16);
    consumer.run_until(minutes(5));
    assert_eq!((consumer.dead(), consumer.done()), (100, 200));
    assert!(consumer.attempts.iter().all(|attempts| *attempts == 1));
}

/// Guards promise 3: a refusal while the RPC is held costs no attempt.
#[test]
fn a_hold_costs_no_attempt() {
    let mut consumer = Consumer::new((0..100).map(|n| event(n, 5, None)).collect(), 16);
    consumer.policy.max_attempts = 2;
    consumer.policy.backoff = Backoff { min: Duration::from_millis(10), max: Duration::from_millis(50) };
    consumer.restart();
    consumer.broken_until = Duration::from_secs(60);
    consumer.run_until(minutes(5));
    assert_eq!((consumer.dead(), consumer.done()), (4, 96));
}
