//! While an RPC's server is away, nothing is received for it: every receive would use up an attempt, and an outage would
//! end in the dead-letter queue.
//!
//! Pure but for the clock handed in.

use std::time::Duration;

use event_router::Backoff;
use tokio::time::Instant;

use crate::rpc::{CallError, Code};

/// So many failures in a row, with no other answer in between, and the server is taken for away.
const FAILURES_MAX: u32 = 5;
/// A server that is back should not be waited for much longer.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// One RPC's circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    wait_min: Duration,
    wait_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, wait: Duration },
    HalfOpen { wait: Duration },
}

/// What may be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// As much as there are slots.
    Closed,
    /// One delivery, to see whether the server is back.
    Probe,
    /// Nothing before then.
    Open(Instant),
}

impl Breaker {
    /// Waits no longer between probes than a single delivery would.
    pub fn new(backoff: Backoff) -> Self {
        let wait_max = backoff.max.min(WAIT_MAX);
        Self { state: State::Closed { failures: 0 }, wait_min: backoff.min.min(wait_max), wait_max }
    }

    pub(crate) fn gate(&mut self, now: Instant) -> Gate {
        match self.state {
            State::Closed { .. } => Gate::Closed,
            State::Open { until, .. } if now < until => Gate::Open(until),
            State::Open { wait, .. } | State::HalfOpen { wait } => {
                self.state = State::HalfOpen { wait };
                Gate::Probe
            }
        }
    }

    /// A call ended. Says how long nothing is received if that has opened the breaker.
    pub(crate) fn heard(&mut self, reply: &Result<(), CallError>, now: Instant) -> Option<Duration> {
        let away = reply.as_ref().is_err_and(|error| is_away(error.code));
        let wait = match (away, self.state) {
            // Calls that were under way when it opened say nothing new.
            (_, State::Open { .. }) => return None,
            (false, _) => {
                self.state = State::Closed { failures: 0 };
                return None;
            }
            (true, State::Closed { failures }) if failures + 1 < FAILURES_MAX => {
                self.state = State::Closed { failures: failures + 1 };
                return None;
            }
            (true, State::Closed { .. }) => self.wait_min,
            (true, State::HalfOpen { wait }) => (wait * 2).min(self.wait_max),
        };
        self.state = State::Open { until: now + wait, wait };
        Some(wait)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// As the metric has it.
    pub(crate) fn level(&self) -> f64 {
        match self.state {
            State::Closed { .. } => 0.0,
            State::HalfOpen { .. } => 1.0,
            State::Open { .. } => 2.0,
        }
    }
}

/// What says nothing of the event: nobody is there, or whoever is serves nobody.
fn is_away(code: Code) -> bool {
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Unimplemented
        | Code::Unauthenticated
        | Code::PermissionDenied => true,
        Code::Canceled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: Code) -> Result<(), CallError> {
        Err(CallError { code, message: String::new(), retry_after: None })
    }

    fn breaker(max: u64) -> Breaker {
        Breaker::new(Backoff { min: Duration::from_secs(1), max: Duration::from_secs(max) })
    }

    /// Guards: only failures in a row that are the server's open the breaker; it probes with one delivery at a time, waits
    /// twice as long after each that fails, never longer than its bound, and closes at the first answer.
    #[tokio::test]
    async fn it_opens_probes_and_closes() {
        let mut breaker = breaker(600);
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        for _ in 0..3 {
            for _ in 0..4 {
                assert_eq!(breaker.heard(&reply(Code::Unavailable), start), None);
            }
            assert_eq!(breaker.heard(&reply(Code::Internal), start), None);
        }
        for _ in 0..4 {
            breaker.heard(&reply(Code::DeadlineExceeded), start);
        }
        assert_eq!(breaker.gate(start), Gate::Closed);
        assert_eq!(breaker.heard(&reply(Code::Unavailable), start), Some(Duration::from_secs(1)));
        // What was under way fails, too.
        assert_eq!(breaker.heard(&reply(Code::Unavailable), start), None);
        assert_eq!((breaker.gate(at(0)), breaker.level()), (Gate::Open(at(1)), 2.0));
        assert_eq!((breaker.gate(at(1)), breaker.level()), (Gate::Probe, 1.0));
        let mut waited = 0;
        for wait in [2, 4, 8, 16, 30, 30] {
            assert_eq!(breaker.heard(&reply(Code::Unavailable), at(waited)), Some(Duration::from_secs(wait)));
            waited += wait;
            assert_eq!(breaker.gate(at(waited)), Gate::Probe);
        }
        assert_eq!(breaker.heard(&Ok(()), at(waited)), None);
        assert_eq!((breaker.gate(at(waited)), breaker.level()), (Gate::Closed, 0.0));
    }

    /// Guards: a route that wants to be retried quickly is probed quickly.
    #[tokio::test]
    async fn it_waits_no_longer_than_a_delivery() {
        let mut breaker =
            Breaker::new(Backoff { min: Duration::from_millis(20), max: Duration::from_millis(50) });
        let now = Instant::now();
        let waits = (0..8).filter_map(|n| {
            let at = now + Duration::from_secs(n);
            breaker.gate(at);
            breaker.heard(&reply(Code::Unavailable), at)
        });
        let waits: Vec<u128> = waits.map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [20, 40, 50, 50]);
    }
}
