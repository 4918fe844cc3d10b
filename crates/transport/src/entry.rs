use std::borrow::Cow;

use chrono::{DateTime, Utc};
use outbox_event::rules::{HEADERS_BYTES_MAX, KEY_BYTES_MAX, header_problem, is_event_name};
use outbox_event::{Envelope, EventId, Headers, PAYLOAD_BYTES_MAX, payload};
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
    /// The most bytes that a bus needs for it. The envelope's own are fewer than 256. Its source has at most 256, and its
    /// source and its name stand beside it once more.
    pub fn bytes_max(&self) -> usize {
        // JSON may double a key's characters; payload and headers are JSON already.
        self.payload.len()
            + self.headers.as_ref().map_or(0, String::len)
            + 2 * self.key.as_ref().map_or(0, String::len)
            + 2 * self.name.len()
            + 3 * 256
    }

    /// The event's envelope, of the source with this name.
    ///
    /// # Errors
    ///
    /// Why the event can't travel. A row that was written without `outbox.enqueue` may hold anything. No error quotes it.
    pub fn envelope<'a>(&'a self, source: &'a str) -> Result<Envelope<'a>, PutError> {
        if let Some((code, reason)) = self.flaw {
            return Err(PutError::refused(code, reason));
        }
        if !is_event_name(&self.name) {
            let reason = "its name is not lower_snake_case of at most 128 characters";
            return Err(PutError::refused("MalformedEvent", reason));
        }
        self.fits()?;
        Ok(Envelope {
            id: self.id,
            name: self.name.as_str().into(),
            key: self.key.as_deref().map(Into::into),
            occurred_at: self.occurred_at,
            source: Some(source.into()),
            sequence: Some(self.seq),
            headers: self.headers()?,
            payload: Cow::Borrowed(self.payload()?),
        })
    }

    fn fits(&self) -> Result<(), PutError> {
        let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        for (what, bytes, bytes_max) in [
            ("payload is", self.payload.len(), PAYLOAD_BYTES_MAX),
            ("key is", bytes(&self.key), KEY_BYTES_MAX),
            ("headers are", bytes(&self.headers), HEADERS_BYTES_MAX),
        ] {
            if bytes > bytes_max {
                let reason = format!("its {what} {bytes} bytes; at most {bytes_max} are allowed");
                return Err(PutError::refused("EntryTooLarge", reason));
            }
        }
        Ok(())
    }

    fn payload(&self) -> Result<&RawValue, PutError> {
        let payload: &RawValue = serde_json::from_str(&self.payload).map_err(|error| {
            malformed(&format!("the payload is not JSON (line {} column {})", error.line(), error.column()))
        })?;
        // Only publishers limit the depth of a payload.
        match payload::problem(payload.get(), usize::MAX) {
            Some(problem) => Err(malformed(&format!("the payload {problem}"))),
            None => Ok(payload),
        }
    }

    fn headers(&self) -> Result<Headers, PutError> {
        let Some(text) = &self.headers else { return Ok(Headers::new()) };
        let headers: Headers = serde_json::from_str(text)
            .map_err(|_| malformed("the headers are not a JSON object of texts"))?;
        match headers.iter().find_map(|(name, value)| header_problem(name, value)) {
            Some(problem) => Err(malformed(&format!("a header {problem}"))),
            None => Ok(headers),
        }
    }
}

fn malformed(reason: &str) -> PutError {
    PutError::refused("MalformedDetail", reason)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 6 and 8: a row that breaks the publishers' rules is refused with a code, and with a reason that quotes
    /// nothing. All other rows travel.
    #[test]
    fn what_is_no_event_does_not_travel() {
        let sound = Entry {
            seq: 1,
            id: EventId::new(),
            name: "event_one".to_owned(),
            key: Some("k".repeat(KEY_BYTES_MAX)),
            payload: " {\"a\":{\"b\":[1,{\"a\":\"\\u00e9 \\\" \\\\\"}]},\"b\":1e308}\n".to_owned(),
            headers: Some(r#"{"tenant":"t-1","traceparent":"00-aa-bb-01"}"#.to_owned()),
            occurred_at: Utc::now(),
            flaw: None,
        };
        let travels = sound.envelope("cards").unwrap();
        assert_eq!((travels.payload.get(), travels.headers.len()), (sound.payload.trim(), 2));
        assert_eq!((travels.source.as_deref(), travels.sequence), (Some("cards"), Some(1)));
        // Only `enqueue` bounds the depth. A deeper payload that was inserted without it is delivered.
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(Entry { payload: deep, ..sound.clone() }.envelope("cards").is_ok());

        let many = (0..40).map(|n| format!("\"k{}\":1", n % 39)).collect::<Vec<_>>().join(",");
        let name = |name: &str| Entry { name: name.to_owned(), ..sound.clone() };
        let payload = |payload: &str| Entry { payload: payload.to_owned(), ..sound.clone() };
        let headers = |headers: &str| Entry { headers: Some(headers.to_owned()), ..sound.clone() };
        for (entry, expected) in [
            (name(""), "MalformedEvent: its name is not lower_snake_case of at most 128 characters"),
            (name("Secret"), "MalformedEvent: its name is not lower_snake_case of at most 128 characters"),
            (payload("secret"), "MalformedDetail: the payload is not JSON (line 1 column 1)"),
            (payload("[\"secret\"]"), "MalformedDetail: the payload is not a JSON object"),
            (
                payload(r#"{"secret":1,"secret":2}"#),
                "MalformedDetail: the payload has a key twice in one object",
            ),
            (payload(&format!("{{{many}}}")), "MalformedDetail: the payload has a key twice in one object"),
            (
                payload(r#"{"secret":"\ud800"}"#),
                "MalformedDetail: the payload has an escape that stands for no character: \\u0000, or half of a surrogate pair",
            ),
            (
                payload(r#"{"secret":-1e309}"#),
                "MalformedDetail: the payload has a number beyond what a double holds",
            ),
            (
                payload(&"x".repeat(PAYLOAD_BYTES_MAX + 1)),
                "EntryTooLarge: its payload is 245761 bytes; at most 245760 are allowed",
            ),
            (
                Entry { key: Some("é".repeat(257)), ..sound.clone() },
                "EntryTooLarge: its key is 514 bytes; at most 512 are allowed",
            ),
            (
                headers(&"x".repeat(8193)),
                "EntryTooLarge: its headers are 8193 bytes; at most 8192 are allowed",
            ),
            (headers("[]"), "MalformedDetail: the headers are not a JSON object of texts"),
            (
                headers(r#"{"host":"secret"}"#),
                "MalformedDetail: a header is reserved: the call to the RPC sets it itself",
            ),
            (
                headers(r#"{"tenant":"secret é"}"#),
                "MalformedDetail: a header has a value that is not printable ASCII",
            ),
        ] {
            let error = entry.envelope("cards").unwrap_err();
            assert_eq!(format!("{}: {}", error.code, error.reason), expected);
        }
    }
}
