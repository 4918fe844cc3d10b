//! What is kept of a delivery that failed, within limits. `outbox why` shows it a week later.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Again, Outcome};

/// The code of a call that outlived its lease.
pub const LOST_LEASE: &str = "lost_lease";
/// So many characters of an error are kept.
pub const ERROR_CHARS_MAX: usize = 500;
/// So many failed attempts a worker keeps of one RPC in a minute. Deaths and successes are not limited.
const FAILED_PER_MINUTE_MAX: u32 = 120;
const MINUTE: Duration = Duration::from_secs(60);

/// The kind of an entry that a worker writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    Failed,
    Held,
    Lost,
    Dead,
    Done,
}

impl Note {
    /// None if nothing was called, or if the RPC had succeeded before.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Done => Some(Self::Done),
            Outcome::Retry { again: Again::Failed, .. } => Some(Self::Failed),
            Outcome::Retry { again: Again::Held, .. } => Some(Self::Held),
            Outcome::Retry { again: Again::Postponed, code, .. } => {
                (*code == LOST_LEASE).then_some(Self::Lost)
            }
            Outcome::Dead { .. } | Outcome::SetAside { .. } => Some(Self::Dead),
            Outcome::Duplicate => None,
        }
    }

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Lost => "lost",
            Self::Dead => "dead",
            Self::Done => "done",
        }
    }
}

/// Whether this failed attempt of an event is kept. `outbox.keeps_attempt` is the same rule.
pub fn keeps_attempt(attempt: u32) -> bool {
    attempt <= 10 || attempt.is_multiple_of(10)
}

/// Limits what a worker keeps of one RPC, for the time when everything fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    began: Option<Instant>,
    kept: u32,
}

impl Budget {
    /// Whether this entry is kept. Entries that end a delivery always are.
    pub fn allows(&mut self, note: Note, now: Instant) -> bool {
        if matches!(note, Note::Dead | Note::Done) {
            return true;
        }
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= MINUTE) {
            *self = Self { began: Some(now), kept: 0 };
        }
        self.kept = self.kept.saturating_add(1);
        self.kept <= FAILED_PER_MINUTE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: what was called and did not succeed is kept, and what was not called is not.
    #[test]
    fn each_outcome_has_its_note() {
        let retry = |again, code| Outcome::retry(again, Duration::ZERO, code, "why");
        for (outcome, note) in [
            (Outcome::Done, Some(Note::Done)),
            (Outcome::Duplicate, None),
            (retry(Again::Failed, "unavailable"), Some(Note::Failed)),
            (retry(Again::Held, "invalid_argument"), Some(Note::Held)),
            (retry(Again::Postponed, "early"), None),
            (retry(Again::Postponed, LOST_LEASE), Some(Note::Lost)),
            (Outcome::Dead { code: "internal", reason: String::new() }, Some(Note::Dead)),
            (Outcome::SetAside { code: "internal", reason: String::new() }, Some(Note::Dead)),
        ] {
            assert_eq!(Note::of(&outcome), note, "{outcome:?}");
        }
    }

    /// Guards promise 7: of an event that fails without end, few attempts are kept, and the first ones are.
    #[test]
    fn few_attempts_are_kept() {
        let kept: Vec<u32> = (1..=100).filter(|attempt| keeps_attempt(*attempt)).collect();
        assert_eq!((kept.len(), &kept[..12]), (19, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30][..]));
    }

    /// Guards promise 7: failures of a minute are limited, and a new minute has a new limit. Deaths are never left out.
    #[test]
    fn failures_of_a_minute_are_limited() {
        let (start, mut budget) = (Instant::now(), Budget::default());
        let kept = (0..500).filter(|_| budget.allows(Note::Failed, start)).count();
        assert_eq!(kept, FAILED_PER_MINUTE_MAX as usize);
        assert!(!budget.allows(Note::Held, start + MINUTE / 2));
        assert!(budget.allows(Note::Dead, start) && budget.allows(Note::Done, start));
        assert!(budget.allows(Note::Held, start + MINUTE));
    }
}
