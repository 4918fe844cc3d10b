//! An `outbox send` to paste, made from an event of the developer's own proto.

use outbox_contract::{Contract, EventType};
use outbox_event_router::Router;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::json;

use crate::safe::word;
use crate::send::payload;

const FIELDS_MAX: usize = 4;
const DEPTH_MAX: usize = 2;

/// `None` if proto has no event.
pub(super) fn command(contract: &Contract, router: &Router) -> Option<String> {
    let has_subscriber = |event: &&EventType| !router.subscribers(&event.name).is_empty();
    let event = contract.events().find(has_subscriber).or_else(|| contract.events().next())?;
    let payload = message(&event.message, event.key.as_ref(), 0);
    let payload = if payload::check(event, &payload).is_ok() { payload } else { "{}".to_owned() };
    Some(format!("outbox send {} {}", word(&event.name), word(&payload)))
}

/// The key, and the first other fields, as JSON in this order.
fn message(message: &MessageDescriptor, key: Option<&FieldDescriptor>, depth: usize) -> String {
    let mut fields = Vec::new();
    let is_key = |field: &FieldDescriptor| key.is_some_and(|key| key.number() == field.number());
    let (first, others): (Vec<_>, Vec<_>) = message.fields().partition(is_key);
    for field in first.into_iter().chain(others) {
        let is_single = !field.is_list() && !field.is_map();
        let in_oneof = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
        if fields.len() < FIELDS_MAX
            && is_single
            && !in_oneof
            && let Some(value) = value(&field, depth)
        {
            fields.push(format!("{}:{value}", json!(field.json_name())));
        }
    }
    format!("{{{}}}", fields.join(","))
}

/// As JSON.
fn value(field: &FieldDescriptor, depth: usize) -> Option<String> {
    let value = match field.kind() {
        Kind::String | Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
            json!("1")
        }
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => json!(1),
        Kind::Double | Kind::Float => json!(1.5),
        Kind::Bool => json!(true),
        Kind::Bytes => json!("AQ=="),
        Kind::Enum(of) => json!(of.values().find(|value| value.number() != 0)?.name()),
        Kind::Message(of) => match of.full_name() {
            "google.protobuf.Timestamp" => json!("2026-01-31T12:00:00Z"),
            "google.protobuf.Duration" => json!("1.5s"),
            name if name.starts_with("google.protobuf.") || depth >= DEPTH_MAX => return None,
            _ => return Some(message(&of, None, depth + 1)),
        },
    };
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use outbox_contract::Sources;

    use super::*;

    const PROTO: &str = r#"syntax = "proto3";
package acme.v1;
import "google/protobuf/timestamp.proto";
import "outbox/options.proto";
enum Event { EVENT_UNSPECIFIED = 0; EVENT_CARD_ISSUED = 1; EVENT_BARE = 2; }
message Holder { string name = 1; Holder self = 2; }
message CardIssuedEvent {
  int64 amount = 1;
  google.protobuf.Timestamp issued_at = 2;
  string card_id = 3 [(outbox.key) = true];
  Holder holder = 4;
  string fifth = 5;
}
message BareEvent {}
"#;

    /// Guards: the example that `outbox dev` shows is an event of the developer's own, and `outbox send` takes it.
    #[test]
    fn the_example_is_of_the_developers_proto() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("card.proto"), PROTO).unwrap();
        let sources = Sources { protos: vec![dir.path().to_owned()], ..Sources::default() };
        let contract = sources.read().unwrap_or_else(|error| panic!("{error}"));
        let router = Router::parse(
            "r.yaml",
            "event:\n  - name: event_card_issued\n    subscriber:\n      - id: NotifyService/Notify\n",
        )
        .unwrap();
        let command_of = |router: &Router| command(&contract, router).unwrap();
        let holder = r#"{"name":"1","self":{"name":"1"}}"#;
        let payload =
            format!(r#"{{"cardId":"1","amount":"1","issuedAt":"2026-01-31T12:00:00Z","holder":{holder}}}"#);
        assert_eq!(command_of(&router), format!("outbox send event_card_issued '{payload}'"));
        assert_eq!(command_of(&Router::default()), "outbox send event_bare '{}'");
    }
}
