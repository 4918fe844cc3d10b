//! How soon a worker tries again, if that differs from `event_router.yaml`. A developer's machine has another pace than a server.

use std::time::Duration;

use outbox_event_router::{Backoff, Policy};
use outbox_transport::{Again, Outcome};

use crate::rpc::{By, CallError};

/// The default is the pace of `event_router.yaml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// No wait after a failed call is longer, even if a server asks for it. The same holds for the breaker's probes.
    pub wait_max: Option<Duration>,
    /// If no server is there, a delivery waits for this time. It loses no attempt, and the breaker stays closed.
    pub absent_wait: Option<Duration>,
}

impl Pace {
    pub(crate) fn policy(self, policy: &Policy) -> Policy {
        let Some(wait_max) = self.wait_max else { return *policy };
        let Backoff { min, max } = policy.backoff;
        Policy { backoff: Backoff { min: min.min(wait_max), max: max.min(wait_max) }, ..*policy }
    }

    /// What becomes of a delivery whose server is not there. `None` if the breaker and the policy decide.
    pub(crate) fn absent(self, reply: &Result<(), CallError>) -> Option<Outcome> {
        let error = reply.as_ref().err().filter(|error| error.by == By::Nobody)?;
        let wait = self.absent_wait?;
        Some(Outcome::retry(Again::Postponed, wait, error.code.as_str(), &error.message))
    }

    pub(crate) fn limited(self, outcome: Outcome) -> Outcome {
        match (outcome, self.wait_max) {
            (Outcome::Retry { again, after, code, error }, Some(wait_max)) => {
                Outcome::Retry { again, after: after.min(wait_max), code, error }
            }
            (outcome, _) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Code;

    const SECOND: Duration = Duration::from_secs(1);
    const QUICK: Pace = Pace { wait_max: Some(SECOND), absent_wait: Some(SECOND) };

    fn reply(by: By) -> Result<(), CallError> {
        Err(CallError { code: Code::Unavailable, message: "why".into(), retry_after: None, by })
    }

    /// Guards promise 7: without a pace of its own a worker keeps to `event_router.yaml`, and with one no wait is longer.
    #[test]
    fn a_pace_limits_every_wait() {
        let policy = Policy::default();
        assert_eq!(Pace::default().policy(&policy), policy);
        assert_eq!(QUICK.policy(&policy).backoff, Backoff { min: SECOND, max: SECOND });
        let outcome = |seconds| Outcome::retry(Again::Failed, SECOND * seconds, "internal", "e");
        for (pace, given, expected) in [
            (Pace::default(), outcome(42), outcome(42)),
            (QUICK, outcome(42), outcome(1)),
            (QUICK, outcome(0), outcome(0)),
            (QUICK, Outcome::Done, Outcome::Done),
        ] {
            assert_eq!(pace.limited(given), expected);
        }
    }

    /// Guards promise 2: a delivery waits for a server that is not there, and for no other reason.
    #[test]
    fn only_an_absent_server_costs_no_attempt() {
        let waits = Outcome::retry(Again::Postponed, SECOND, "unavailable", "why");
        for (pace, reply, expected) in [
            (QUICK, reply(By::Nobody), Some(waits)),
            (QUICK, reply(By::Server), None),
            (QUICK, reply(By::Worker), None),
            (QUICK, Ok(()), None),
            (Pace::default(), reply(By::Nobody), None),
        ] {
            assert_eq!(pace.absent(&reply), expected);
        }
    }
}
