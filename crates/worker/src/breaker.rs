//! Evidence about an event is not evidence about its server.
//!
//! An event counts once, and not at all if it failed before while the server answered others. Five different events in a row
//! without an answer: the server is *away*. Then only one delivery now and then is received, as a probe. Five in a row with
//! answers that may concern every event: the server is *doubted*. Deliveries that have not failed are called as before, so no
//! event waits for another's failure. The others wait, except for a probe. Five different events with the same lasting refusal,
//! or twenty with any: the RPC is *held*. Then nothing is dead-lettered except a probe, and refused deliveries wait and lose no
//! attempt. Any answer ends the first two states, and a success ends all three.
//!
//! A queue that can't select deliveries that have not failed (SQS) goes on as before while a server is doubted or held. Once
//! that has lasted for a minute and met twenty events, only one delivery now and then is received.
//!
//! Pure; the clock is a parameter.

mod clock;
mod reason;
mod run;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::Backoff;
use tokio::time::Instant;

use crate::codes::{Says, says};
use crate::rpc::CallError;
use clock::Clock;
pub(crate) use reason::Reason;
use run::{Known, Refused, Run};

/// So many different events in a row are evidence.
const EVENTS_MIN: usize = 5;
/// So many refusals for different reasons are evidence, too.
const REFUSED_MIN: usize = 20;
/// A server that is back must be noticed soon.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// It must be noticed sooner by deliveries that have not failed.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(2);
/// Trouble of this age and with so many events stops a queue that can't choose.
const LASTING_AFTER: Duration = Duration::from_secs(60);
const LASTING_EVENTS: usize = 20;
/// After a hold of this time refusals are trusted: each probe is dead-lettered.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(6 * 3600);

#[derive(Debug)]
pub(crate) struct Breaker {
    wait_min: Duration,
    wait_max: Duration,
    /// Whether its queue can select deliveries that have not failed.
    chooses: bool,
    server: Server,
    away: Run,
    doubted: Run,
    known: Known,
    refused: Refused,
    hold: Option<Hold>,
    /// Only while anything is wrong.
    probes: Option<Probes>,
    /// Set by `outbox poison`: until then refusals are poison.
    poison_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Fine,
    Doubted(Instant),
    Away(Instant),
}

#[derive(Debug)]
struct Hold {
    reason: Reason,
    since: Instant,
    refused: Run,
}

#[derive(Debug)]
struct Probes {
    /// For any delivery.
    any: Clock,
    /// For deliveries that have not failed.
    fresh: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// As much as there are free slots for.
    All,
    /// Deliveries that have not failed, until then.
    Fresh { until: Option<Instant> },
    /// One delivery as a probe, until then.
    Probe { probe: Probe, until: Option<Instant> },
    /// Nothing before then, or before the breaker changes.
    Shut { until: Option<Instant> },
}

/// Which deliveries may be the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    Any,
    Fresh,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) event: EventId,
    pub(crate) reply: &'a Result<(), CallError>,
    pub(crate) began: Instant,
    pub(crate) probe: bool,
}

/// The breaker's state, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Closed,
    Doubted,
    Away,
    Held(Reason),
}

impl Breaker {
    /// The wait between probes is never longer than that of a single delivery. `chooses`: see [`outbox_transport::Limits`].
    pub(crate) fn new(backoff: Backoff, chooses: bool) -> Self {
        let wait_max = backoff.max.min(WAIT_MAX);
        Self {
            wait_min: backoff.min.min(wait_max),
            wait_max,
            chooses,
            server: Server::Fine,
            away: Run::default(),
            doubted: Run::default(),
            known: Known::default(),
            refused: Refused::default(),
            hold: None,
            probes: None,
            poison_until: None,
        }
    }

    /// Every probe that this gives must be ended by [`Breaker::probed`].
    pub(crate) fn gate(&mut self, now: Instant) -> Gate {
        let (is_away, lasts) = (matches!(self.server, Server::Away(_)), self.lasts(now));
        let Some(probes) = &mut self.probes else { return Gate::All };
        if !self.chooses && !is_away && !lasts {
            return Gate::All;
        }
        if probes.any.begins(now) {
            return Gate::Probe { probe: Probe::Any, until: None };
        }
        let until = probes.any.next();
        match (self.chooses, is_away) {
            (false, _) => Gate::Shut { until },
            (true, false) => Gate::Fresh { until },
            (true, true) if probes.fresh.begins(now) => Gate::Probe { probe: Probe::Fresh, until },
            (true, true) => Gate::Shut { until: until.into_iter().chain(probes.fresh.next()).min() },
        }
    }

    /// Records how a call ended. Returns whether its delivery is held instead of dead-lettered.
    pub(crate) fn heard(&mut self, answer: Answer<'_>, now: Instant) -> bool {
        let Answer { event, reply, began, .. } = answer;
        match reply.as_ref().map_or_else(says, |()| Says::Succeeds) {
            Says::Nothing => {}
            Says::Away => self.unanswered(event, now),
            Says::Doubtful => self.doubt(event, began, now),
            Says::Serves => self.serves(began),
            Says::Succeeds => self.succeeds(began),
            Says::Refuses => {
                self.serves(began);
                return reply.as_ref().is_err_and(|error| self.refuses(answer, error, now));
            }
        }
        false
    }

    fn unanswered(&mut self, event: EventId, now: Instant) {
        if self.known.contains(event) {
            return;
        }
        self.away.add(event);
        if self.away.len() >= EVENTS_MIN && !matches!(self.server, Server::Away(_)) {
            self.server = Server::Away(now);
            self.probes = Some(self.probes(now));
        }
    }

    fn doubt(&mut self, event: EventId, began: Instant, now: Instant) {
        self.away.clear();
        if matches!(self.server, Server::Away(since) if began >= since) {
            self.server = Server::Fine;
            self.rests();
        }
        if self.known.contains(event) {
            return;
        }
        self.doubted.add(event);
        if self.doubted.len() >= EVENTS_MIN && self.server == Server::Fine {
            self.server = Server::Doubted(now);
            self.watches(now);
        }
    }

    /// Calls that were under way when it opened give no new evidence.
    fn serves(&mut self, began: Instant) {
        if matches!(self.server, Server::Doubted(since) | Server::Away(since) if began < since) {
            return;
        }
        self.known.add(&mut self.away);
        self.known.add(&mut self.doubted);
        self.server = Server::Fine;
        self.rests();
    }

    fn succeeds(&mut self, began: Instant) {
        self.serves(began);
        if self.hold.as_ref().is_none_or(|hold| began >= hold.since) {
            self.refused.clear();
            self.hold = None;
            self.rests();
        }
    }

    /// Returns whether the delivery is held.
    fn refuses(&mut self, answer: Answer<'_>, error: &CallError, now: Instant) -> bool {
        if self.is_poison(now) {
            return false;
        }
        if let Some(hold) = &mut self.hold {
            hold.refused.add(answer.event);
            let is_believed = now >= hold.since + HOLD_MAX;
            return !(answer.probe && is_believed);
        }
        let reason = Reason::of(error);
        let reason = match self.refused.add(answer.event, &reason) {
            (alike, _) if alike >= EVENTS_MIN => reason,
            (_, all) if all >= REFUSED_MIN => Reason::differing(error.code),
            _ => return false,
        };
        self.hold = Some(Hold { reason, since: now, refused: Run::default() });
        self.watches(now);
        true
    }

    /// Until then every refusal is dead at once, however many there are.
    pub(crate) fn poison(&mut self, until: Instant) {
        self.poison_until = Some(until);
        self.refused.clear();
        self.hold = None;
        self.rests();
    }

    pub(crate) fn is_poison(&self, now: Instant) -> bool {
        self.poison_until.is_some_and(|until| now < until)
    }

    /// Ends a probe. The result of its call, if there was one, was recorded before.
    pub(crate) fn probed(&mut self, probe: Probe, called: bool, now: Instant) {
        if let Some(probes) = &mut self.probes {
            match probe {
                Probe::Any => probes.any.ended(called, now),
                Probe::Fresh => probes.fresh.ended(called, now),
            }
        }
    }

    fn watches(&mut self, now: Instant) {
        if self.probes.is_none() {
            self.probes = Some(self.probes(now));
        }
    }

    fn rests(&mut self) {
        if self.server == Server::Fine && self.hold.is_none() {
            self.probes = None;
        }
    }

    fn probes(&self, now: Instant) -> Probes {
        let fresh_max = self.wait_max.min(FRESH_WAIT_MAX);
        let any_max = match self.server {
            Server::Away(_) => self.wait_max,
            Server::Fine | Server::Doubted(_) if self.chooses => self.wait_max,
            Server::Fine | Server::Doubted(_) => fresh_max,
        };
        Probes {
            any: Clock::new(self.wait_min, any_max, now),
            fresh: Clock::new(self.wait_min, fresh_max, now),
        }
    }

    /// Whether the trouble is old and concerns many events.
    fn lasts(&self, now: Instant) -> bool {
        let is_old = |since: Instant| now >= since + LASTING_AFTER;
        let doubted = match self.server {
            Server::Doubted(since) => is_old(since) && self.doubted.len() >= LASTING_EVENTS,
            Server::Fine | Server::Away(_) => false,
        };
        let held = self.hold.as_ref();
        doubted || held.is_some_and(|hold| is_old(hold.since) && hold.refused.len() >= LASTING_EVENTS)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.probes.is_none()
    }

    pub(crate) fn standing(&self) -> Standing {
        match (self.server, &self.hold) {
            (Server::Away(_), _) => Standing::Away,
            (_, Some(hold)) => Standing::Held(hold.reason.clone()),
            (Server::Doubted(_), None) => Standing::Doubted,
            (Server::Fine, None) => Standing::Closed,
        }
    }

    /// Why the RPC is held, even while its server is away.
    pub(crate) fn held(&self) -> Option<&Reason> {
        self.hold.as_ref().map(|hold| &hold.reason)
    }

    pub(crate) fn level(&self) -> f64 {
        let probing = self.probes.as_ref().is_some_and(|probes| probes.any.is_out() || probes.fresh.is_out());
        match self.standing() {
            Standing::Closed => 0.0,
            Standing::Held(_) => 3.0,
            Standing::Doubted | Standing::Away if probing => 1.0,
            Standing::Doubted | Standing::Away => 2.0,
        }
    }
}
