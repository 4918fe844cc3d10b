//! The event carries the span that it was enqueued in, so that the RPC it causes is part of the same trace.

use std::collections::BTreeMap;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;

/// Every vendor must accept this many bytes; the standard permits cutting more.
const STATE_BYTES_MAX: usize = 512;

/// The headers with W3C's trace context. `None` outside of a span, or if the caller has set one.
pub(crate) fn begun_in(headers: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() || headers.contains_key("traceparent") {
        return None;
    }
    let mut headers = headers.clone();
    let parent = format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags());
    headers.insert("traceparent".to_owned(), parent);
    let state = span.trace_state().header();
    if (1..=STATE_BYTES_MAX).contains(&state.len()) && state.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    {
        headers.entry("tracestate".to_owned()).or_insert(state);
    }
    Some(headers)
}
