//! Can a committed event wait while the relay sleeps?
//!
//! | step | code |
//! |---|---|
//! | `Insert`, `Ring` | `outbox::INSERT`, `outbox.enqueue`: the row and `outbox.wake()` |
//! | `Commit`, `End`, `RollBack` | Postgres: others see the rows, then locks are released and notifications sent |
//! | `Listen` | `Doorbell::listen`, at the start of a term |
//! | `Read` | `Outbox::next_window` and `Leader::relay`: a page of one event. In `run`; in `try_sleep` before it sleeps; after it woke |
//! | `TryLock`, `Open` | `Doorbell::try_lock`, `Doorbell::unlock` |
//! | `Wake` | `Doorbell::recv`, then `Doorbell::drain` |
//! | `Crash`, `SessionEnds` | the relay dies, or loses the lead; the server notices, and releases its lock |
//!
//! `outbox::INSERT` takes the doorbell before it writes the row. That makes no difference: until `Commit` no other process sees
//! the row, so `Insert` changes nothing for the relay, whether it comes before `Ring` or after.
//!
//! Left out: the fallback poll, which finds events that the doorbell missed. So is a connection whose end only the server
//! has noticed, which is the poll's purpose.

use stateright::{Checker, Model, Property};

use super::{breaks, holds};

const NEVER_LEFT_LYING: &str =
    "no committed event waits while the relay sleeps and no notification will come";
const ALL_READ: &str = "at rest, everything committed has been read";
const REFUSED: &str = "the lock is refused";
const LAST_READ_FINDS: &str = "the last read finds an event";
const WOKEN_IN_VAIN: &str = "it is woken, and finds nothing";
const LOCK_REMAINS: &str = "it reads while a dead relay's lock remains";

#[derive(Debug, Clone)]
struct Doorbell {
    publishers: usize,
    crashes_max: u8,
    protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    AsItIs,
    /// The relay sets a flag while it sleeps, and publishers read it, without a lock.
    Flag,
    /// The relay sleeps as soon as it has the lock.
    NoLastRead,
    /// The relay drains old notifications after the last read instead of before the first.
    ForgetsLate,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    publishers: Vec<Publisher>,
    relay: Relay,
    /// A notification waits for the listener.
    rung: bool,
    /// The lock of a dead relay, whose session the server still has.
    left_locked: bool,
    crashes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Publisher {
    Begun,
    Inserted,
    Rang(Saw),
    /// Others see the event. The locks are not released yet, and the notification is not sent.
    Committed(Saw, Event),
    Ended(Event),
    RolledBack,
}

/// What `outbox.wake` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Saw {
    /// The publisher holds the lock shared, to the end of its transaction.
    Awake,
    /// The notification is sent when the publisher has committed.
    Asleep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    Unread,
    Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Relay {
    Starting,
    Reading,
    /// A read found nothing.
    Tired,
    /// It has the lock, and reads once more.
    LastRead,
    /// Only with `ForgetsLate`: the last read found nothing.
    Forgetting,
    Asleep,
    /// The relay unlocks and reads, at the same time.
    Waking {
        opened: bool,
        read: bool,
    },
    /// The last read found something: the relay unlocks before it goes on.
    Opening,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Insert(usize),
    Ring(usize),
    Commit(usize),
    End(usize),
    RollBack(usize),
    Listen,
    Read,
    TryLock,
    Forget,
    Wake,
    Open,
    Crash,
    SessionEnds,
}

impl Publisher {
    fn unread(self) -> bool {
        matches!(self, Self::Committed(_, Event::Unread) | Self::Ended(Event::Unread))
    }

    fn holds_lock(self) -> bool {
        matches!(self, Self::Rang(Saw::Awake) | Self::Committed(Saw::Awake, _))
    }

    fn will_ring(self) -> bool {
        matches!(self, Self::Committed(Saw::Asleep, _))
    }

    fn mark_read(&mut self) {
        if let Self::Committed(_, event) | Self::Ended(event) = self {
            *event = Event::Read;
        }
    }
}

impl Relay {
    fn holds_lock(self) -> bool {
        matches!(
            self,
            Self::LastRead
                | Self::Forgetting
                | Self::Asleep
                | Self::Opening
                | Self::Waking { opened: false, .. }
        )
    }
}

impl State {
    fn locked(&self) -> bool {
        self.relay.holds_lock() || self.left_locked
    }

    /// Reads one committed event at most. Returns whether there was any.
    fn read(&mut self) -> bool {
        let found = self.publishers.iter_mut().find(|publisher| publisher.unread());
        found.map(Publisher::mark_read).is_some()
    }
}

impl Doorbell {
    /// What the relay does next: nothing while it sleeps without a notification.
    fn relay_steps(state: &State) -> &'static [Step] {
        match state.relay {
            Relay::Starting => &[Step::Listen],
            Relay::Reading | Relay::LastRead => &[Step::Read],
            Relay::Tired => &[Step::TryLock],
            Relay::Forgetting => &[Step::Forget],
            Relay::Asleep if state.rung => &[Step::Wake],
            Relay::Asleep => &[],
            Relay::Waking { opened: false, read: false } => &[Step::Open, Step::Read],
            Relay::Waking { opened: true, .. } => &[Step::Read],
            Relay::Waking { read: true, .. } | Relay::Opening => &[Step::Open],
        }
    }

    fn try_lock(&self, state: &State) -> Relay {
        let held = state.left_locked || state.publishers.iter().any(|publisher| publisher.holds_lock());
        match self.protocol {
            Protocol::AsItIs | Protocol::NoLastRead | Protocol::ForgetsLate if held => Relay::Reading,
            Protocol::AsItIs | Protocol::Flag | Protocol::ForgetsLate => Relay::LastRead,
            Protocol::NoLastRead => Relay::Asleep,
        }
    }

    fn after_read(&self, relay: Relay, found: bool) -> Relay {
        match relay {
            Relay::Reading if !found => Relay::Tired,
            Relay::LastRead if found => Relay::Opening,
            Relay::LastRead if self.protocol == Protocol::ForgetsLate => Relay::Forgetting,
            Relay::LastRead => Relay::Asleep,
            Relay::Waking { opened: false, .. } => Relay::Waking { opened: false, read: true },
            // Woken in vain or not, it reads until a read finds nothing.
            _ => Relay::Reading,
        }
    }

    fn at_rest(&self, state: &State) -> bool {
        self.next_steps(state).iter().all(|(step, _)| *step == Step::Crash)
    }
}

impl Model for Doorbell {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let publishers = vec![Publisher::Begun; self.publishers];
        vec![State { publishers, relay: Relay::Starting, rung: false, left_locked: false, crashes: 0 }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (p, publisher) in state.publishers.iter().enumerate() {
            match publisher {
                Publisher::Begun => steps.push(Step::Insert(p)),
                Publisher::Inserted => steps.extend([Step::Ring(p), Step::RollBack(p)]),
                Publisher::Rang(_) => steps.extend([Step::Commit(p), Step::RollBack(p)]),
                Publisher::Committed(..) => steps.push(Step::End(p)),
                Publisher::Ended(_) | Publisher::RolledBack => {}
            }
        }
        steps.extend_from_slice(Self::relay_steps(state));
        if state.left_locked {
            steps.push(Step::SessionEnds);
        }
        if state.crashes < self.crashes_max && state.relay != Relay::Starting {
            steps.push(Step::Crash);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Insert(p) => state.publishers[p] = Publisher::Inserted,
            Step::Ring(p) => {
                let saw = if state.locked() { Saw::Asleep } else { Saw::Awake };
                state.publishers[p] = Publisher::Rang(saw);
            }
            Step::Commit(p) => {
                let Publisher::Rang(saw) = state.publishers[p] else { return None };
                state.publishers[p] = Publisher::Committed(saw, Event::Unread);
            }
            Step::End(p) => {
                let Publisher::Committed(saw, event) = state.publishers[p] else { return None };
                // A notification without a listener is lost.
                state.rung |= saw == Saw::Asleep && state.relay != Relay::Starting;
                state.publishers[p] = Publisher::Ended(event);
            }
            Step::RollBack(p) => state.publishers[p] = Publisher::RolledBack,
            Step::Listen => state.relay = Relay::Reading,
            Step::Read => {
                let found = state.read();
                state.relay = self.after_read(state.relay, found);
            }
            Step::TryLock => state.relay = self.try_lock(&state),
            Step::Forget => {
                state.rung = false;
                state.relay = Relay::Asleep;
            }
            Step::Wake => {
                state.rung = false;
                state.relay = Relay::Waking { opened: false, read: false };
            }
            Step::Open => {
                state.relay = match state.relay {
                    Relay::Waking { read: false, .. } => Relay::Waking { opened: true, read: false },
                    _ => Relay::Reading,
                };
            }
            Step::Crash => {
                state.left_locked |= state.relay.holds_lock();
                state.relay = Relay::Starting;
                state.rung = false;
                state.crashes += 1;
            }
            Step::SessionEnds => state.left_locked = false,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_LEFT_LYING, |_, state: &State| {
                let unread = state.publishers.iter().any(|publisher| publisher.unread());
                let will_ring = state.rung || state.publishers.iter().any(|publisher| publisher.will_ring());
                !(state.relay == Relay::Asleep && unread && !will_ring)
            }),
            Property::always(ALL_READ, |model: &Self, state: &State| {
                let unread = state.publishers.iter().any(|publisher| publisher.unread());
                !(unread && model.at_rest(state))
            }),
            Property::sometimes(REFUSED, |model: &Self, state: &State| {
                state.relay == Relay::Tired && model.try_lock(state) == Relay::Reading
            }),
            Property::sometimes(LAST_READ_FINDS, |_, state: &State| state.relay == Relay::Opening),
            Property::sometimes(WOKEN_IN_VAIN, |_, state: &State| {
                matches!(state.relay, Relay::Waking { .. })
                    && !state.publishers.iter().any(|publisher| publisher.unread())
            }),
            Property::sometimes(LOCK_REMAINS, |_, state: &State| {
                state.left_locked && state.relay == Relay::Reading
            }),
        ]
    }
}

fn doorbell(protocol: Protocol) -> Doorbell {
    Doorbell { publishers: 3, crashes_max: 2, protocol }
}

/// Guards promise 2, and the latency of a rare event: three publishers take any steps, and two relays die at any time. No
/// event waits for the fallback poll.
#[test]
fn no_event_waits_for_a_sleeping_relay() {
    let seen = holds(doorbell(Protocol::AsItIs));
    for happens in [REFUSED, LAST_READ_FINDS, WOKEN_IN_VAIN, LOCK_REMAINS] {
        seen.assert_any_discovery(happens);
    }
}

/// Guards the reason for the lock: a publisher that saw the flag unset commits after the relay's last read.
#[test]
fn a_flag_would_lose_a_wake_up() {
    use Step::{Commit, Insert, Listen, Read, Ring, TryLock};
    let story = [Insert(0), Ring(0), Listen, Read, TryLock, Read, Commit(0)];
    breaks(doorbell(Protocol::Flag), NEVER_LEFT_LYING, &story);
}

/// Guards the reason for the last read: it finds events that were committed between the read before and the lock.
#[test]
fn sleeping_without_a_last_read_would_lose_a_wake_up() {
    use Step::{Commit, End, Insert, Listen, Read, Ring, TryLock};
    let story = [Listen, Insert(0), Ring(0), Read, Commit(0), End(0), TryLock];
    breaks(doorbell(Protocol::NoLastRead), NEVER_LEFT_LYING, &story);
}

/// Guards the place where notifications are drained: one that comes after the last read is new.
#[test]
fn draining_right_before_sleeping_would_lose_a_wake_up() {
    use Step::{Commit, End, Forget, Insert, Listen, Read, Ring, TryLock};
    let story = [Insert(0), Listen, Read, TryLock, Ring(0), Read, Commit(0), End(0), Forget];
    breaks(doorbell(Protocol::ForgetsLate), NEVER_LEFT_LYING, &story);
}
