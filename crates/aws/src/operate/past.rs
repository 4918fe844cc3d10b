//! Failed attempts and repairs of one event: entries of workers, and those of operators, whose keys are of the audit.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::DEDUP_WINDOW;
use outbox_transport::operate::{At, History, OperateError, Past, Repair, Try, What};

use super::AwsOperator;
use super::records::{Item, dropped_key, is_live, number, text, time};
use crate::dynamodb::{ENTRIES, LAST, LEFT_OUT, history_key, rest_key};

const MOVES_MAX: i64 = 40;

impl History for AwsOperator {
    async fn past(&self, event: EventId, rpcs: &[Rpc]) -> Result<Vec<Past>, OperateError> {
        let of = |rpc: &Rpc| {
            let kept = [history_key(event, rpc), rest_key(event, rpc)];
            kept.into_iter().chain([moved_key(event, rpc), dropped_key(event, rpc)])
        };
        let mut keys: Vec<String> = rpcs.iter().flat_map(of).collect();
        keys.sort_unstable();
        keys.dedup();
        let (items, now) = (self.items_of(&keys).await?, Utc::now());
        let mut past = Vec::new();
        for rpc in rpcs {
            let whats = of(rpc).filter_map(|key| items.get(&key).filter(|item| is_live(item, now)));
            let whats = whats.flat_map(entries);
            past.extend(whats.map(|(at, what)| Past { rpc: Some(rpc.to_string()), at, what }));
        }
        past.sort_by_key(|one| one.at.known());
        Ok(past)
    }
}

impl AwsOperator {
    /// Keeps who moved a delivery. Only people read it, and the audit has the repair, so a failure is ignored.
    pub(super) async fn keep_move(
        &self,
        (event, rpc): (EventId, &Rpc),
        what: &str,
        repair: &Repair,
        at: DateTime<Utc>,
    ) {
        let moved = HashMap::from([
            ("at_ms".to_owned(), AttributeValue::N(at.timestamp_millis().to_string())),
            ("what".to_owned(), AttributeValue::S(what.to_owned())),
            ("who".to_owned(), AttributeValue::S(repair.who.clone())),
        ]);
        let kept_for = TimeDelta::from_std(DEDUP_WINDOW).unwrap_or_default();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(moved_key(event, rpc)))
            .update_expression(
                "set #entries = list_append(if_not_exists(#entries, :none), :more), expires_at = :expires_at",
            )
            .condition_expression("attribute_not_exists(#entries) or size(#entries) < :max")
            .expression_attribute_names("#entries", ENTRIES)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":more", AttributeValue::L(vec![AttributeValue::M(moved)]))
            .expression_attribute_values(":max", AttributeValue::N(MOVES_MAX.to_string()))
            .expression_attribute_values(
                ":expires_at",
                AttributeValue::N((at + kept_for).timestamp().to_string()),
            );
        let _ = update.send().await;
    }
}

/// No policy allows to delete it.
fn moved_key(event: EventId, rpc: &Rpc) -> String {
    format!("audit moved {event} {rpc}")
}

/// The entries of one item. An item with neither a list nor a last entry is of a dropped letter.
fn entries(item: &Item) -> Vec<(At, What)> {
    let list = item.get(ENTRIES).and_then(|list| list.as_l().ok());
    if list.is_none() && !item.contains_key(LAST) {
        let by = text(item, "who").map(str::to_owned);
        return time(item, "at_ms").map(|at| (at, What::Dropped { by })).into_iter().collect();
    }
    let entry = |value: &AttributeValue| {
        let entry = value.as_m().ok()?;
        Some((time(entry, "at_ms")?, what(entry)?))
    };
    let mut entries: Vec<(At, What)> = list.into_iter().flatten().filter_map(entry).collect();
    let left_out = number(item, LEFT_OUT).and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    if let Some(last) = item.get(LAST).and_then(entry) {
        // The last one is shown.
        if left_out > 1 {
            entries.push((last.0, What::LeftOut { entries: left_out - 1 }));
        }
        entries.push(last);
    }
    entries
}

/// None for a kind that a later version wrote.
fn what(entry: &Item) -> Option<What> {
    let words = |name: &str| text(entry, name).unwrap_or_default().to_owned();
    let by = text(entry, "who").map(str::to_owned);
    let call = || Try {
        attempt: number(entry, "attempt").and_then(|attempt| i32::try_from(attempt).ok()),
        code: words("code"),
        error: words("error"),
        worker: text(entry, "worker").filter(|worker| !worker.is_empty()).map(str::to_owned),
    };
    Some(match text(entry, "what")? {
        "failed" => What::Failed(call()),
        "held" => What::Held(call()),
        "lost" => What::Lost(call()),
        "dead" => What::Dead(call()),
        "redriven" => What::Redriven { by },
        "replayed" => What::Replayed { by },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64, what: &str) -> AttributeValue {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        AttributeValue::M(HashMap::from([
            ("at_ms".to_owned(), AttributeValue::N(at.to_string())),
            ("what".to_owned(), text(what)),
            ("attempt".to_owned(), AttributeValue::N("3".to_owned())),
            ("code".to_owned(), text("unavailable")),
            ("error".to_owned(), text("down")),
            ("worker".to_owned(), text("vm:7")),
            ("who".to_owned(), text("me@host")),
        ]))
    }

    fn at(millis: i64) -> At {
        DateTime::from_timestamp_millis(millis).unwrap().into()
    }

    /// Guards promise 8: each entry is read, one of a later version is passed over, and what was left out is counted.
    #[test]
    fn entries_are_read() {
        let call = Try {
            attempt: Some(3),
            code: "unavailable".to_owned(),
            error: "down".to_owned(),
            worker: Some("vm:7".to_owned()),
        };
        let by = Some("me@host".to_owned());
        let list = ["failed", "of_later", "dead", "redriven"];
        let list = list.iter().zip(1..).map(|(what, at)| entry(at, what)).collect();
        let item = Item::from([(ENTRIES.to_owned(), AttributeValue::L(list))]);
        let expected = [
            (at(1), What::Failed(call.clone())),
            (at(3), What::Dead(call.clone())),
            (at(4), What::Redriven { by: by.clone() }),
        ];
        assert_eq!(entries(&item), expected);
        let mut rest = Item::from([(LAST.to_owned(), entry(9, "held"))]);
        rest.insert(LEFT_OUT.to_owned(), AttributeValue::N("1".to_owned()));
        assert_eq!(entries(&rest), [(at(9), What::Held(call.clone()))]);
        rest.insert(LEFT_OUT.to_owned(), AttributeValue::N("38".to_owned()));
        let expected = [(at(9), What::LeftOut { entries: 37 }), (at(9), What::Held(call))];
        assert_eq!(entries(&rest), expected);
        let dropped = Item::from([
            ("at_ms".to_owned(), AttributeValue::N("5".to_owned())),
            ("who".to_owned(), AttributeValue::S("me@host".to_owned())),
        ]);
        assert_eq!(entries(&dropped), [(at(5), What::Dropped { by })]);
    }
}
