//! A put is a span between the publisher's and the worker's.

use event::Envelope;
use outbox_transport::PutError;
use runtime::{Role, Span, Tracer};

use crate::settle::Outcome;

/// Begins a span for each event, and makes it the parent of what comes of the event. None for what can't travel.
pub(crate) fn begin(
    tracer: &Tracer,
    source: &str,
    envelopes: &mut [Result<Envelope<'_>, PutError>],
) -> Vec<Option<Span>> {
    if !tracer.is_on() {
        return Vec::new();
    }
    let begin = |event: &mut Envelope<'_>| {
        let attributes = [
            ("messaging.system", "outbox".to_owned()),
            ("messaging.message.id", event.id.to_string()),
            ("outbox.source", source.to_owned()),
        ];
        let span = tracer.start(format!("put {}", event.name), Role::Producer, &event.headers, attributes);
        span.continue_in(&mut event.headers);
        span
    };
    envelopes.iter_mut().map(|envelope| envelope.as_mut().ok().map(begin)).collect()
}

pub(crate) fn end(spans: Vec<Option<Span>>, outcomes: &[Outcome]) {
    for (span, outcome) in spans.into_iter().zip(outcomes) {
        if let (Some(mut span), Outcome::Refused { code, reason }) = (span, outcome) {
            span.fail(code, reason);
        }
    }
}
