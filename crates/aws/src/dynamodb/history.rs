//! Failed attempts and repairs: one item per event and RPC, with a list of entries.
//!
//! The item of the lease could have the list. But a later lease replaces that item, and `--force` deletes it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use outbox_event::EventId;
use outbox_runtime::Guarded;
use outbox_transport::{Budget, DEDUP_WINDOW, ERROR_CHARS_MAX, Note, Outcome, Released, keeps_attempt};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::DynamoDedup;
use super::item::{ENTRIES, Item, LAST, LEFT_OUT, history_key, millis, number, rest_key, text};
use crate::Failure;

/// So many entries an item has. After that a small item has the last one, and a count of those that were left out: each write
/// to the large one would cost its size.
const ENTRIES_MAX: i64 = 40;
/// Entries that are written at a time. While DynamoDB throttles, others are left out.
const TOGETHER_MAX: usize = 64;
/// Events that a worker remembers.
const EVENTS_MAX: usize = 10_000;

/// What this worker has kept of one RPC, and keeps now.
#[derive(Debug)]
pub(super) struct Kept {
    room: Arc<Semaphore>,
    known: Guarded<Known>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(TOGETHER_MAX)), known: Guarded::new(Known::default()) }
    }
}

#[derive(Debug, Default)]
struct Known {
    budget: Budget,
    /// A hash of the words of an event's last hold.
    holds: HashMap<EventId, u64>,
    /// Events whose list has no room.
    full: HashSet<EventId>,
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

    fn fill(&mut self, event: EventId) {
        if self.full.len() >= EVENTS_MAX {
            self.full.clear();
        }
        self.full.insert(event);
    }
}

impl DynamoDedup {
    /// Keeps the outcome of a call. Only people read it, so it is written beside the deliveries, and never again.
    pub(super) fn keep(&self, released: &Released) {
        let Some(note) = Note::of(&released.outcome) else { return };
        if !self.kept.known.lock().takes(note, released, Instant::now()) {
            return;
        }
        let Ok(room) = Arc::clone(&self.kept.room).try_acquire_owned() else {
            tracing::warn!(
                rpc = self.rpc,
                "no room to keep what became of a call, because DynamoDB is slow: `outbox why` will lack it"
            );
            return;
        };
        let (event, entry, dedup) = (released.lease.event, self.entry(released, note), self.clone());
        tokio::spawn(async move {
            let _room = room;
            dedup.write(event, entry).await;
        });
    }

    async fn write(&self, event: EventId, entry: Item) {
        let is_full = self.kept.known.lock().full.contains(&event);
        let mut written = match is_full {
            true => self.count(event, entry.clone()).await,
            false => self.append(event, entry.clone()).await,
        };
        let is_refused = |failure: &Failure| failure.code == "ConditionalCheckFailedException";
        if !is_full && written.as_ref().is_err_and(is_refused) {
            self.kept.known.lock().fill(event);
            written = self.count(event, entry).await;
        }
        if let Err(Failure { code, message, .. }) = written {
            tracing::warn!(
                rpc = self.rpc,
                code,
                message,
                "failed to keep what became of a call: `outbox why` will lack it"
            );
        }
    }

    /// Refused if the list has no room.
    async fn append(&self, event: EventId, entry: Item) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&history_key(event, &self.rpc)))
            .update_expression(
                "set #entries = list_append(if_not_exists(#entries, :none), :more), expires_at = :expires_at",
            )
            .condition_expression("attribute_not_exists(#entries) or size(#entries) < :max")
            .expression_attribute_names("#entries", ENTRIES)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":more", AttributeValue::L(vec![AttributeValue::M(entry)]))
            .expression_attribute_values(":max", number(ENTRIES_MAX))
            .expression_attribute_values(":expires_at", expiry());
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }

    /// Counts an entry for which the list has no room, and keeps it until the next one.
    async fn count(&self, event: EventId, entry: Item) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&rest_key(event, &self.rpc)))
            .update_expression("set #last = :entry, expires_at = :expires_at add #left_out :one")
            .expression_attribute_names("#last", LAST)
            .expression_attribute_names("#left_out", LEFT_OUT)
            .expression_attribute_values(":entry", AttributeValue::M(entry))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":expires_at", expiry());
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }

    fn entry(&self, released: &Released, note: Note) -> Item {
        let (code, error) = released.outcome.failure().unwrap_or_default();
        let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
        HashMap::from([
            ("at_ms".to_owned(), number(Utc::now().timestamp_millis())),
            ("what".to_owned(), text(note.as_str())),
            ("attempt".to_owned(), number(released.attempt.into())),
            ("code".to_owned(), text(code)),
            ("error".to_owned(), text(&error)),
            ("worker".to_owned(), text(&self.worker)),
        ])
    }
}

fn expiry() -> AttributeValue {
    number((Utc::now().timestamp_millis() + millis(DEDUP_WINDOW)) / 1000)
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
