//! A put is a span between the publisher's and the worker's.

use event::Headers;
use runtime::{Role, Span, Tracer};

use crate::outbox::Entry;
use crate::settle::Outcome;

/// Begins a span for each entry, and makes it the parent of what comes of the entry.
pub(crate) fn begin(tracer: &Tracer, source: &str, entries: &mut [Entry]) -> Vec<Span> {
    if !tracer.is_on() {
        return Vec::new();
    }
    entries
        .iter_mut()
        .map(|entry| {
            // Headers that are none are refused by the bus.
            let headers = entry.headers.as_deref().unwrap_or("{}");
            let readable = serde_json::from_str::<Headers>(headers).ok();
            let mut headers = readable.clone().unwrap_or_default();
            let attributes = [
                ("messaging.system", "outbox".to_owned()),
                ("messaging.message.id", entry.id.to_string()),
                ("outbox.source", source.to_owned()),
            ];
            let span = tracer.start(format!("put {}", entry.name), Role::Producer, &headers, attributes);
            span.continue_in(&mut headers);
            if readable.is_some() {
                entry.headers = serde_json::to_string(&headers).ok();
            }
            span
        })
        .collect()
}

pub(crate) fn end(spans: Vec<Span>, outcomes: &[Outcome]) {
    for (mut span, outcome) in spans.into_iter().zip(outcomes) {
        if let Outcome::Refused { code, reason } = outcome {
            span.fail(code, reason);
        }
    }
}
