//! The audit, in the dedup table: one item per hour, with one attribute per repair. So repairs are listed by key. A scan would
//! read every record of 21 days, and our policies don't allow it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{At, Audit, DYNAMODB, Kept, OperateError, Repair};
use uuid::Uuid;

use super::records::{Item, KEYS_MAX, dropped_key, is_live, text};
use super::{AwsOperator, trouble};
use crate::Failure;

/// As long as in Postgres.
const KEPT_HOURS: i64 = 400 * 24;
/// An item has room for 400 KB: hundreds of repairs an hour.
const COMMAND_CHARS_MAX: usize = 2000;
const REQUESTS_TOGETHER: usize = 8;

pub(super) fn kept_for() -> TimeDelta {
    TimeDelta::hours(KEPT_HOURS)
}

impl AwsOperator {
    /// Replaces the repair if it is stored already.
    async fn keep(&self, repair: &Repair, result: &str) -> Result<(), OperateError> {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let command: String = repair.command.chars().take(COMMAND_CHARS_MAX).collect();
        let kept = HashMap::from([
            ("at".to_owned(), text(&repair.at.to_rfc3339_opts(SecondsFormat::Millis, true))),
            ("who".to_owned(), text(&repair.who)),
            ("command".to_owned(), text(&command)),
            ("result".to_owned(), text(result)),
        ]);
        let expires_at = (repair.at + kept_for()).timestamp();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", text(&hour(repair.at)))
            .update_expression("set #repair = :repair, expires_at = :expires_at")
            .expression_attribute_names("#repair", format!("{PREFIX}{}", repair.id))
            .expression_attribute_values(":repair", AttributeValue::M(kept))
            .expression_attribute_values(":expires_at", AttributeValue::N(expires_at.to_string()));
        update.send().await.map(|_| ()).map_err(|error| trouble("DynamoDB", &Failure::of(&error)))
    }

    /// Records that an operator drops a letter. The key is one of the audit, which no policy allows to delete.
    pub(super) async fn keep_drop(
        &self,
        event: EventId,
        rpc: &Rpc,
        repair: &Repair,
    ) -> Result<(), OperateError> {
        let now = Utc::now();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(dropped_key(event, rpc)))
            .update_expression("set at_ms = :now, who = :who, expires_at = :expires_at")
            .expression_attribute_values(":now", AttributeValue::N(now.timestamp_millis().to_string()))
            .expression_attribute_values(":who", AttributeValue::S(repair.who.clone()))
            .expression_attribute_values(
                ":expires_at",
                AttributeValue::N((now + kept_for()).timestamp().to_string()),
            );
        update.send().await.map(|_| ()).map_err(|error| trouble("DynamoDB", &Failure::of(&error)))
    }
}

impl Audit for AwsOperator {
    /// A failure must not prevent a repair that can be undone.
    async fn begin(&self, repair: &Repair, undoable: bool) -> Result<(), OperateError> {
        match self.keep(repair, NOT_ENDED).await {
            Err(stopped) if undoable => {
                (self.say)(&format!("warning: not in the audit: {}", stopped.problem));
                Ok(())
            }
            kept => kept,
        }
    }

    async fn end(&self, repair: &Repair) -> Result<(), OperateError> {
        self.keep(repair, repair.result.as_deref().unwrap_or(NO_RESULT)).await
    }

    async fn kept(&self, limit: u32) -> Result<Vec<Kept>, OperateError> {
        let mut kept = self.of_hours(KEPT_HOURS, limit as usize).await?;
        self.add_progress(&mut kept).await?;
        Ok(kept)
    }

    /// Its id has its time, and so the item of its hour. That is by the clock of the command that made it, as in the item.
    async fn find(&self, id: Uuid) -> Result<Option<Kept>, OperateError> {
        let Some(at) = millis(id).and_then(DateTime::from_timestamp_millis) else { return Ok(None) };
        // The id may be made just before the hour ends.
        let hours = [hour(at), hour(at + TimeDelta::minutes(1))];
        let hours = if hours[0] == hours[1] { &hours[..1] } else { &hours[..] };
        let items = self.items_of(hours).await?;
        let mut kept: Vec<Kept> = items.values().flat_map(repairs).filter(|kept| kept.id == id).collect();
        self.add_progress(&mut kept).await?;
        Ok(kept.into_iter().next())
    }
}

/// The time in a v7 uuid.
fn millis(id: Uuid) -> Option<i64> {
    (id.get_version_num() == 7).then(|| i64::try_from(id.as_u128() >> 80).ok()).flatten()
}

impl AwsOperator {
    /// The newest of the last hours, newest first.
    pub(super) async fn of_hours(&self, hours: i64, limit: usize) -> Result<Vec<Kept>, OperateError> {
        let now = Utc::now();
        let hours: Vec<String> = (0..hours).map(|ago| hour(now - TimeDelta::hours(ago))).collect();
        let requests = hours.chunks(KEYS_MAX).map(|hours| self.items_of(hours));
        let mut answers = futures_util::stream::iter(requests).buffered(REQUESTS_TOGETHER);
        let mut kept: Vec<Kept> = Vec::new();
        while kept.len() < limit
            && let Some(items) = answers.try_next().await?
        {
            // Each request covers the hours before those of the last one, so its repairs are older.
            let mut found: Vec<Kept> =
                items.values().filter(|item| is_live(item, now)).flat_map(repairs).collect();
            found.sort_by_key(|one| std::cmp::Reverse(one.at.known()));
            kept.extend(found);
        }
        kept.truncate(limit);
        Ok(kept)
    }
}

/// In place of a result, which is JSON.
const NOT_ENDED: &str = "-";
const NO_RESULT: &str = "null";
/// The names of attributes that hold a repair begin with this.
const PREFIX: &str = "repair ";

fn hour(at: DateTime<Utc>) -> String {
    format!("audit {}", at.format("%Y-%m-%dT%H"))
}

fn repairs(item: &Item) -> Vec<Kept> {
    let of = |name: &str, attribute: &AttributeValue| -> Option<Kept> {
        let id = name.strip_prefix(PREFIX)?.parse().ok()?;
        let repair = attribute.as_m().ok()?;
        let words = |name: &str| text(repair, name).unwrap_or_default().to_owned();
        Some(Kept {
            source: DYNAMODB.to_owned(),
            id,
            at: At::from(DateTime::parse_from_rfc3339(text(repair, "at")?).ok()?.to_utc()),
            who: words("who"),
            role: None,
            command: words("command"),
            result: text(repair, "result").and_then(|result| serde_json::from_str(result).ok().flatten()),
            ended: text(repair, "result") != Some(NOT_ENDED),
            progress: None,
        })
    };
    item.iter().filter_map(|(name, repair)| of(name, repair)).collect()
}
