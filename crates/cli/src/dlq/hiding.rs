//! Fields that proto marks with (outbox.sensitive): their values are never shown.

use std::path::PathBuf;

use outbox_contract::{Contract, Sources};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::stopped::Stopped;

pub(super) const HIDDEN: &str = "•••";

#[derive(Debug, clap::Args)]
pub(super) struct Hiding {
    /// With --payload: a directory of .proto files, or a descriptor set. Fields with (outbox.sensitive) are then hidden. Repeat for
    /// several directories.
    #[arg(long, default_value = "proto", env = "OUTBOX_PROTO", value_name = "PATH")]
    proto: Vec<PathBuf>,

    /// With --payload: show none whose message is not in proto, because it is not known what must be hidden.
    #[arg(long)]
    proto_needed: bool,
}

impl Hiding {
    pub(super) fn needs_proto(&self) -> bool {
        self.proto_needed
    }

    /// `None` if there is no proto here, and none is needed.
    pub(super) fn contract(&self) -> Result<Option<Contract>, Stopped> {
        let sources = Sources { protos: self.proto.clone(), ..Sources::default() };
        match sources.read() {
            Ok(contract) => Ok(Some(contract)),
            Err(_) if !self.proto_needed => Ok(None),
            Err(_) => {
                let paths: Vec<String> = self.proto.iter().map(|path| path.display().to_string()).collect();
                Err(Stopped::unusable(
                    format!(
                        "{} can't be read as proto, so it is not known which fields must be hidden",
                        paths.join(", ")
                    ),
                    "set OUTBOX_PROTO to your .proto files; `outbox check` says what is wrong with them",
                ))
            }
        }
    }

    /// The payload with what must be hidden, and whether proto has its message. `None` if it may not be shown.
    pub(super) fn shown(
        &self,
        contract: Option<&Contract>,
        event: &str,
        payload: &RawValue,
    ) -> (Option<Box<RawValue>>, bool) {
        let Some((contract, event)) = contract.and_then(|contract| Some((contract, contract.event(event)?)))
        else {
            return ((!self.proto_needed).then(|| payload.to_owned()), false);
        };
        let hidden = serde_json::from_str(payload.get()).ok().and_then(|value| {
            let hidden = hide(contract, &event.message, value);
            RawValue::from_string(hidden.to_string()).ok()
        });
        (hidden, true)
    }
}

/// Pure: what is marked, and what is not in proto, is hidden, at any depth. The types of Google have a JSON of their own.
fn hide(contract: &Contract, message: &MessageDescriptor, value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    if message.full_name().starts_with("google.protobuf.") {
        return Value::Object(fields);
    }
    let shown = fields.into_iter().map(|(name, value)| {
        let field = message.get_field_by_json_name(&name).or_else(|| message.get_field_by_name(&name));
        let value = match field {
            Some(field) if !contract.is_sensitive(&field) => hide_within(contract, &field, value),
            _ => Value::String(HIDDEN.to_owned()),
        };
        (name, value)
    });
    Value::Object(shown.collect())
}

fn hide_within(contract: &Contract, field: &FieldDescriptor, value: Value) -> Value {
    let Kind::Message(of) = field.kind() else { return value };
    match value {
        Value::Object(entries) if field.is_map() => {
            let Kind::Message(of_value) = of.map_entry_value_field().kind() else {
                return Value::Object(entries);
            };
            let hidden = entries.into_iter().map(|(key, value)| (key, hide(contract, &of_value, value)));
            Value::Object(hidden.collect())
        }
        Value::Array(items) => items.into_iter().map(|item| hide(contract, &of, item)).collect(),
        value => hide(contract, &of, value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROTO: &str = r#"
syntax = "proto3";
package acme.v1;
import "outbox/options.proto";
enum Event { EVENT_UNSPECIFIED = 0; EVENT_CARD_ISSUED = 1; }
message Person { string name = 1; string birthday = 2 [(outbox.sensitive) = true]; Person parent = 3; }
message CardIssuedEvent {
  string card_id = 1 [(outbox.key) = true];
  string card_number = 2 [(outbox.sensitive) = true];
  Person owner = 3;
  repeated Person others = 4;
  map<string, Person> by_role = 5;
  repeated string pins = 6 [(outbox.sensitive) = true];
  map<string, string> notes = 7;
}
"#;

    /// Guards: what proto marks is hidden at any depth, and so is what proto does not have.
    #[test]
    fn what_is_marked_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("event.proto"), PROTO).unwrap();
        let hiding = |proto_needed| Hiding { proto: vec![dir.path().to_owned()], proto_needed };
        let contract = hiding(false).contract().unwrap().unwrap();
        let person =
            |name: &str| json!({"name": name, "birthday": "PLANTED", "parent": {"birthday": "PLANTED"}});
        let payload = json!({
            "cardId": "7", "cardNumber": "PLANTED", "card_number": "PLANTED", "owner": person("ann"),
            "others": [person("bob")], "byRole": {"boss": person("eve")}, "pins": ["PLANTED"], "notes": {"a": "b"},
            "newerThanProto": {"PLANTED": 1},
        });
        let raw = serde_json::value::to_raw_value(&payload).unwrap();
        let (shown, is_known) = hiding(true).shown(Some(&contract), "event_card_issued", &raw);
        let shown = shown.unwrap().get().to_owned();
        assert!(is_known && !shown.contains("PLANTED"), "{shown}");
        for kept in
            [r#""cardId":"7""#, r#""cardNumber":"•••""#, "ann", "bob", "eve", r#""pins":"•••""#, r#""a":"b""#]
        {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        let (unknown, is_known) = hiding(false).shown(Some(&contract), "event_other", &raw);
        assert!(!is_known && unknown.is_some_and(|unknown| unknown.get() == raw.get()));
        assert!(hiding(true).shown(Some(&contract), "event_other", &raw).0.is_none());
        let nowhere = Hiding { proto: vec![dir.path().join("nowhere")], proto_needed: true };
        assert_eq!(nowhere.contract().unwrap_err().code(), 2);
    }
}
