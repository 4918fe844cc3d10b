//! Which outcomes a worker keeps in the history of one RPC, and how many writes of them are under way.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use outbox_event::EventId;
use outbox_runtime::Guarded;
use outbox_transport::{Budget, Note, Outcome, Released, keeps_attempt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Entries that are written at a time. While DynamoDB throttles, others are left out.
const TOGETHER_MAX: usize = 64;
/// Events that a worker remembers.
const EVENTS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Kept {
    room: Arc<Semaphore>,
    known: Guarded<Known>,
}

#[derive(Debug, Default)]
struct Known {
    budget: Budget,
    /// A hash of the words of an event's last hold.
    holds: HashMap<EventId, u64>,
    /// Events whose list has no room.
    full: HashSet<EventId>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(TOGETHER_MAX)), known: Guarded::default() }
    }
}

impl Kept {
    pub(super) fn takes(&self, note: Note, released: &Released) -> bool {
        self.known.lock().takes(note, released, Instant::now())
    }

    /// The right to write one entry.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    pub(super) fn is_full(&self, event: EventId) -> bool {
        self.known.lock().full.contains(&event)
    }

    pub(super) fn fill(&self, event: EventId) {
        let mut known = self.known.lock();
        if known.full.len() >= EVENTS_MAX {
            known.full.clear();
        }
        known.full.insert(event);
    }
}

impl Known {
    /// Whether this outcome is kept. A held event comes again and again with the same words, and they are kept once.
    fn takes(&mut self, note: Note, released: &Released, now: Instant) -> bool {
        let (event, words) = (released.lease.event, words(&released.outcome));
        let is_again = note == Note::Held && self.holds.get(&event) == Some(&words);
        let is_left_out = note == Note::Failed && !keeps_attempt(released.attempt);
        if is_again || is_left_out || !self.budget.allows(note, now) {
            return false;
        }
        self.holds.remove(&event);
        if note == Note::Held {
            if self.holds.len() >= EVENTS_MAX {
                self.holds.clear();
            }
            self.holds.insert(event, words);
        }
        true
    }
}

fn words(outcome: &Outcome) -> u64 {
    let mut hasher = DefaultHasher::new();
    outcome.failure().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outbox_transport::{Again, Lease};

    use super::*;

    /// Guards promise 7: a hold is kept if its words are new, and a failed attempt by its number.
    #[test]
    fn what_repeats_is_kept_once() {
        let (event, other, mut known) = (EventId::new(), EventId::new(), Known::default());
        let mut takes = |event, again, attempt, words: &str| {
            let outcome = Outcome::retry(again, Duration::ZERO, "invalid_argument", words);
            let note = Note::of(&outcome).unwrap();
            let released = Released { lease: Lease { event, token: 1 }, attempt, outcome, waits: None };
            known.takes(note, &released, Instant::now())
        };
        let kept = [
            takes(event, Again::Held, 3, "card 1 is unknown"),
            takes(event, Again::Held, 4, "card 1 is unknown"),
            takes(other, Again::Held, 3, "card 1 is unknown"),
            takes(event, Again::Held, 5, "card 2 is unknown"),
            takes(event, Again::Failed, 11, "down"),
            takes(event, Again::Held, 12, "card 2 is unknown"),
            takes(event, Again::Failed, 20, "down"),
            takes(event, Again::Held, 21, "card 2 is unknown"),
        ];
        assert_eq!(kept, [true, false, true, true, false, false, true, true]);
    }
}
