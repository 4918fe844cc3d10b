//! What one command has seen of dead-letter queues, and hides.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_runtime::Guarded;
use outbox_transport::operate::Letter;

/// A command's progress through dead-letter queues.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// Queues that are not read yet; `None` before the first.
    pub(super) left: Option<VecDeque<Place>>,
    pub(super) seen: HashSet<String>,
    pub(super) nothing_new: u32,
    /// So many letters were returned.
    pub(super) returned: u32,
    /// What this command has redriven: a letter that dies again at once is not redriven for ever.
    redriven: Guarded<HashSet<u64>>,
    /// The deliveries that this command redrove, until they are done or dead.
    pub(super) moved: Guarded<Moved>,
    /// Messages that this command hides, by message id.
    pub(super) held: Guarded<HashMap<String, Held>>,
}

#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) left: VecDeque<(EventId, Rpc)>,
    pub(super) dead: i64,
}

impl Moved {
    pub(super) fn add(&mut self, event: EventId, rpc: &Rpc) {
        self.left.push_back((event, rpc.clone()));
    }

    /// Takes so many at most, to ask about them. Half are the newest, which may die at once. The others come in turn, so that each is
    /// asked about some time. What is not known yet must be added again.
    pub(super) fn some(&mut self, most: usize) -> Vec<(EventId, Rpc)> {
        let in_turn = self.left.len().min(most - most / 2);
        let mut some: Vec<_> = self.left.drain(..in_turn).collect();
        let newest = self.left.len().min(most - in_turn);
        some.extend(self.left.drain(self.left.len() - newest..));
        some
    }
}

#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) rpc: Rpc,
    pub(super) url: String,
}

#[derive(Debug, Clone)]
pub struct Held {
    pub(super) url: String,
    pub(super) receipt: String,
}

impl Looking {
    pub(super) fn held(&self, letter: &Letter<Held>) -> Held {
        let held = self.held.lock().get(&letter.id).cloned();
        held.unwrap_or_else(|| letter.handle.clone())
    }

    pub(super) fn remember(&self, letter: &Letter<Held>) {
        self.redriven.lock().insert(content(letter));
    }

    pub(super) fn has_redriven(&self, letter: &Letter<Held>) -> bool {
        self.redriven.lock().contains(&content(letter))
    }
}

/// Equal for copies of one message, whatever their ids.
fn content<H>(letter: &Letter<H>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (letter.rpc.as_str(), &letter.body).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: of many moved ones the newest are asked about at once, and each of the others in turn.
    #[test]
    fn the_newest_are_asked_about_and_the_others_in_turn() {
        let rpc = Rpc::new("A/B").unwrap();
        let events: Vec<EventId> = (0..10).map(|_| EventId::new()).collect();
        let mut moved = Moved::default();
        assert!(moved.some(4).is_empty());
        events.iter().for_each(|event| moved.add(*event, &rpc));
        let mut asked = HashSet::new();
        for turn in 0..5 {
            let some: Vec<EventId> = moved.some(4).into_iter().map(|(event, _)| event).collect();
            assert_eq!(some.len(), 4);
            if turn == 0 {
                assert_eq!(some, [events[0], events[1], events[8], events[9]]);
            }
            some.iter().for_each(|event| moved.add(*event, &rpc));
            asked.extend(some);
        }
        assert_eq!(asked.len(), 10, "each is asked about some time");
        assert_eq!(moved.some(100).len(), 10);
        assert!(moved.left.is_empty());
    }
}
