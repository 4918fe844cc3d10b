//! Failed attempts and repairs: one item per event and RPC, with a list of entries.
//!
//! The item of the lease could have the list. But a later lease replaces that item, and `--force` deletes it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use outbox_transport::{DEDUP_WINDOW, ERROR_CHARS_MAX, Note, Released, keeps_attempt};
use tokio::time::Instant;

use super::DynamoDedup;
use super::item::{ENTRIES, Item, LAST, LEFT_OUT, history_key, millis, number, text};
use crate::Failure;

/// So many entries an item has. After that it has the last one, and a count of those that were left out.
const ENTRIES_MAX: i64 = 40;

impl DynamoDedup {
    pub(super) async fn release_and_keep(&self, released: &Released) -> Result<(), Failure> {
        self.release_one(released).await?;
        self.keep(released).await;
        Ok(())
    }

    /// Keeps the outcome of a call. Only people read it, so a delivery does not wait for a second try.
    async fn keep(&self, released: &Released) {
        let Some(note) = Note::of(&released.outcome) else { return };
        let is_kept = note != Note::Failed || keeps_attempt(released.attempt);
        if !is_kept || !self.budget.lock().allows(note, Instant::now()) {
            return;
        }
        let kept = match self.append(released, note, true).await {
            Err(failure) if failure.code == "ConditionalCheckFailedException" => {
                self.append(released, note, false).await
            }
            kept => kept,
        };
        if let Err(Failure { code, message, .. }) = kept {
            tracing::warn!(
                rpc = self.rpc,
                code,
                message,
                "failed to keep what became of a call: `outbox why` will lack it"
            );
        }
    }

    async fn append(&self, released: &Released, note: Note, has_room: bool) -> Result<(), Failure> {
        let now = Utc::now().timestamp_millis();
        let entry = AttributeValue::M(self.entry(released, note, now));
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&history_key(released.lease.event, &self.rpc)))
            .expression_attribute_values(":expires_at", number((now + millis(DEDUP_WINDOW)) / 1000));
        let update = match has_room {
            true => update
                .update_expression(
                    "set #entries = list_append(if_not_exists(#entries, :none), :more), expires_at = :expires_at",
                )
                .condition_expression("attribute_not_exists(#entries) or size(#entries) < :max")
                .expression_attribute_names("#entries", ENTRIES)
                .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
                .expression_attribute_values(":more", AttributeValue::L(vec![entry]))
                .expression_attribute_values(":max", number(ENTRIES_MAX)),
            false => update
                .update_expression("set #last = :entry, expires_at = :expires_at add #left_out :one")
                .expression_attribute_names("#last", LAST)
                .expression_attribute_names("#left_out", LEFT_OUT)
                .expression_attribute_values(":entry", entry)
                .expression_attribute_values(":one", number(1)),
        };
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }

    fn entry(&self, released: &Released, note: Note, now: i64) -> Item {
        let (code, error) = released.outcome.failure().unwrap_or_default();
        let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
        HashMap::from([
            ("at_ms".to_owned(), number(now)),
            ("what".to_owned(), text(note.as_str())),
            ("attempt".to_owned(), number(released.attempt.into())),
            ("code".to_owned(), text(code)),
            ("error".to_owned(), text(&error)),
            ("worker".to_owned(), text(&self.worker)),
        ])
    }
}
