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
