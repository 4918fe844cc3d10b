//! Failed attempts and repairs: one item per event and RPC, with a list of entries.
//!
//! The item of the lease could have the list. But a later lease replaces that item, and `--force` deletes it.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use outbox_event::EventId;
use outbox_transport::{DEDUP_WINDOW, ERROR_CHARS_MAX, Note, Released};

use super::DynamoDedup;
use super::item::{ENTRIES, Item, LAST, LEFT_OUT, history_key, millis, number, rest_key, text};
use crate::Failure;

/// So many entries an item has. After that a small item has the last one, and a count of those that were left out: each write
/// to the large one would cost its size.
const ENTRIES_MAX: i64 = 40;

impl DynamoDedup {
    /// Keeps the outcome of a call. Only people read it, so it is written beside the deliveries, and never again.
    pub(super) fn keep(&self, released: &Released) {
        let Some(note) = Note::of(&released.outcome) else { return };
        if !self.kept.takes(note, released) {
            return;
        }
        let Some(room) = self.kept.room() else {
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
        let is_full = self.kept.is_full(event);
        let mut written = match is_full {
            true => self.count(event, entry.clone()).await,
            false => self.append(event, entry.clone()).await,
        };
        let is_refused = |failure: &Failure| failure.code == "ConditionalCheckFailedException";
        if !is_full && written.as_ref().is_err_and(is_refused) {
            self.kept.fill(event);
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
            .update(&history_key(event, &self.rpc))
            .update_expression(
                "set #entries = list_append(if_not_exists(#entries, :none), :more), expires_at = :expires_at",
            )
            .condition_expression("attribute_not_exists(#entries) or size(#entries) < :max")
            .expression_attribute_names("#entries", ENTRIES)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":more", AttributeValue::L(vec![AttributeValue::M(entry)]))
            .expression_attribute_values(":max", number(ENTRIES_MAX));
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }

    /// Counts an entry for which the list has no room, and keeps it until the next one.
    async fn count(&self, event: EventId, entry: Item) -> Result<(), Failure> {
        let update = self
            .update(&rest_key(event, &self.rpc))
            .update_expression("set #last = :entry, expires_at = :expires_at add #left_out :one")
            .expression_attribute_names("#last", LAST)
            .expression_attribute_names("#left_out", LEFT_OUT)
            .expression_attribute_values(":entry", AttributeValue::M(entry))
            .expression_attribute_values(":one", number(1));
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }

    /// A write to one item of the history, whose expression sets `:expires_at`.
    fn update(&self, key: &str) -> UpdateItemFluentBuilder {
        let expires_at = (Utc::now().timestamp_millis() + millis(DEDUP_WINDOW)) / 1000;
        self.client
            .update_item()
            .table_name(&self.table)
            .key("id", text(key))
            .expression_attribute_values(":expires_at", number(expires_at))
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
