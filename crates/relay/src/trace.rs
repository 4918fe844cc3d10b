//! Each put is a span between the publisher's and the worker's.

use outbox_event::{Envelope, Headers};
use outbox_runtime::{Role, Span, Tracer};
use outbox_transport::{Entry, PutError};

use crate::settle::Outcome;

/// Begins a span for each entry, as the parent of the worker's span. An entry without an envelope continues no trace.
pub(crate) fn begin(
    tracer: &Tracer,
    source: &str,
    entries: &[Entry],
    envelopes: &mut [Result<Envelope<'_>, PutError>],
) -> Vec<Span> {
    if !tracer.is_on() {
        return Vec::new();
    }
    let begin = |(entry, envelope): (&Entry, &mut Result<Envelope<'_>, PutError>)| {
        let attributes = [
            ("messaging.system", "outbox".to_owned()),
            ("messaging.message.id", entry.id.to_string()),
            ("outbox.source", source.to_owned()),
        ];
        let none = Headers::new();
        let headers = envelope.as_ref().map_or(&none, |event| &event.headers);
        let span = tracer.start(format!("put {}", entry.name), Role::Producer, headers, attributes);
        if let Ok(event) = envelope {
            span.continue_in(&mut event.headers);
        }
        span
    };
    entries.iter().zip(envelopes).map(begin).collect()
}

pub(crate) fn end(spans: Vec<Span>, outcomes: &[Outcome]) {
    for (mut span, outcome) in spans.into_iter().zip(outcomes) {
        if let Outcome::Refused { code, reason } = outcome {
            span.fail(code, reason);
        }
    }
}
