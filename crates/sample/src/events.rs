//! The messages of `proto/event.proto` and of the requests that carry them, as proto3 JSON.

use std::borrow::Cow;

use outbox::Event;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HogeUpdatedEvent {
    #[prost(string, tag = "1")]
    pub hoge_id: String,
}

impl Event for HogeUpdatedEvent {
    const NAME: &'static str = "event_hoge_updated";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.hoge_id.as_str().into())
    }
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CardTransactionSettledEvent {
    #[prost(string, tag = "1")]
    pub transaction_id: String,
    #[prost(string, tag = "2")]
    pub card_id: String,
    #[prost(string, tag = "3")]
    pub merchant: String,
    #[prost(int64, tag = "4")]
    #[serde(with = "int64")]
    pub amount_minor: i64,
    #[prost(string, tag = "5")]
    pub currency: String,
}

impl Event for CardTransactionSettledEvent {
    const NAME: &'static str = "event_card_transaction_settled";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.card_id.as_str().into())
    }
}

/// The request of every subscribing RPC: it carries the event in its field `event`.
#[derive(Debug, Deserialize)]
pub struct EventRequest<E> {
    pub event: E,
}

/// proto3 JSON writes 64-bit integers as strings, which JavaScript can't round.
mod int64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Number(i64),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => text.parse().map_err(D::Error::custom),
            Either::Number(number) => Ok(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the payload is proto3 JSON, as any other language's protobuf library would write it.
    #[test]
    fn events_are_proto3_json() {
        let event = CardTransactionSettledEvent {
            transaction_id: "t-1".into(),
            card_id: "c-1".into(),
            merchant: "Café".into(),
            amount_minor: 9_007_199_254_740_993,
            currency: "JPY".into(),
        };
        let json = r#"{"transactionId":"t-1","cardId":"c-1","merchant":"Café","amountMinor":"9007199254740993","currency":"JPY"}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<CardTransactionSettledEvent>(json).unwrap(), event);
    }
}
