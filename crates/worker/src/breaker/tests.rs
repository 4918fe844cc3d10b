use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::Backoff;
use tokio::time::Instant;

use super::*;
use crate::rpc::{By, Code};

/// A breaker, and a server whose answers the test chooses.
struct Desk {
    breaker: Breaker,
    start: Instant,
    seconds: u64,
}

impl Desk {
    fn new(chooses: bool) -> Self {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(600) };
        Self { breaker: Breaker::new(backoff, chooses), start: Instant::now(), seconds: 0 }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn says(&mut self, event: EventId, reply: &Result<(), CallError>, probe: bool) -> bool {
        let now = self.at(self.seconds);
        self.breaker.heard(Answer { event, reply, began: now, probe }, now)
    }

    fn fails(&mut self, event: EventId, code: Code, by: By) -> bool {
        self.says(event, &Err(error(code, by, "no")), false)
    }

    fn fail(&mut self, events: &[EventId], code: Code, by: By) {
        for event in events {
            self.fails(*event, code, by);
        }
    }

    fn succeeds(&mut self) {
        self.says(EventId::new(), &Ok(()), false);
    }

    fn gate(&mut self) -> Gate {
        self.breaker.gate(self.at(self.seconds))
    }

    /// Ends a probe without an improvement.
    fn probe_fails(&mut self, probe: Probe, code: Code, by: By) {
        self.fails(EventId::new(), code, by);
        let now = self.at(self.seconds);
        self.breaker.probed(probe, true, now);
    }
}

fn error(code: Code, by: By, message: &str) -> CallError {
    CallError { code, message: message.to_owned(), retry_after: None, by }
}

fn events(count: usize) -> Vec<EventId> {
    (0..count).map(|_| EventId::new()).collect()
}

/// Guards promise 6: the state of the breaker after each answer for five different events. `codes.rs` has the rest of the
/// table.
#[test]
fn each_kind_of_answer_has_its_standing() {
    for code in Code::ALL {
        for by in [By::Server, By::Nobody] {
            let mut desk = Desk::new(true);
            desk.fail(&events(4), code, by);
            assert_eq!(desk.breaker.standing(), Standing::Closed, "four of {code:?}");
            desk.fail(&events(1), code, by);
            let expected = match (code, by) {
                (Code::Unavailable, By::Nobody) => Standing::Away,
                (
                    Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::ResourceExhausted
                    | Code::Unimplemented
                    | Code::PermissionDenied
                    | Code::Unauthenticated,
                    _,
                ) => Standing::Doubted,
                (Code::InvalidArgument | Code::OutOfRange | Code::DataLoss, _) => {
                    Standing::Held(Reason::of(&error(code, by, "no")))
                }
                _ => Standing::Closed,
            };
            assert_eq!(desk.breaker.standing(), expected, "five of {code:?}");
        }
    }
}

/// Guards promise 6: all retries of one event count as one event.
#[test]
fn an_event_counts_once() {
    let four = events(4);
    for (code, by) in
        [(Code::Unavailable, By::Nobody), (Code::ResourceExhausted, By::Server), (Code::DataLoss, By::Server)]
    {
        let mut desk = Desk::new(true);
        for _ in 0..20 {
            desk.fail(&four, code, by);
        }
        assert_eq!((desk.breaker.standing(), desk.gate()), (Standing::Closed, Gate::All), "{code:?}");
    }
}

/// Guards promise 6: a server that is away gets one probe at a time, and the wait doubles. Deliveries that have not failed are
/// probed every two seconds. An answer ends that, but not one of a call that was under way.
#[test]
fn a_server_that_is_away_is_probed() {
    let mut desk = Desk::new(true);
    let began = desk.at(0);
    desk.seconds = 1;
    desk.fail(&events(5), Code::Unavailable, By::Nobody);
    assert_eq!((desk.gate(), desk.breaker.level()), (Gate::Shut { until: Some(desk.at(2)) }, 2.0));
    let late = Ok(());
    let now = desk.at(1);
    desk.breaker.heard(Answer { event: EventId::new(), reply: &late, began, probe: false }, now);
    assert_eq!(desk.breaker.standing(), Standing::Away);
    let (mut any, mut fresh) = (Vec::new(), Vec::new());
    for second in 2..120 {
        desk.seconds = second;
        while let Gate::Probe { probe, .. } = desk.gate() {
            assert_eq!(desk.breaker.level(), 1.0);
            match probe {
                Probe::Any => any.push(second),
                Probe::Fresh => fresh.push(second),
            }
            desk.probe_fails(probe, Code::Unavailable, By::Nobody);
        }
    }
    assert_eq!(any, [2, 4, 8, 16, 32, 62, 92]);
    assert_eq!(fresh[..5], [2, 4, 6, 8, 10]);
    desk.succeeds();
    assert_eq!((desk.gate(), desk.breaker.level()), (Gate::All, 0.0));
}

/// Guards promise 6: while a server is doubted, deliveries that have not failed are called, and others one at a time.
#[test]
fn a_server_that_is_doubted_is_called_by_what_has_not_failed() {
    let mut desk = Desk::new(true);
    desk.fail(&events(5), Code::PermissionDenied, By::Server);
    assert_eq!(desk.gate(), Gate::Fresh { until: Some(desk.at(1)) });
    desk.seconds = 1;
    assert_eq!(desk.gate(), Gate::Probe { probe: Probe::Any, until: None });
    assert_eq!(desk.gate(), Gate::Fresh { until: None }, "while that is under way");
    desk.probe_fails(Probe::Any, Code::PermissionDenied, By::Server);
    assert_eq!(desk.gate(), Gate::Fresh { until: Some(desk.at(3)) });
    desk.fails(EventId::new(), Code::NotFound, By::Server);
    assert_eq!(desk.gate(), Gate::All, "it fails otherwise, so it serves");
}

/// Guards promise 6: an event that failed while others were answered fails by itself, and no longer opens the breaker.
#[test]
fn what_fails_beside_successes_is_its_own() {
    for (code, by) in [(Code::Unavailable, By::Nobody), (Code::ResourceExhausted, By::Server)] {
        let (mut desk, large) = (Desk::new(true), events(10));
        desk.fail(&large, code, by);
        assert_ne!(desk.gate(), Gate::All);
        desk.succeeds();
        desk.fail(&large, code, by);
        desk.fail(&events(4), code, by);
        assert_eq!(desk.gate(), Gate::All);
        desk.fail(&events(1), code, by);
        assert_ne!(desk.gate(), Gate::All, "others may still show that it is the server");
    }
}

/// Guards promise 2: different events with the same refusal hold the RPC. Nothing is dead-lettered until a success, except one
/// of a call that was under way. A restart of the server in between changes nothing.
#[test]
fn refusals_alike_hold_the_rpc() {
    let mut desk = Desk::new(true);
    let refuse = |desk: &mut Desk, message: &str| {
        desk.says(EventId::new(), &Err(error(Code::InvalidArgument, By::Server, message)), false)
    };
    for n in 0..4 {
        assert!(!refuse(&mut desk, &format!("card {n} is no card")));
    }
    desk.fail(&events(2), Code::Unavailable, By::Nobody);
    assert!(refuse(&mut desk, "card 5 is no card"), "the fifth");
    assert!(refuse(&mut desk, "another reason"));
    assert_eq!(desk.breaker.held().unwrap().to_string(), "invalid_argument: card # is no card");
    assert_eq!((desk.gate(), desk.breaker.level()), (Gate::Fresh { until: Some(desk.at(1)) }, 3.0));
    let (reply, before) = (Ok(()), desk.start - Duration::from_secs(1));
    let now = desk.at(0);
    desk.breaker.heard(Answer { event: EventId::new(), reply: &reply, began: before, probe: false }, now);
    desk.fail(&events(5), Code::Unavailable, By::Nobody);
    assert_eq!(desk.breaker.standing(), Standing::Away);
    desk.fails(EventId::new(), Code::Internal, By::Server);
    assert!(refuse(&mut desk, "still held"));
    desk.succeeds();
    assert_eq!((desk.gate(), desk.breaker.held()), (Gate::All, None));
    assert!(!refuse(&mut desk, "a single one is dead at once"));
}

/// Guards promise 2: twenty refusals in a row for different reasons are a broken server, too.
#[test]
fn refusals_of_any_kind_hold_the_rpc() {
    let mut desk = Desk::new(true);
    let dead = (0..100).filter(|n| {
        let message = format!("nobody is called {}", char::from_u32(0x4e00 + n).unwrap());
        !desk.says(EventId::new(), &Err(error(Code::OutOfRange, By::Server, &message)), false)
    });
    assert_eq!(dead.count(), REFUSED_MIN - 1);
    assert_eq!(desk.breaker.held().unwrap().words, "reasons differ");
}

/// Guards promise 7: an operator can let refusals be dead-lettered for a given time. After six hours each probe is dead.
#[test]
fn a_hold_ends_by_a_persons_word_or_by_and_by() {
    let mut desk = Desk::new(true);
    desk.fail(&events(5), Code::DataLoss, By::Server);
    let until = desk.at(60);
    desk.breaker.poison(until);
    assert_eq!((desk.gate(), desk.breaker.held()), (Gate::All, None));
    let held = |desk: &mut Desk, probe| {
        desk.says(EventId::new(), &Err(error(Code::DataLoss, By::Server, "no")), probe)
    };
    assert!((0..100).all(|_| !held(&mut desk, false)));
    desk.seconds = 60;
    assert_eq!((0..10).filter(|_| !held(&mut desk, false)).count(), 4);
    desk.seconds += HOLD_MAX.as_secs() - 1;
    assert!(held(&mut desk, true));
    desk.seconds += 1;
    assert!(!held(&mut desk, true) && held(&mut desk, false));
}

/// Guards promise 6: a queue that can't choose goes on as before, until twenty events gave only refusals for a minute. Then one
/// delivery every two seconds is received.
#[test]
fn a_queue_that_does_not_choose_goes_on_at_first() {
    for code in [Code::Unauthenticated, Code::InvalidArgument] {
        let mut desk = Desk::new(false);
        desk.fail(&events(10), code, By::Server);
        desk.seconds = 3600;
        assert_eq!(desk.gate(), Gate::All, "ten are too few");
        desk.succeeds();
        desk.fail(&events(30), code, By::Server);
        desk.seconds = 3659;
        assert_eq!(desk.gate(), Gate::All, "a minute is not over");
        desk.seconds = 3660;
        assert!(matches!(desk.gate(), Gate::Probe { probe: Probe::Any, .. }));
        assert_eq!(desk.gate(), Gate::Shut { until: None });
        desk.probe_fails(Probe::Any, code, By::Server);
        assert_eq!(desk.gate(), Gate::Shut { until: Some(desk.at(3662)) });
        desk.succeeds();
        assert_eq!(desk.gate(), Gate::All);
    }
    let mut desk = Desk::new(false);
    desk.fail(&events(5), Code::Unavailable, By::Nobody);
    assert_eq!(desk.gate(), Gate::Shut { until: Some(desk.at(1)) });
}

/// Guards: an RPC with a short backoff is probed after a short wait.
#[test]
fn it_waits_no_longer_than_a_delivery() {
    let mut breaker =
        Breaker::new(Backoff { min: Duration::from_millis(20), max: Duration::from_millis(50) }, true);
    let mut now = Instant::now();
    for event in events(5) {
        let reply = Err(error(Code::Unavailable, By::Nobody, ""));
        breaker.heard(Answer { event, reply: &reply, began: now, probe: false }, now);
    }
    let mut waits = Vec::new();
    for _ in 0..4 {
        let Gate::Shut { until: Some(until) } = breaker.gate(now) else { panic!() };
        waits.push((until - now).as_millis());
        now = until;
        while let Gate::Probe { probe, .. } = breaker.gate(now) {
            breaker.probed(probe, true, now);
        }
    }
    assert_eq!(waits, [20, 40, 50, 50]);
}
