//! Checks a payload against its event's message, and writes it as the library does: canonical proto3 JSON. No message quotes a
//! value.

use outbox_contract::EventType;
use outbox_event::{PAYLOAD_BYTES_MAX, payload};
use outbox_finding::closest;
use outbox_worker::rpc::fields_of;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;
use serde_path_to_error::{Path, Track};

use crate::safe::line;
use crate::stopped::Stopped;

const NAME_CHARS_MAX: usize = 200;
const NAMES_MAX: usize = 8;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) payload: String,
    /// As `(outbox.key)` says. There is none if its field is not set, an empty text, or a 0 that is not `optional`.
    pub(crate) key: Option<String>,
}

pub(crate) fn check(event: &EventType, text: &str) -> Result<Checked, Stopped> {
    let name = &event.name;
    let json: Json = serde_json::from_str(text).map_err(|error| {
        Stopped::unusable(
            format!("the payload is no JSON, at line {} column {}", error.line(), error.column()),
            "write it in single quotes: '{\"cardId\":\"1\"}'; or pipe it in, with - as the payload",
        )
    })?;
    if let Some(problem) = payload::problem(text, payload::DEPTH_MAX) {
        let remedy = format!("write the fields of {} as one JSON object", event.message.full_name());
        return Err(Stopped::unusable(format!("the payload {problem}"), remedy));
    }
    if let Some(unknown) = unknown(&event.message, &json, "") {
        return Err(unknown);
    }
    let message = read(&event.message, text)?;
    let payload = serde_json::to_string(&message).map_err(|_| {
        Stopped::unusable(
            format!("a value of {name} can't be written as JSON"),
            "see the range of its type in proto3's JSON mapping",
        )
    })?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Stopped::unusable(
            format!("the payload is {} bytes; at most {PAYLOAD_BYTES_MAX} fit on the bus", payload.len()),
            "put large data where the subscriber can fetch it, and its address in the event",
        ));
    }
    Ok(Checked { payload, key: event.key.as_ref().and_then(|field| key(&message, field)) })
}

fn key(message: &DynamicMessage, field: &FieldDescriptor) -> Option<String> {
    if !message.has_field(field) {
        return None;
    }
    match &*message.get_field(field) {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::I32(number) => Some(number.to_string()),
        Value::I64(number) => Some(number.to_string()),
        Value::U32(number) => Some(number.to_string()),
        Value::U64(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The first field that a message does not have. The types of Google have a JSON of their own.
fn unknown(message: &MessageDescriptor, json: &Json, path: &str) -> Option<Stopped> {
    let Json::Object(object) = json else { return None };
    if message.full_name().starts_with("google.protobuf.") {
        return None;
    }
    object.iter().find_map(|(name, value)| {
        let Some(field) = field_of(message, name) else { return Some(no_field(message, name, path)) };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (field.kind(), value) {
            (Kind::Message(entry), Json::Object(values)) if field.is_map() => {
                let Kind::Message(of_value) = entry.map_entry_value_field().kind() else { return None };
                values.values().find_map(|value| unknown(&of_value, value, &format!("{path}[…]")))
            }
            (Kind::Message(item), Json::Array(items)) if field.is_list() => items
                .iter()
                .enumerate()
                .find_map(|(at, value)| unknown(&item, value, &format!("{path}[{at}]"))),
            (Kind::Message(nested), value) => unknown(&nested, value, &path),
            _ => None,
        }
    })
}

/// By its name in JSON, or as it stands in proto.
fn field_of(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
}

fn no_field(message: &MessageDescriptor, name: &str, path: &str) -> Stopped {
    let fields: Vec<String> = message.fields().map(|field| field.json_name().to_owned()).collect();
    let remedy = match closest(name, fields.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None if fields.is_empty() => "the message has no fields".to_owned(),
        None => format!("it has {}", listed(&fields)),
    };
    let within = if path.is_empty() { String::new() } else { format!(" ('{path}')") };
    let name = line(name, NAME_CHARS_MAX);
    Stopped::unusable(format!("{}{within} has no field '{name}'", message.full_name()), remedy)
}

fn listed(names: &[String]) -> String {
    let more = if names.len() > NAMES_MAX { ", …" } else { "" };
    format!("{}{more}", names.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", "))
}

fn read(message: &MessageDescriptor, text: &str) -> Result<DynamicMessage, Stopped> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    DynamicMessage::deserialize_with_options(message.clone(), tracked, &DeserializeOptions::new())
        .map_err(|_| unfit(message, &track.path()))
}

/// The library's error quotes the value.
fn unfit(message: &MessageDescriptor, path: &Path) -> Stopped {
    let (shown, field) = fields_of(message, path, FieldDescriptor::json_name);
    match field {
        Some(field) => Stopped::unusable(
            format!("the field '{shown}' is not what proto says"),
            format!("it is {}", expected(&field)),
        ),
        None => Stopped::unusable(
            format!("the payload is not what {} says", message.full_name()),
            "compare it with proto; a field of a oneof may be set only once",
        ),
    }
}

fn expected(field: &FieldDescriptor) -> String {
    if field.is_map() {
        return "a map: {\"key\": …}".to_owned();
    }
    let one = match field.kind() {
        Kind::String => "a text: \"…\"".to_owned(),
        Kind::Bytes => "bytes, in base64: \"AQI=\"".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Double | Kind::Float => "a number".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            "a whole number of 64 bits, as a text: \"1\"".to_owned()
        }
        Kind::Uint64 | Kind::Fixed64 => {
            "a whole number of 64 bits that is not negative, as a text: \"1\"".to_owned()
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits: 1".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "a whole number of 32 bits that is not negative: 1".to_owned(),
        Kind::Enum(of) => {
            let names: Vec<String> = of.values().map(|value| value.name().to_owned()).collect();
            format!("one of {}", listed(&names))
        }
        Kind::Message(of) => match of.full_name() {
            "google.protobuf.Timestamp" => "a time: \"2026-01-31T12:00:00Z\"".to_owned(),
            "google.protobuf.Duration" => "a duration: \"1.5s\"".to_owned(),
            name => format!("{name}, as an object: {{…}}"),
        },
    };
    if field.is_list() { format!("a list, and each item is {one}") } else { one }
}

#[cfg(test)]
mod tests {
    use outbox_contract::{Contract, Sources};

    use super::*;

    const PROTO: &str = r#"syntax = "proto3";
package acme.v1;
import "google/protobuf/timestamp.proto";
import "outbox/options.proto";
enum Event { EVENT_UNSPECIFIED = 0; EVENT_CARD_ISSUED = 1; EVENT_COUNTED = 2; }
enum Kind { KIND_UNSPECIFIED = 0; KIND_GOLD = 1; }
message Holder { string full_name = 1; }
message CardIssuedEvent {
  string card_id = 1 [(outbox.key) = true];
  int64 amount = 2;
  Kind kind = 3;
  Holder holder = 4;
  repeated Holder others = 5;
  map<string, Holder> by_role = 6;
  google.protobuf.Timestamp issued_at = 7;
}
message CountedEvent { optional int64 count = 1 [(outbox.key) = true]; }
"#;

    fn contract() -> Contract {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("card.proto"), PROTO).unwrap();
        let sources = Sources { protos: vec![dir.path().to_owned()], ..Sources::default() };
        sources.read().unwrap_or_else(|error| panic!("{error}"))
    }

    fn checked(event: &str, text: &str) -> Result<Checked, Stopped> {
        check(contract().event(event).unwrap(), text)
    }

    /// Guards: a payload is written as the library writes it, and its key is the one that proto marks.
    #[test]
    fn payloads_become_canonical() {
        for (event, text, payload, key) in [
            ("event_card_issued", r#"{"cardId":"1"}"#, r#"{"cardId":"1"}"#, Some("1")),
            (
                "event_card_issued",
                r#" { "card_id": "1", "amount": 5 }"#,
                r#"{"cardId":"1","amount":"5"}"#,
                Some("1"),
            ),
            ("event_card_issued", r#"{"cardId":"","kind":1}"#, r#"{"kind":"KIND_GOLD"}"#, None),
            ("event_card_issued", "{}", "{}", None),
            ("event_counted", r#"{"count":0}"#, r#"{"count":"0"}"#, Some("0")),
            ("event_counted", "{}", "{}", None),
        ] {
            let expected = Checked { payload: payload.to_owned(), key: key.map(str::to_owned) };
            assert_eq!(checked(event, text).unwrap(), expected, "{text}");
        }
    }

    /// Guards: a mistake is named with its place and its remedy, and no value is shown.
    #[test]
    fn mistakes_teach() {
        for (text, problem, remedy) in [
            ("{cardId: 1}", "is no JSON, at line 1 column 2", "single quotes"),
            ("[]", "the payload is not a JSON object", "one JSON object"),
            (r#"{"cardId":"a","cardId":"b"}"#, "has a key twice", "one JSON object"),
            (r#"{"cardIdd":"secret-7"}"#, "has no field 'cardIdd'", "did you mean 'cardId'?"),
            (r#"{"zzzzzzzz":"secret-7"}"#, "has no field 'zzzzzzzz'", "it has cardId, amount, kind"),
            (
                r#"{"holder":{"fullNam":"x"}}"#,
                "acme.v1.Holder ('holder') has no field",
                "did you mean 'fullName'?",
            ),
            (r#"{"others":[{},{"a":1}]}"#, "('others[1]') has no field 'a'", "it has fullName"),
            (r#"{"byRole":{"x":{"a":1}}}"#, "('byRole[…]') has no field 'a'", "it has fullName"),
            (r#"{"cardId":77}"#, "the field 'cardId' is not", "it is a text"),
            (r#"{"amount":"secret-7"}"#, "the field 'amount' is not", "64 bits"),
            (r#"{"kind":"KIND_GOULD"}"#, "the field 'kind' is not", "one of KIND_UNSPECIFIED, KIND_GOLD"),
            (r#"{"issuedAt":"secret-7"}"#, "the field 'issuedAt' is not", "a time"),
            (r#"{"others":[{"fullName":[]}]}"#, "the field 'others[0].fullName' is not", "a text"),
        ] {
            let stopped = checked("event_card_issued", text).unwrap_err();
            assert!(stopped.problem.contains(problem), "{text}: {stopped:?}");
            assert!(stopped.remedy.contains(remedy), "{text}: {stopped:?}");
            assert!(!format!("{stopped:?}").contains("secret"), "{stopped:?}");
        }
    }
}
