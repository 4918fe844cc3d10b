//! The dedup record on DynamoDB: one item per event and RPC.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use chrono::{DateTime, TimeDelta, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{At, Deliveries, Delivery, OperateError, POISON_MAX, Repair, State};

use super::{AwsOperator, trouble};
use crate::Failure;

/// An item's key, and the attribute with the time at which DynamoDB removes it.
pub const KEY_ATTRIBUTE: &str = "id";
pub const EXPIRY_ATTRIBUTE: &str = "expires_at";

/// Per request.
pub(super) const KEYS_MAX: usize = 100;
const TRIES_MAX: u32 = 10;

pub(super) type Item = HashMap<String, AttributeValue>;

impl Deliveries for AwsOperator {
    async fn of(
        &self,
        event: EventId,
        rpcs: &[Rpc],
        _: Option<(DateTime<Utc>, DateTime<Utc>)>,
    ) -> Result<Vec<Delivery>, OperateError> {
        let pairs: Vec<(EventId, Rpc)> = rpcs.iter().map(|rpc| (event, rpc.clone())).collect();
        let mut keys: Vec<String> = pairs.iter().map(|(event, rpc)| key(*event, rpc)).collect();
        keys.extend(pairs.iter().map(|(event, rpc)| dropped_key(*event, rpc)));
        keys.sort_unstable();
        keys.dedup();
        let items = self.items_of(&keys).await?;
        let now = Utc::now();
        let live = |key: String| items.get(&key).filter(|item| is_live(item, now));
        let deliveries = pairs.iter().map(|(event, rpc)| {
            let dropped = live(dropped_key(*event, rpc)).and_then(dropped);
            let state = live(key(*event, rpc)).map(|item| state(item, now)).or(dropped);
            Delivery { rpc: rpc.to_string(), state: state.unwrap_or(State::NotReceived) }
        });
        Ok(deliveries.collect())
    }

    async fn done(&self, pairs: &[(EventId, Rpc)]) -> Result<Vec<bool>, OperateError> {
        let (items, now) = (self.items(pairs).await?, Utc::now());
        let is_done = |item: &&Item| is_live(item, now) && text(item, "state") == Some("done");
        Ok(pairs.iter().map(|(event, rpc)| items.get(&key(*event, rpc)).filter(is_done).is_some()).collect())
    }

    async fn poison(&self, _: &Repair, rpc: &Rpc, time: Duration) -> Result<bool, OperateError> {
        if time > POISON_MAX {
            return Err(OperateError::failed(
                "nothing can be held to be poison for more than 30 days",
                "pass a time from zero to 30 days",
            ));
        }
        if !self.rpcs.contains(rpc) {
            return Ok(false);
        }
        self.say_poison(rpc, time).await
    }
}

impl AwsOperator {
    /// Forgets a success. `false` if a worker is calling the RPC at this moment: then nothing is forgotten.
    pub(super) async fn forget(&self, event: EventId, rpc: &Rpc) -> Result<bool, OperateError> {
        let now = Utc::now().timestamp_millis();
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(key(event, rpc)))
            .condition_expression("attribute_not_exists(id) or #state <> :leased or leased_until_ms < :now")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":leased", AttributeValue::S("leased".to_owned()))
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()));
        match delete.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(trouble("DynamoDB", &Failure::of(&error))),
        }
    }

    /// Deletes the record that an event was dead before its letter was moved. Only people read it, so a failure is ignored.
    pub(super) async fn forget_death(&self, event: EventId, rpc: &Rpc, before: DateTime<Utc>) {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(key(event, rpc)))
            .condition_expression("#state = :dead and at_ms <= :before")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":dead", AttributeValue::S("dead".to_owned()))
            .expression_attribute_values(":before", AttributeValue::N(before.timestamp_millis().to_string()));
        let _ = delete.send().await;
    }

    /// Writes under a key that no event has.
    async fn say_poison(&self, rpc: &Rpc, time: Duration) -> Result<bool, OperateError> {
        let until = Utc::now() + time;
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .item("id", AttributeValue::S(format!("poison {rpc}")))
            .item("until_ms", AttributeValue::N(until.timestamp_millis().to_string()))
            .item("expires_at", AttributeValue::N((until + TimeDelta::days(1)).timestamp().to_string()));
        put.send().await.map(|_| true).map_err(|error| trouble("DynamoDB", &Failure::of(&error)))
    }

    async fn items(&self, pairs: &[(EventId, Rpc)]) -> Result<HashMap<String, Item>, OperateError> {
        // A request must not contain a key twice.
        let mut keys: Vec<String> = pairs.iter().map(|(event, rpc)| key(*event, rpc)).collect();
        keys.sort_unstable();
        keys.dedup();
        self.items_of(&keys).await
    }

    /// The items that exist, by key. A large answer comes in parts.
    pub(super) async fn items_of(&self, keys: &[String]) -> Result<HashMap<String, Item>, OperateError> {
        let mut found = HashMap::new();
        for keys in keys.chunks(KEYS_MAX) {
            let ids = keys.iter().map(|id| Item::from([("id".to_owned(), AttributeValue::S(id.clone()))]));
            let asked =
                KeysAndAttributes::builder().set_keys(Some(ids.collect())).consistent_read(true).build();
            let mut left = HashMap::from([(
                self.table.clone(),
                asked.map_err(|error| {
                    OperateError::failed(
                        format!("DynamoDB can't be asked: {error}"),
                        "this is a mistake of ours: please report it",
                    )
                })?,
            )]);
            for _ in 0..TRIES_MAX {
                let answer = self.dynamodb.batch_get_item().set_request_items(Some(left)).send().await;
                let answer = answer.map_err(|error| trouble("DynamoDB", &Failure::of(&error)))?;
                for item in answer.responses.unwrap_or_default().into_values().flatten() {
                    if let Some(id) = text(&item, "id").map(str::to_owned) {
                        found.insert(id, item);
                    }
                }
                left = answer.unprocessed_keys.unwrap_or_default();
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                return Err(OperateError::unreachable(
                    "DynamoDB throttles: it did not answer for every record",
                    "try again a little later",
                ));
            }
        }
        Ok(found)
    }
}

fn key(event: EventId, rpc: &Rpc) -> String {
    format!("{event} {rpc}")
}

pub(super) fn dropped_key(event: EventId, rpc: &Rpc) -> String {
    format!("audit dropped {event} {rpc}")
}

fn dropped(item: &Item) -> Option<State> {
    Some(State::Dropped { at: time(item, "at_ms")?, by: text(item, "who")?.to_owned() })
}

/// DynamoDB may remove an expired item days late.
pub(super) fn is_live(item: &Item, now: DateTime<Utc>) -> bool {
    number(item, "expires_at").is_none_or(|at| at >= now.timestamp())
}

fn state(item: &Item, now: DateTime<Utc>) -> State {
    let at = time(item, "at_ms");
    let attempt = number(item, "attempt").and_then(|attempt| i32::try_from(attempt).ok());
    let words = |name: &str| text(item, name).unwrap_or_default().to_owned();
    match text(item, "state") {
        Some("done") => State::Done { at },
        Some("dead") => State::Dead { at, attempts: attempt, code: words("code"), reason: words("error") },
        Some("failed") => State::Failed {
            attempt: attempt.unwrap_or(1),
            at: at.unwrap_or_else(|| now.into()),
            code: words("code"),
            error: words("error"),
            due_at: None,
        },
        _ => match time(item, "leased_until_ms").and_then(At::known).unwrap_or(now) {
            until if until > now => State::Calling { worker: None, until: until.into(), attempt },
            until => State::Abandoned { worker: None, until: until.into() },
        },
    }
}

pub(super) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(super) fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn time(item: &Item, name: &str) -> Option<At> {
    DateTime::from_timestamp_millis(number(item, name)?).map(At::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(fields: &[(&str, &str)]) -> Item {
        let value = |text: &str| match text.parse::<i64>() {
            Ok(_) => AttributeValue::N(text.to_owned()),
            Err(_) => AttributeValue::S(text.to_owned()),
        };
        fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
    }

    /// Guards: every state of a record is shown, also an older worker's, and an expired record is absent.
    #[test]
    fn records_are_read() {
        let now = DateTime::from_timestamp_millis(1_000_000).unwrap();
        let at = DateTime::from_timestamp_millis(900_000).map(At::from);
        let failure = [("attempt", "3"), ("code", "unavailable"), ("error", "down"), ("at_ms", "900000")];
        let with = |state: &'static str| item(&[&failure[..], &[("state", state)]].concat());
        assert_eq!(
            state(&with("failed"), now),
            State::Failed {
                attempt: 3,
                at: at.unwrap(),
                code: "unavailable".into(),
                error: "down".into(),
                due_at: None
            }
        );
        assert_eq!(
            state(&with("dead"), now),
            State::Dead { at, attempts: Some(3), code: "unavailable".into(), reason: "down".into() }
        );
        assert_eq!(state(&with("done"), now), State::Done { at });
        assert_eq!(state(&item(&[("state", "done")]), now), State::Done { at: None });
        let until = DateTime::from_timestamp_millis(1_000_001).unwrap().into();
        let leased = |until: &'static str| item(&[("state", "leased"), ("leased_until_ms", until)]);
        assert_eq!(state(&leased("1000001"), now), State::Calling { worker: None, until, attempt: None });
        assert!(matches!(state(&leased("999999"), now), State::Abandoned { .. }));
        assert!(
            is_live(&item(&[("expires_at", "1000")]), now) && !is_live(&item(&[("expires_at", "999")]), now)
        );
    }
}
