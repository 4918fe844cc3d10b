use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::EventId;

/// Lower-case names and their values, among them `traceparent`.
pub type Headers = BTreeMap<String, String>;

/// An event as it travels on the bus. The relay sends the publisher's payload bytes; EventBridge may reformat the JSON.
#[derive(Clone, Serialize, Deserialize)]
pub struct Envelope<'a> {
    pub id: EventId,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub key: Option<Cow<'a, str>>,
    #[serde(serialize_with = "rfc3339_millis")]
    pub occurred_at: DateTime<Utc>,
    /// The database that it was published in, by its name at the relay. Messages of older relays have none.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    /// Its place among the events of its source. Of one key, a later transaction's event has a higher one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    #[serde(default)]
    pub headers: Headers,
    #[serde(borrow)]
    pub payload: Cow<'a, RawValue>,
}

impl Envelope<'_> {
    /// The same, whose payload is not copied.
    pub fn borrowed(&self) -> Envelope<'_> {
        Envelope {
            id: self.id,
            name: Cow::Borrowed(&self.name),
            key: self.key.as_deref().map(Cow::Borrowed),
            occurred_at: self.occurred_at,
            source: self.source.as_deref().map(Cow::Borrowed),
            sequence: self.sequence,
            headers: self.headers.clone(),
            payload: Cow::Borrowed(&self.payload),
        }
    }

    /// The same, that outlives what it was read from.
    pub fn into_owned(self) -> Envelope<'static> {
        Envelope {
            id: self.id,
            name: self.name.into_owned().into(),
            key: self.key.map(|key| key.into_owned().into()),
            occurred_at: self.occurred_at,
            source: self.source.map(|source| source.into_owned().into()),
            sequence: self.sequence,
            headers: self.headers,
            payload: Cow::Owned(self.payload.into_owned()),
        }
    }
}

/// The body of a queue's message, on every transport: which RPC runs, and with what.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message<'a> {
    #[serde(borrow)]
    pub rpc: Cow<'a, str>,
    #[serde(borrow)]
    pub event: Envelope<'a>,
}

impl<'a> Message<'a> {
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("maps with string keys always serialize")
    }

    /// The error gives the position and never quotes the body.
    pub fn decode(body: &'a str) -> Result<Self, MessageError> {
        serde_json::from_str(body).map_err(MessageError)
    }

    /// The same, that outlives its body.
    pub fn into_owned(self) -> Message<'static> {
        Message { rpc: self.rpc.into_owned().into(), event: self.event.into_owned() }
    }
}

/// The body of a message is not a valid [`Message`].
#[derive(Debug)]
pub struct MessageError(serde_json::Error);

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0.classify() {
            serde_json::error::Category::Data => "a field is missing or of the wrong type",
            serde_json::error::Category::Eof => "it ends too early",
            _ => "it is not JSON",
        };
        write!(f, "malformed message: {what}, at line {} column {}", self.0.line(), self.0.column())
    }
}

impl std::error::Error for MessageError {}

/// Shows everything but the payload and the headers' values, which may be secret.
impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("occurred_at", &self.occurred_at)
            .field("payload_bytes", &self.payload.get().len())
            .finish_non_exhaustive()
    }
}

fn rfc3339_millis<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;

    use super::*;

    const BODY: &str = r#"{"rpc":"NotificationService/NotifyHogeUpdated","event":{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_hoge_updated","key":"hoge-1","occurred_at":"2026-11-22T03:04:05.678Z","source":"cards","sequence":42,"headers":{"traceparent":"00-aa-bb-01"},"payload":{"z":1.0,"a":"\u00e9"}}}"#;

    /// Guards: the payload passes through byte for byte, and the format on the wire stays what it is.
    #[test]
    fn a_message_survives_the_round_trip_byte_for_byte() {
        let message = Message::decode(BODY).unwrap();
        assert_eq!(message.event.payload.get(), r#"{"z":1.0,"a":"\u00e9"}"#);
        assert_eq!(message.encode(), BODY);
        let owned = message.into_owned();
        assert_eq!(owned.encode(), BODY);
        assert_eq!(Message { rpc: owned.rpc.clone(), event: owned.event.borrowed() }.encode(), BODY);
    }

    /// Guards promise 2: messages of a relay that wrote neither source nor sequence are read.
    #[test]
    fn an_older_message_is_read() {
        let older = BODY.replace(r#""source":"cards","sequence":42,"#, "");
        assert_ne!(older, BODY);
        let message = Message::decode(&older).unwrap();
        assert_eq!((message.event.source.as_deref(), message.event.sequence), (None, None));
        assert_eq!(message.encode(), older);
    }

    /// Guards: nothing that comes out of a queue can panic a worker, and no error quotes a payload.
    #[test]
    fn malformed_bodies_are_errors_with_a_position_and_no_content() {
        for body in ["", "{", "[]", "null", r#"{"rpc":"A/B"}"#, r#"{"rpc":"A/B","event":{"id":"secret-7"}}"#]
        {
            let error = Message::decode(body).unwrap_err().to_string();
            assert!(error.contains("at line"), "{body}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for end in 0..BODY.len() {
            assert!(Message::decode(&BODY[..end]).is_err());
        }
    }

    /// Guards: payloads never reach a log, not even through `{:?}`.
    #[test]
    fn debug_shows_no_payload() {
        let shown = format!("{:?}", Message::decode(BODY).unwrap());
        assert!(
            shown.contains("event_hoge_updated") && !shown.contains("\\u00e9") && !shown.contains("00-aa")
        );
    }

    /// JSON with any spacing, as publishers may write it.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|it| json!(it)),
            any::<i64>().prop_map(|it| json!(it)),
            any::<f64>().prop_map(|it| json!(it)),
            any::<String>().prop_map(|it| json!(it)),
        ];
        let value = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(|it| json!(it)),
                btree_map(any::<String>(), inner, 0..4).prop_map(|it| json!(it)),
            ]
        });
        (btree_map(any::<String>(), value, 0..4), any::<bool>()).prop_map(|(object, spaced)| {
            let write = if spaced { serde_json::to_string_pretty } else { serde_json::to_string };
            write(&object).unwrap()
        })
    }

    /// From 1970 to 9999, in milliseconds.
    fn time() -> impl Strategy<Value = DateTime<Utc>> {
        (0..253_402_300_799_999_i64).prop_map(|ms| DateTime::from_timestamp_millis(ms).unwrap())
    }

    #[derive(Debug, Clone)]
    struct Parts {
        rpc: String,
        id: EventId,
        name: String,
        key: Option<String>,
        occurred_at: DateTime<Utc>,
        place: Option<(String, i64)>,
        headers: Headers,
        payload: String,
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let texts = || btree_map(any::<String>(), any::<String>(), 0..4);
        let place = any::<Option<(String, i64)>>();
        let of_event =
            (any::<u128>(), any::<String>(), any::<Option<String>>(), time(), place, texts(), json());
        (any::<String>(), of_event).prop_map(
            |(rpc, (id, name, key, occurred_at, place, headers, payload))| {
                let id = uuid::Uuid::from_u128(id).into();
                Parts { rpc, id, name, key, occurred_at, place, headers, payload }
            },
        )
    }

    impl Parts {
        fn body(&self) -> String {
            let event = Envelope {
                id: self.id,
                name: self.name.as_str().into(),
                key: self.key.as_deref().map(Into::into),
                occurred_at: self.occurred_at,
                source: self.place.as_ref().map(|place| place.0.as_str().into()),
                sequence: self.place.as_ref().map(|place| place.1),
                headers: self.headers.clone(),
                payload: serde_json::from_str(&self.payload).unwrap(),
            };
            Message { rpc: self.rpc.as_str().into(), event }.encode()
        }
    }

    proptest! {
        /// Guards: the worker reads back every message that the relay can write.
        #[test]
        fn every_message_survives_the_round_trip(parts in parts()) {
            let body = parts.body();
            let Message { rpc, event } = Message::decode(&body).unwrap();
            prop_assert_eq!(rpc.as_ref(), &parts.rpc);
            prop_assert_eq!(event.id, parts.id);
            prop_assert_eq!(event.name.as_ref(), &parts.name);
            prop_assert_eq!(event.key.as_deref(), parts.key.as_deref());
            prop_assert_eq!(event.occurred_at, parts.occurred_at);
            prop_assert_eq!(event.source.as_deref().map(str::to_owned).zip(event.sequence), parts.place);
            prop_assert_eq!(&event.headers, &parts.headers);
            prop_assert_eq!(event.payload.get(), &parts.payload);
        }

        /// Guards: nothing that comes out of a queue can panic a worker.
        #[test]
        fn no_text_panics(text in any::<String>()) {
            if let Err(error) = Message::decode(&text) {
                prop_assert!(error.to_string().contains("at line"));
            }
        }

        /// Guards: no damaged message can panic a worker.
        #[test]
        fn no_damaged_message_panics(parts in parts(), damage in vec((any::<Index>(), any::<u8>()), 1..5)) {
            let mut bytes = parts.body().into_bytes();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Err(error) = Message::decode(&String::from_utf8_lossy(&bytes)) {
                prop_assert!(error.to_string().contains("at line"));
            }
        }
    }
}
