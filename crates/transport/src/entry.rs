use std::borrow::Cow;

use chrono::{DateTime, Utc};
use outbox_event::{Envelope, EventId, Headers};
use serde_json::value::RawValue;

use crate::PutError;

#[derive(Clone)]
pub struct Entry {
    pub seq: i64,
    pub id: EventId,
    pub name: String,
    pub key: Option<String>,
    pub payload: String,
    pub headers: Option<String>,
    pub occurred_at: DateTime<Utc>,
    /// Why the row is not a valid event: a code, and the reason for people. The other columns are then left out.
    pub flaw: Option<(&'static str, &'static str)>,
}

impl Entry {
    /// The most bytes that a bus needs for it. The envelope's own are fewer than 256, and the name stands beside it once more.
    pub fn bytes_max(&self) -> usize {
        // JSON may double a key's characters; payload and headers are JSON already.
        self.payload.len()
            + self.headers.as_ref().map_or(0, String::len)
            + 2 * self.key.as_ref().map_or(0, String::len)
            + 2 * self.name.len()
            + 256
    }

    /// The event's envelope.
    ///
    /// # Errors
    ///
    /// Why the event can't travel. A row that was written without `outbox.enqueue` may hold anything.
    pub fn envelope(&self) -> Result<Envelope<'_>, PutError> {
        if let Some((code, reason)) = self.flaw {
            return Err(PutError::refused(code, reason));
        }
        let malformed = |reason: &str| PutError::refused("MalformedDetail", reason);
        let payload: &RawValue = serde_json::from_str(&self.payload).map_err(|error| {
            malformed(&format!("the payload is not JSON (line {} column {})", error.line(), error.column()))
        })?;
        if !payload.get().starts_with('{') {
            return Err(malformed("the payload is not a JSON object"));
        }
        let headers: Headers = match &self.headers {
            None => Headers::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|_| malformed("the headers are not a JSON object of texts"))?,
        };
        Ok(Envelope {
            id: self.id,
            name: self.name.as_str().into(),
            key: self.key.as_deref().map(Into::into),
            occurred_at: self.occurred_at,
            headers,
            payload: Cow::Borrowed(payload),
        })
    }
}

/// Shows neither payload nor headers.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("seq", &self.seq)
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
