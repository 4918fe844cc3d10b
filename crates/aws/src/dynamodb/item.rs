use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use outbox_event::EventId;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The attributes of a history: a list. Once it is full, another item has the last entry and the count of those left out.
pub(crate) const ENTRIES: &str = "entries";
pub(crate) const LAST: &str = "last_entry";
pub(crate) const LEFT_OUT: &str = "left_out";

/// The key of failed attempts and repairs of an event at an RPC.
pub(crate) fn history_key(event: EventId, rpc: impl fmt::Display) -> String {
    format!("history {event} {rpc}")
}

/// The key of those for which the list has no room.
pub(crate) fn rest_key(event: EventId, rpc: impl fmt::Display) -> String {
    format!("{} rest", history_key(event, rpc))
}

pub(super) fn is_done(item: &Item) -> bool {
    item.get("state").and_then(|state| state.as_s().ok()).is_some_and(|state| state == "done")
}

pub(super) fn read(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
