//! Fields that proto marks with (outbox.sensitive): their values are never shown.

mod fits; // values and kinds of fields

use std::path::PathBuf;

use outbox_contract::{Contract, Sources};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::stopped::Stopped;
use fits::{is_key_of, is_scalar_of, is_well_known};

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

/// Pure: what is marked, and what is not as proto says, is hidden, at any depth.
fn hide(contract: &Contract, message: &MessageDescriptor, value: Value) -> Value {
    if value.is_null() {
        return value;
    }
    if let Some(is_shown) = is_well_known(message.full_name(), &value) {
        return if is_shown { value } else { hidden() };
    }
    let Value::Object(fields) = value else { return hidden() };
    let shown = fields.into_iter().map(|(name, value)| {
        let field = message.get_field_by_json_name(&name).or_else(|| message.get_field_by_name(&name));
        let value = match field {
            Some(field) if !contract.is_sensitive(&field) => hide_within(contract, &field, value),
            _ => hidden(),
        };
        (name, value)
    });
    Value::Object(shown.collect())
}

fn hide_within(contract: &Contract, field: &FieldDescriptor, value: Value) -> Value {
    let of_kind = |kind: &Kind, value: Value| match kind {
        Kind::Message(of) => hide(contract, of, value),
        _ if is_scalar_of(kind, &value) => value,
        _ => hidden(),
    };
    match (field.kind(), value) {
        (_, Value::Null) => Value::Null,
        (Kind::Message(entry), Value::Object(entries)) if field.is_map() => {
            if !entries.keys().all(|key| is_key_of(field, key)) {
                return hidden();
            }
            let kind = entry.map_entry_value_field().kind();
            Value::Object(entries.into_iter().map(|(key, value)| (key, of_kind(&kind, value))).collect())
        }
        (kind, Value::Array(items)) if field.is_list() => {
            items.into_iter().map(|item| of_kind(&kind, item)).collect()
        }
        _ if field.is_map() || field.is_list() => hidden(),
        (kind, value) => of_kind(&kind, value),
    }
}

fn hidden() -> Value {
    Value::String(HIDDEN.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROTO: &str = r#"
syntax = "proto3";
package acme.v1;
import "outbox/options.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
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
  int64 amount = 8;
  bool is_virtual = 9;
  Event kind = 10;
  bytes hash = 11;
  double rate = 12;
  google.protobuf.Timestamp at = 13;
  google.protobuf.Duration lasts = 14;
  google.protobuf.StringValue alias = 15;
  google.protobuf.Int64Value limit = 16;
  google.protobuf.Any any = 17;
  google.protobuf.Struct free = 18;
  google.protobuf.Value one = 19;
  google.protobuf.ListValue list = 20;
  google.protobuf.Empty nothing = 21;
  google.protobuf.FieldMask mask = 22;
  map<int32, int32> counts = 23;
  repeated int32 numbers = 24;
}
"#;

    /// Guards: what is not as proto says is hidden, whatever kind the field has. So is what proto says nothing of: any message, any
    /// JSON.
    #[test]
    fn what_has_another_kind_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("event.proto"), PROTO).unwrap();
        let hiding = Hiding { proto: vec![dir.path().to_owned()], proto_needed: true };
        let contract = hiding.contract().unwrap().unwrap();
        let shown = |value: Value| {
            let raw = serde_json::value::to_raw_value(&value).unwrap();
            let (shown, _) = hiding.shown(Some(&contract), "event_card_issued", &raw);
            serde_json::from_str::<Value>(shown.unwrap().get()).unwrap()
        };
        for kept in [
            json!({"amount": 7, "isVirtual": true, "kind": "EVENT_CARD_ISSUED", "hash": "aGk=", "rate": 0.5}),
            json!({"amount": "7", "kind": 1, "rate": "NaN", "numbers": [1, "2"], "counts": {"1": 2}}),
            json!({"at": "2026-11-22T03:04:05.678Z", "lasts": "-1.5s", "alias": "a", "limit": "7"}),
            json!({"nothing": {}, "mask": "owner.name,cardId", "owner": null, "amount": null, "others": [null]}),
            json!({"owner": {"name": "ann", "parent": {}}, "others": [], "byRole": {}, "counts": null}),
        ] {
            assert_eq!(shown(kept.clone()), kept);
        }
        let (text, object, list) = (json!("4111"), json!({"pan": "4111"}), json!(["4111"]));
        for (field, values) in [
            ("cardId", vec![json!(4111), json!(true), object.clone(), list.clone()]),
            ("amount", vec![json!("PAN"), json!(true), object.clone(), list.clone()]),
            ("isVirtual", vec![text.clone(), json!(4111), object.clone(), list.clone()]),
            ("kind", vec![text.clone(), json!(0.5), object.clone(), list.clone()]),
            ("hash", vec![json!("41 11"), json!(4111), object.clone(), list.clone()]),
            ("rate", vec![json!("PAN"), object.clone(), list.clone()]),
            ("numbers", vec![json!(4111), text.clone(), object.clone()]),
            ("counts", vec![text.clone(), json!(4111), list.clone(), json!({"PAN": 1})]),
            ("owner", vec![text.clone(), json!(4111), json!(true), list.clone()]),
            ("others", vec![text.clone(), object.clone()]),
            ("byRole", vec![text.clone(), list.clone()]),
            ("at", vec![text.clone(), json!(4111), object.clone(), list.clone()]),
            ("lasts", vec![json!("PANs"), json!(4111), object.clone(), list.clone()]),
            ("alias", vec![json!(4111), object.clone(), list.clone()]),
            ("limit", vec![json!("PAN"), object.clone(), list.clone()]),
            ("mask", vec![json!("41 11"), json!(4111), object.clone(), list.clone()]),
            ("nothing", vec![text.clone(), json!(4111), list.clone()]),
            ("any", vec![json!({"@type": "x", "pan": "4111"}), text.clone()]),
            ("free", vec![object.clone(), text.clone()]),
            ("one", vec![object.clone(), text.clone(), json!(4111), list.clone()]),
            ("list", vec![list.clone(), text.clone()]),
        ] {
            for value in values {
                assert_eq!(shown(json!({ field: value })), json!({ field: HIDDEN }), "{field}: {value}");
            }
        }
        for (within, hidden) in [
            (json!({"numbers": [1, "PAN"]}), json!({"numbers": [1, HIDDEN]})),
            (json!({"counts": {"1": "PAN"}}), json!({"counts": {"1": HIDDEN}})),
            (json!({"notes": {"a": ["4111"]}}), json!({"notes": {"a": HIDDEN}})),
            (json!({"others": ["4111"]}), json!({"others": [HIDDEN]})),
            (json!({"byRole": {"a": "4111"}}), json!({"byRole": {"a": HIDDEN}})),
            (json!({"owner": {"parent": "4111"}}), json!({"owner": {"parent": HIDDEN}})),
            (json!({"nothing": {"pan": "4111"}}), json!({"nothing": {"pan": HIDDEN}})),
            (text, json!(HIDDEN)),
            (list, json!(HIDDEN)),
        ] {
            assert_eq!(shown(within.clone()), hidden, "{within}");
        }
    }

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
