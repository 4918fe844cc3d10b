//! Writes a payload into the body of a request.

use std::collections::HashMap;

use outbox_contract::{Contract, carrier};
use outbox_event::Envelope;
use prost_reflect::prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment, Track};

use super::{By, CallError, Code, failed};

/// The field that carries an event, if no descriptors name one.
const FIELD: &str = "event";

/// How the requests of one RPC are written.
#[derive(Debug)]
pub(super) enum Body {
    /// The JSON name of the field that carries an event, by the event's name. Without proto, or for an event that proto does
    /// not have, it is `event`, if such a field is possible. The payload stays as it was published, with unknown fields.
    Json { fields: HashMap<String, String>, has_event: bool },
    /// The field itself, by the event's name.
    Binary(HashMap<String, FieldDescriptor>),
}

impl Body {
    /// For an RPC without descriptors.
    pub(super) fn json() -> Self {
        Self::Json { fields: HashMap::new(), has_event: true }
    }

    pub(super) fn json_of(contract: &Contract, method: &MethodDescriptor) -> Self {
        let request = method.input();
        let names = carriers(contract, &request).map(|(event, field)| (event, field.json_name().to_owned()));
        // A field `event` with the type of a known event is not for an unknown one.
        let of_known = |field: FieldDescriptor| match field.kind() {
            Kind::Message(message) => contract.events().any(|event| event.message == message),
            _ => true,
        };
        let has_event = request.get_field_by_json_name(FIELD).is_some_and(|field| !of_known(field));
        Self::Json { fields: names.collect(), has_event }
    }

    pub(super) fn binary_of(contract: &Contract, method: &MethodDescriptor) -> Self {
        Self::Binary(carriers(contract, &method.input()).collect())
    }

    pub(super) fn carries(&self, event: &str) -> bool {
        match self {
            Self::Json { fields, has_event } => *has_event || fields.contains_key(event),
            Self::Binary(fields) => fields.contains_key(event),
        }
    }

    pub(super) fn encode(&self, event: &Envelope<'_>) -> Result<Vec<u8>, CallError> {
        let no_field = || not_called(&format!("the request has no field for {}", event.name));
        match self {
            Self::Json { fields, has_event } => {
                let field = fields.get(event.name.as_ref()).map(String::as_str);
                let field = field.or(has_event.then_some(FIELD)).ok_or_else(no_field)?;
                // A JSON name may have any characters.
                let field = serde_json::Value::from(field);
                Ok(format!("{{{field}:{}}}", event.payload.get()).into_bytes())
            }
            Self::Binary(fields) => {
                let field = fields.get(event.name.as_ref()).ok_or_else(no_field)?;
                transcode(field, &event.payload)
            }
        }
    }
}

/// Every event that a request can carry, with its field.
fn carriers<'c>(
    contract: &'c Contract,
    request: &'c MessageDescriptor,
) -> impl Iterator<Item = (String, FieldDescriptor)> + 'c {
    contract.events().filter_map(|event| Some((event.name.clone(), carrier(request, &event.message).ok()?)))
}

fn transcode(field: &FieldDescriptor, payload: &RawValue) -> Result<Vec<u8>, CallError> {
    let Kind::Message(message) = field.kind() else {
        return Err(not_called("the request's field is no message"));
    };
    let mut json = serde_json::Deserializer::from_str(payload.get());
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let event =
        DynamicMessage::deserialize_with_options(message.clone(), tracked, &DeserializeOptions::new())
            .map_err(|error| not_called(&unfit(&message, &track.path(), &error.to_string())))?;
    let mut request = DynamicMessage::new(field.parent_message().clone());
    request.set_field(field, Value::Message(event));
    Ok(request.encode_to_vec())
}

/// The library's error quotes values, which may be secret. Names of fields are not.
fn unfit(message: &MessageDescriptor, path: &Path, error: &str) -> String {
    let path = fields_of(message, path, FieldDescriptor::name).0;
    let name = message.full_name();
    let unknown = error.strip_prefix("unrecognized field name '").and_then(|rest| rest.split_once('\''));
    match unknown {
        Some((field, _)) => {
            let nested = if path.is_empty() { String::new() } else { format!(" in '{path}'") };
            format!(
                "the payload has a field '{field}'{nested} that {name} does not: give the worker the publisher's proto (--proto)"
            )
        }
        None => format!(
            "the payload's field '{path}' is not what {name} says: give the worker the publisher's proto (--proto)"
        ),
    }
}

/// A path such as `messages[0].deeper` as far as it names fields, and the last one of them; `name` says how a field is shown. A
/// key of a map is data, and so is everything without a descriptor.
pub fn fields_of(
    message: &MessageDescriptor,
    path: &Path,
    name: fn(&FieldDescriptor) -> &str,
) -> (String, Option<FieldDescriptor>) {
    let (mut shown, mut last) = (String::new(), None);
    let mut at = Some(message.clone());
    let mut in_map = false;
    for segment in path {
        match segment {
            Segment::Seq { index } => shown.push_str(&format!("[{index}]")),
            Segment::Map { .. } if in_map => {
                shown.push_str("[…]");
                in_map = false;
            }
            Segment::Map { key } => {
                let Some(message) = &at else { break };
                let known = message.get_field_by_json_name(key).or_else(|| message.get_field_by_name(key));
                let Some(field) = known else { break };
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(name(&field));
                in_map = field.is_map();
                at = match field.kind() {
                    Kind::Message(entry) if in_map => match entry.map_entry_value_field().kind() {
                        Kind::Message(value) => Some(value),
                        _ => None,
                    },
                    Kind::Message(message) => Some(message),
                    _ => None,
                };
                last = Some(field);
            }
            Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    (shown, last)
}

/// It waits for a deploy: the descriptors are older than the publisher, or the reverse.
fn not_called(problem: &str) -> CallError {
    CallError { by: By::Worker, ..failed(Code::FailedPrecondition, &format!("not called: {problem}")) }
}
