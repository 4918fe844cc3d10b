use std::collections::BTreeMap;
use std::fmt;

use outbox_event::rules::{HEADERS_BYTES_MAX, KEY_BYTES_MAX, header_problem, is_event_name};
use outbox_event::{Event, EventId, PAYLOAD_BYTES_MAX, payload};

use crate::EnqueueError;
use crate::row::Row;

/// An event about to be enqueued, with whatever differs from its type's defaults.
///
/// ```no_run
/// # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
/// # struct HogeUpdatedEvent { hoge_id: String }
/// # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
/// # async fn publish(tx: &mut sqlx::PgTransaction<'_>) -> Result<(), outbox::EnqueueError> {
/// # let event = HogeUpdatedEvent { hoge_id: "1".into() };
/// outbox::Entry::new(&event).key("hoge-1").header("acme-tenant", "t-1").enqueue(tx).await?;
/// # Ok(()) }
/// ```
#[must_use = "an entry is written only by `enqueue`"]
pub struct Entry {
    id: EventId,
    name: &'static str,
    key: Option<String>,
    headers: BTreeMap<String, String>,
    payload: Result<String, serde_json::Error>,
}

impl Entry {
    /// Encodes the event now; what is wrong with it is reported by [`enqueue`](Entry::enqueue).
    pub fn new<E: Event>(event: E) -> Self {
        Self {
            id: EventId::new(),
            name: E::NAME,
            key: event.key().map(|key| key.into_owned()),
            headers: BTreeMap::new(),
            payload: serde_json::to_string(&event),
        }
    }

    /// The id the event will have: known before the insert.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// What the event is about, at most 512 bytes. Events of one key reach the bus in the order their
    /// transactions made them.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A header that travels with the event. It reaches the RPC under the same name if it is `traceparent`, `tracestate` or
    /// `baggage`, or if its name begins as the worker's operator allows (`--header-prefix acme-`); any other stays behind.
    /// So choose a prefix of your own, and not `x-`: proxies and meshes read from such names who calls. Names are lower-case
    /// letters, digits and dashes, values are printable ASCII; all of them together fit in 8 KiB of JSON.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// The checked event, for a driver that this library does not know: send it with [`INSERT`](crate::INSERT).
    ///
    /// # Errors
    ///
    /// What is wrong with the event. Never [`EnqueueError::Insert`].
    pub fn into_row(self) -> Result<Row, EnqueueError> {
        let name = self.name;
        if !is_event_name(name) {
            return Err(EnqueueError::InvalidName { name });
        }
        let payload = self.payload.map_err(|source| EnqueueError::Encode { name, source })?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(EnqueueError::TooLarge {
                name,
                payload_bytes: payload.len(),
                payload_bytes_max: PAYLOAD_BYTES_MAX,
            });
        }
        match payload::problem(&payload, payload::DEPTH_MAX) {
            None => {}
            Some(payload::NOT_AN_OBJECT) => return Err(EnqueueError::NotAnObject { name }),
            Some(problem) => return Err(EnqueueError::Unreadable { name, problem }),
        }
        if let Some(key_bytes) = self.key.as_ref().map(String::len).filter(|&bytes| bytes > KEY_BYTES_MAX) {
            return Err(EnqueueError::KeyTooLong { name, key_bytes, key_bytes_max: KEY_BYTES_MAX });
        }
        if self.key.as_ref().is_some_and(|key| key.contains('\0')) {
            return Err(EnqueueError::InvalidKey { name });
        }
        #[cfg(feature = "opentelemetry")]
        let traced = crate::trace::begun_in(&self.headers);
        #[cfg(not(feature = "opentelemetry"))]
        let traced = None;
        // Where there is no room for the trace, the event goes without.
        let headers = match traced.and_then(|traced| encode_headers(name, &traced).ok()) {
            Some(headers) => headers,
            None => encode_headers(name, &self.headers)?,
        };
        Ok(Row { id: self.id, name, key: self.key, payload, headers })
    }
}

/// Shows the event's name, id and sizes; never the payload or a header's value.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("headers", &self.headers.keys())
            .field("payload_bytes", &self.payload.as_ref().map(String::len).ok())
            .finish_non_exhaustive()
    }
}

/// An event with its type's defaults: so a call takes an event as well as an entry.
impl<E: Event> From<E> for Entry {
    fn from(event: E) -> Self {
        Self::new(event)
    }
}

fn encode_headers(
    name: &'static str,
    headers: &BTreeMap<String, String>,
) -> Result<Option<String>, EnqueueError> {
    if headers.is_empty() {
        return Ok(None);
    }
    if let Some((header, problem)) = headers
        .iter()
        .find_map(|(header, value)| header_problem(header, value).map(|problem| (header, problem)))
    {
        return Err(EnqueueError::InvalidHeader { name, header: header.clone(), problem });
    }
    let encoded = serde_json::to_string(headers).map_err(|source| EnqueueError::Encode { name, source })?;
    if encoded.len() > HEADERS_BYTES_MAX {
        return Err(EnqueueError::HeadersTooLarge {
            name,
            headers_bytes: encoded.len(),
            headers_bytes_max: HEADERS_BYTES_MAX,
        });
    }
    Ok(Some(encoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Hoge {
        hoge_id: String,
    }

    impl Event for Hoge {
        const NAME: &'static str = "event_hoge_updated";
    }

    #[derive(serde::Serialize)]
    struct Bare(u32);

    impl Event for Bare {
        const NAME: &'static str = "event_bare";
    }

    fn hoge(bytes: usize) -> Entry {
        Entry::new(&Hoge { hoge_id: "x".repeat(bytes) })
    }

    /// Guards: what the bus would refuse is refused before SQL is sent, with the size and the limit.
    #[test]
    fn refusals_name_the_event_and_the_limit() {
        let overhead = r#"{"hogeId":""}"#.len();
        assert!(hoge(PAYLOAD_BYTES_MAX - overhead).into_row().is_ok());
        let cases = [
            (hoge(PAYLOAD_BYTES_MAX - overhead + 1), "245761 bytes; at most 245760"),
            (Entry::new(Bare(1)), "event_bare is not a JSON object"),
            (hoge(1).key("k".repeat(513)), "key of event_hoge_updated is 513 bytes; at most 512"),
            (hoge(1).key("a\0b"), "key of event_hoge_updated holds a null character"),
            (hoge(1).header("Tenant", "t"), "header `Tenant` of event_hoge_updated is malformed"),
            (hoge(1).header("idempotency-key", "t"), "reserved"),
            (hoge(1).header("outbox-attempt", "t"), "reserved"),
            (hoge(1).header("tenant", "é"), "printable ASCII"),
            (hoge(1).header("tenant", "x".repeat(9000)), "at most 8192"),
        ];
        for (entry, expected) in cases {
            let Err(error) = entry.into_row() else { panic!("{expected}: it was taken") };
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    /// Guards: payloads never reach a log, not even through `{:?}`.
    #[test]
    fn debug_shows_sizes_not_contents() {
        let entry = Entry::new(Hoge { hoge_id: "secret-7".into() }).header("tenant", "secret-8");
        let shown = format!("{entry:?}");
        assert!(shown.contains("event_hoge_updated") && shown.contains("payload_bytes"));
        assert!(!shown.contains("secret"));
    }

    /// Guards promise 1: the span that an event is enqueued in makes no headers too large.
    #[cfg(feature = "opentelemetry")]
    #[test]
    fn a_trace_takes_only_the_room_that_is_left() {
        use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
        let ids = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([1; 8]));
        let span = SpanContext::new(ids.0, ids.1, TraceFlags::SAMPLED, true, TraceState::default());
        let _within = opentelemetry::Context::new().with_remote_span_context(span).attach();
        for (bytes, is_traced) in [(10, true), (8_000, true), (8_150, false)] {
            let entry = hoge(1).header("acme-text", "x".repeat(bytes));
            let headers = entry.into_row().unwrap().headers.unwrap();
            assert_eq!(headers.contains("traceparent"), is_traced, "{bytes}");
        }
    }
}
