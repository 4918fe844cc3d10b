//! What became of an event, as a text for one who asked: without errors, keys, and names of processes. Pure.

use chrono::{DateTime, Utc};

use crate::answers::{Delivery, Life};
use crate::shown::NOT_KNOWN;

const LINES_MAX: usize = 30;

/// `None` of an event that no outbox has.
pub(crate) fn text(life: &Life) -> Option<String> {
    let enqueued = life.enqueued.as_ref()?;
    let mut lines =
        vec![format!("Event {} ({}) of {}", life.id, enqueued.name, moment(enqueued.occurred_at))];
    if life.parked.is_some() || life.dropped.is_some() {
        lines.push("No subscriber has it: it could not be sent.".to_owned());
    }
    lines.extend(life.deliveries.iter().take(LINES_MAX).map(became));
    Some(lines.join("\n"))
}

fn became(delivery: &Delivery) -> String {
    let Delivery { rpc, state, at, since, .. } = delivery;
    let at = moment(at.or(*since));
    match state.as_str() {
        "done" => format!("{rpc}: done at {at}"),
        "dead" => format!("{rpc}: not done, given up at {at}"),
        "dropped" => format!("{rpc}: not done, dropped at {at}"),
        _ => format!("{rpc}: not done yet"),
    }
}

fn moment(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(
        || format!("a time that is {NOT_KNOWN}"),
        |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn life(json: serde_json::Value) -> Life {
        serde_json::from_value(json).unwrap()
    }

    /// Guards promise 8: a text for others has what became of an event, and nothing that is only for operators.
    #[test]
    fn a_text_for_others_says_what_became_of_it() {
        let told = text(&life(json!({
            "id": "7",
            "enqueued": {"source": "cards", "name": "event_one", "key": "card-37", "occurred_at": "2026-11-22T13:12:00Z"},
            "deliveries": [
                {"rpc": "A/B", "state": "done", "at": "2026-11-22T13:12:01Z", "worker": "vm:1"},
                {"rpc": "A/C", "state": "dead", "at": null, "code": "internal", "reason": "no such card"},
                {"rpc": "A/D", "state": "failed", "error": "no such card"},
            ],
        })));
        assert_eq!(
            told.unwrap(),
            "Event 7 (event_one) of 2026-11-22 13:12:00 UTC\n\
             A/B: done at 2026-11-22 13:12:01 UTC\n\
             A/C: not done, given up at a time that is not known\n\
             A/D: not done yet"
        );
        assert_eq!(text(&life(json!({"id": "7", "found": false}))), None);
    }
}
