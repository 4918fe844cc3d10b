//! A transaction of a test, and what became of its events.

use outbox::{EnqueueError, Entry, EventId};

pub(super) type Outcomes = Vec<Result<EventId, EnqueueError>>;

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// A call for each entry.
    Each,
    /// One call for all: the first outcome is the error if there is one.
    All,
}

/// A transaction.
pub(super) struct Work {
    pub(super) before: &'static str,
    pub(super) entries: Vec<Entry>,
    pub(super) how: How,
    pub(super) commits: bool,
}

pub(super) fn of_all(outcome: Result<Vec<EventId>, EnqueueError>) -> Outcomes {
    match outcome {
        Ok(ids) => ids.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }
}

/// Both ways of diesel end a transaction by the closure's result.
pub(super) enum Undone {
    RolledBack(Outcomes),
    Failed(diesel::result::Error),
}

impl From<diesel::result::Error> for Undone {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn ended(result: Result<Outcomes, Undone>) -> Outcomes {
    match result {
        Ok(outcomes) | Err(Undone::RolledBack(outcomes)) => outcomes,
        Err(Undone::Failed(error)) => panic!("{error}"),
    }
}
