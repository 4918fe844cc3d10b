//! What is lost, and what is called twice. Pure.

use std::collections::{HashMap, HashSet};

use outbox::EventId;
use outbox_event_router::Router;

use crate::demo::services::Call;

/// So many violations of a kind are shown.
const EXAMPLES_MAX: usize = 5;

#[derive(Debug, Clone)]
pub(super) struct Committed {
    pub(super) id: EventId,
    pub(super) name: String,
}

/// An RPC with its package, as a server sees it, by the id of the routes.
fn short(rpc: &str) -> &str {
    rpc.rsplit('.').next().unwrap_or(rpc)
}

/// The successful calls of each delivery.
fn done(calls: &[Call]) -> HashMap<(EventId, &str), usize> {
    let mut done = HashMap::new();
    for call in calls.iter().filter(|call| call.refused.is_none()) {
        *done.entry((call.event, short(&call.rpc))).or_insert(0) += 1;
    }
    done
}

/// The deliveries that are due and have not succeeded.
pub(super) fn missing(committed: &[Committed], router: &Router, calls: &[Call]) -> Vec<String> {
    let done = done(calls);
    let due = committed.iter().flat_map(|event| {
        router.subscribers(&event.name).iter().map(move |rpc| (event, short(rpc.as_str())))
    });
    due.filter(|(event, rpc)| !done.contains_key(&(event.id, *rpc)))
        .map(|(event, rpc)| format!("event {} ({}) has not reached {rpc}", event.id, event.name))
        .collect()
}

/// Every broken promise, with some examples of each kind.
pub(super) fn violations(committed: &[Committed], router: &Router, calls: &[Call]) -> Vec<String> {
    let known: HashSet<EventId> = committed.iter().map(|event| event.id).collect();
    let twice = done(calls)
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|((event, rpc), times)| format!("event {event} succeeded {times} times at {rpc}"));
    let strange = calls
        .iter()
        .filter(|call| !known.contains(&call.event))
        .map(|call| format!("event {} was not committed, and reached {}", call.event, call.rpc));
    let refused = calls.iter().filter_map(|call| {
        let code = call.refused.as_ref()?;
        Some(format!("event {} was refused by {}: {code}", call.event, call.rpc))
    });
    [missing(committed, router, calls), twice.collect(), strange.collect(), refused.collect()]
        .into_iter()
        .flat_map(in_short)
        .collect()
}

fn in_short(mut found: Vec<String>) -> Vec<String> {
    let more = found.len().saturating_sub(EXAMPLES_MAX);
    if more > 0 {
        found.truncate(EXAMPLES_MAX);
        found.push(format!("and {more} more of the same kind"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a lost event, a second success, a call for an event that was rolled back, and a refusal are each found.
    #[test]
    fn each_violation_is_found() {
        let router = Router::parse(
            "routes.yaml",
            "event:\n  - name: event_a\n    subscriber:\n      - id: S/A\n      - id: S/B\n",
        )
        .unwrap();
        let (event, stranger) = (EventId::new(), EventId::new());
        let committed = [
            Committed { id: event, name: "event_a".into() },
            Committed { id: EventId::new(), name: "event_unrouted".into() },
        ];
        let call = |event, rpc: &str, refused: Option<&str>| Call {
            rpc: format!("x.v1.{rpc}"),
            event,
            attempt: 1,
            refused: refused.map(str::to_owned),
            at: chrono::Utc::now(),
        };
        let (a, b) = (call(event, "S/A", None), call(event, "S/B", None));
        let cases = [
            (vec![a.clone(), b.clone()], vec![]),
            (vec![a.clone()], vec!["has not reached S/B"]),
            (vec![a.clone(), b.clone(), a.clone()], vec!["succeeded 2 times at S/A"]),
            (vec![a.clone(), b.clone(), call(stranger, "S/A", None)], vec!["was not committed"]),
            (
                vec![a.clone(), call(event, "S/B", Some("internal")), b.clone()],
                vec!["was refused by x.v1.S/B: internal"],
            ),
            (vec![a, call(event, "S/B", Some("internal"))], vec!["has not reached S/B", "was refused"]),
        ];
        for (calls, expected) in cases {
            let found = violations(&committed, &router, &calls);
            assert_eq!(found.len(), expected.len(), "{found:?}, and not {expected:?}");
            assert!(
                found.iter().zip(&expected).all(|(found, expected)| found.contains(expected)),
                "{found:?}"
            );
        }
    }
}
