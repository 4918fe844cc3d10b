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
    Postponed(Duration, &'static str),
}

impl Fate {
    /// As a metric has it.
    pub(crate) fn outcome_and_code(&self) -> (&'static str, &'static str) {
        match self {
            Fate::Decided(Verdict::Done) => ("done", "ok"),
            Fate::Decided(Verdict::Retry { code, .. }) => ("retry", *code),
            Fate::Decided(Verdict::Dead { code, .. }) => ("dead", *code),
            Fate::Duplicate => ("duplicate", "done_before"),
            Fate::Postponed(_, code) => ("postponed", *code),
        }
    }

    pub(crate) fn settlement(self) -> Settlement {
        match self {
            Fate::Decided(Verdict::Done) | Fate::Duplicate => Settlement::Ack,
            Fate::Decided(Verdict::Retry { after, code, error }) => {
                Settlement::Retry { after, counted: true, code: code.to_owned(), error }
            }
            Fate::Decided(Verdict::Dead { code, reason }) => {
                Settlement::Dead { code: code.to_owned(), reason }
            }
            Fate::Postponed(after, code) => {
                let error = "not called: it could not be known that nobody else did".to_owned();
                Settlement::Retry { after, counted: false, code: code.to_owned(), error }
            }
        }
    }
}
