use std::time::Duration;

use crate::queue::Settlement;
use crate::verdict::Verdict;

/// What becomes of a delivery, called or not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Decided(Verdict),
    /// Done before.
    Duplicate,
    /// Not called, and no attempt counted.
    Postponed(Duration, Why),
    /// It was decided before that it is dead, by this code and reason. The dead-letter queue did not take it.
    SetAside(String, String),
    /// It was being called when the worker gave up. The call may still have its effect. So its lease is kept, and this is
    /// how long it still lasts.
    GivenUp(Duration),
}

/// Why nothing was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Another delivery of the event is on it.
    Held,
    DedupUnavailable,
    StaleLease,
    /// It failed before, and others go first.
    Crowded,
    /// Its server asked for a longer wait than its queue can hold.
    Early,
    /// The worker is to stop.
    Stopping,
}

impl Why {
    fn code(self) -> &'static str {
        match self {
            Why::Held => "held",
            Why::DedupUnavailable => "dedup_unavailable",
            Why::StaleLease => "stale_lease",
            Why::Crowded => "crowded",
            Why::Early => "early",
            Why::Stopping => "stopping",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Why::Held | Why::DedupUnavailable | Why::StaleLease => {
                "not called: it could not be known that nobody else did"
            }
            Why::Crowded => "not called: others that have failed, too, take all slots there are for them",
            Why::Early => "not called: its server asked for a longer wait",
            Why::Stopping => "not called: its worker was stopped",
        }
    }
}

const GIVEN_UP: &str = "worker_stopped";

impl Fate {
    /// As a metric has it.
    pub(crate) fn outcome_and_code(&self) -> (&'static str, &'static str) {
        match self {
            Fate::Decided(Verdict::Done) => ("done", "ok"),
            Fate::Decided(Verdict::Retry { code, .. }) => ("retry", *code),
            Fate::Decided(Verdict::Held { code, .. }) => ("held", *code),
            Fate::Decided(Verdict::Dead { code, .. }) => ("dead", *code),
            Fate::Duplicate => ("duplicate", "done_before"),
            Fate::Postponed(_, why) => ("postponed", why.code()),
            Fate::SetAside(..) => ("set_aside", "unsettled"),
            Fate::GivenUp(_) => ("retry", GIVEN_UP),
        }
    }

    pub(crate) fn settlement(self) -> Settlement {
        match self {
            Fate::Decided(Verdict::Done) | Fate::Duplicate => Settlement::Ack,
            Fate::Decided(Verdict::Retry { after, code, error }) => {
                Settlement::Retry { after, counted: true, code: code.to_owned(), error }
            }
            Fate::Decided(Verdict::Held { after, code, error }) => {
                Settlement::Retry { after, counted: false, code: code.to_owned(), error }
            }
            Fate::Decided(Verdict::Dead { code, reason }) => {
                Settlement::Dead { code: code.to_owned(), reason }
            }
            Fate::SetAside(code, reason) => Settlement::Dead { code, reason },
            Fate::Postponed(after, why) => Settlement::Retry {
                after,
                counted: false,
                code: why.code().to_owned(),
                error: why.text().to_owned(),
            },
            Fate::GivenUp(after) => Settlement::Retry {
                after,
                counted: true,
                code: GIVEN_UP.to_owned(),
                error: "its worker was stopped while it called, and did not hear the answer".to_owned(),
            },
        }
    }
}
