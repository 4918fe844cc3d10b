//! The outcome of a delivery: one pure type from the call to the queue.

use std::time::Duration;

/// What becomes of a delivery, whether its RPC was called or not. Codes are for programs, texts for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The RPC succeeded. That is recorded before the message leaves the queue.
    Done,
    /// The RPC had succeeded before: the message leaves the queue.
    Duplicate,
    /// It comes back later.
    Retry { again: Again, after: Duration, code: &'static str, error: String },
    /// No attempt can help: it goes to the dead-letter queue.
    Dead { code: &'static str, reason: String },
    /// It was dead before, and the dead-letter queue refused it: it is sent there once more.
    SetAside { code: &'static str, reason: String },
}

/// Why a delivery comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// An attempt did not succeed. It counts.
    Failed,
    /// It would be dead, but different events fail alike. Its attempt does not count.
    Held,
    /// The RPC was not called, or another worker called it, too. No attempt counts.
    Postponed,
}

impl Outcome {
    pub fn retry(again: Again, after: Duration, code: &'static str, error: &str) -> Self {
        Self::Retry { again, after, code, error: error.to_owned() }
    }

    /// Code and reason, if it goes to the dead-letter queue.
    pub fn dead(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Dead { code, reason } | Self::SetAside { code, reason } => Some((code, reason)),
            Self::Done | Self::Duplicate | Self::Retry { .. } => None,
        }
    }

    /// Code and text, if it did not succeed.
    pub fn failure(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Retry { code, error, .. } => Some((code, error)),
            other => other.dead(),
        }
    }

    /// Outcome and code, as a metric has them.
    pub fn labels(&self) -> (&'static str, &'static str) {
        match self {
            Self::Done => ("done", "ok"),
            Self::Duplicate => ("duplicate", "done_before"),
            Self::Retry { again: Again::Failed, code, .. } => ("retry", code),
            Self::Retry { again: Again::Held, code, .. } => ("held", code),
            Self::Retry { again: Again::Postponed, code, .. } => ("postponed", code),
            Self::Dead { code, .. } => ("dead", code),
            Self::SetAside { .. } => ("set_aside", "unsettled"),
        }
    }
}
