//! Counts the events that have failed, each once.

use std::collections::{HashSet, VecDeque};

use outbox_event::EventId;

use super::reason::Reason;

/// Higher counts make no difference.
const EVENTS_MAX: usize = 20;
const REASONS_MAX: usize = 16;
const KNOWN_MAX: usize = 1000;

/// Different events in a row.
#[derive(Debug, Default)]
pub(super) struct Run(Vec<EventId>);

impl Run {
    pub(super) fn add(&mut self, event: EventId) {
        if self.0.len() < EVENTS_MAX && !self.0.contains(&event) {
            self.0.push(event);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Different events in a row that were refused, by their reasons.
#[derive(Debug, Default)]
pub(super) struct Refused {
    alike: VecDeque<(Reason, Run)>,
    all: Run,
}

impl Refused {
    /// How many events were refused for this reason, and how many in all.
    pub(super) fn add(&mut self, event: EventId, reason: &Reason) -> (usize, usize) {
        self.all.add(event);
        let at = self.alike.iter().position(|(known, _)| known == reason).unwrap_or_else(|| {
            if self.alike.len() == REASONS_MAX {
                self.alike.pop_front();
            }
            self.alike.push_back((reason.clone(), Run::default()));
            self.alike.len() - 1
        });
        let run = &mut self.alike[at].1;
        run.add(event);
        (run.len(), self.all.len())
    }

    pub(super) fn clear(&mut self) {
        self.alike.clear();
        self.all.clear();
    }
}

/// The newest events that failed while the server answered others: their failures are their own.
#[derive(Debug, Default)]
pub(super) struct Known {
    order: VecDeque<EventId>,
    events: HashSet<EventId>,
}

impl Known {
    pub(super) fn add(&mut self, run: &mut Run) {
        for event in run.0.drain(..) {
            if self.events.insert(event) {
                self.order.push_back(event);
            }
        }
        while self.order.len() > KNOWN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.events.remove(&oldest);
            }
        }
    }

    pub(super) fn contains(&self, event: EventId) -> bool {
        self.events.contains(&event)
    }
}
