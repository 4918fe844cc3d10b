//! What one command has seen of dead-letter queues, and hides.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use outbox_event_router::Rpc;
use outbox_transport::operate::Letter;

/// Where a command is in looking through dead-letter queues.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// Not looked through yet; `None` before the first.
    pub(super) left: Option<VecDeque<Place>>,
    pub(super) seen: HashSet<String>,
    pub(super) nothing_new: u32,
    /// What was sent back by this command: if it dies again at once, it is not sent back for ever.
    redriven: Mutex<HashSet<u64>>,
    /// What we keep hidden, by message id.
    pub(super) held: Mutex<HashMap<String, Held>>,
}

#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) rpc: Rpc,
    pub(super) url: String,
}

/// A message as it was received last.
#[derive(Debug, Clone)]
pub struct Held {
    pub(super) url: String,
    pub(super) receipt: String,
}

impl Looking {
    pub(super) fn remember(&self, letter: &Letter<Held>) {
        self.redriven.lock().expect("no panic while held").insert(content(letter));
    }

    pub(super) fn has_redriven(&self, letter: &Letter<Held>) -> bool {
        self.redriven.lock().expect("no panic while held").contains(&content(letter))
    }
}

/// Of what is the same message, whatever its id.
fn content<H>(letter: &Letter<H>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (letter.rpc.as_str(), &letter.body).hash(&mut hasher);
    hasher.finish()
}
