//! A payload to the body of a request.

use std::collections::HashMap;

use contract::{CarrierError, Contract, carrier};
use event::Envelope;
use prost_reflect::prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use serde_json::value::RawValue;

use super::{CallError, Code, failed};

/// The field that carries an event where no descriptors say so.
const FIELD: &str = "event";

/// How the requests of one RPC are written.
#[derive(Debug)]
pub(super) enum Body {
    /// The JSON name of the field that carries an event, by the event's name. The payload itself stays as it was
    /// published, unknown fields and all.
    Json(HashMap<String, String>),
    /// The field itself.
    Binary(HashMap<String, FieldDescriptor>),
}

impl Body {
    /// For an RPC that no descriptors describe.
    pub(super) fn json() -> Self {
        Self::Json(HashMap::new())
    }

    pub(super) fn json_of(contract: &Contract, method: &MethodDescriptor) -> Self {
        let request = method.input();
        let fields = carriers(contract, &request);
        Self::Json(fields.map(|(event, field)| (event, field.json_name().to_owned())).collect())
    }

    /// # Errors
    ///
    /// The first of `routed` that a request can't carry, and why: `None` if there is no such event.
    pub(super) fn binary_of<'e>(
        contract: &Contract,
        method: &MethodDescriptor,
        mut routed: impl Iterator<Item = &'e str>,
    ) -> Result<Self, (&'e str, Option<CarrierError>)> {
        let fields: HashMap<_, _> = carriers(contract, &method.input()).collect();
        match routed.find(|event| !fields.contains_key(*event)) {
            None => Ok(Self::Binary(fields)),
            Some(event) => {
                let known = contract.event(event);
                Err((event, known.and_then(|event| carrier(&method.input(), &event.message).err())))
            }
        }
    }

    pub(super) fn encode(&self, event: &Envelope<'_>) -> Result<Vec<u8>, CallError> {
        match self {
            Self::Json(fields) => {
                let field = fields.get(event.name.as_ref()).map_or(FIELD, String::as_str);
                // A JSON name may be anything.
                let field = serde_json::Value::from(field);
                Ok(format!("{{{field}:{}}}", event.payload.get()).into_bytes())
            }
            Self::Binary(fields) => match fields.get(event.name.as_ref()) {
                Some(field) => transcode(field, event.payload),
                None => Err(not_called(&format!("the request has no field for {}", event.name))),
            },
        }
    }
}

/// Every event that a request can carry, and in which field.
fn carriers<'c>(
    contract: &'c Contract,
    request: &'c MessageDescriptor,
) -> impl Iterator<Item = (String, FieldDescriptor)> + 'c {
    contract.events().filter_map(|event| Some((event.name.clone(), carrier(request, &event.message).ok()?)))
}

fn transcode(field: &FieldDescriptor, payload: &RawValue) -> Result<Vec<u8>, CallError> {
    let Kind::Message(event) = field.kind() else {
        return Err(not_called("the request's field is no message"));
    };
    let name = event.full_name().to_owned();
    let mut json = serde_json::Deserializer::from_str(payload.get());
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let event = DynamicMessage::deserialize_with_options(event, tracked, &DeserializeOptions::new())
        .map_err(|error| not_called(&unfit(&name, &track.path().to_string(), &error.to_string())))?;
    let mut request = DynamicMessage::new(field.parent_message().clone());
    request.set_field(field, Value::Message(event));
    Ok(request.encode_to_vec())
}

/// The library's error quotes values, which may be secret; a field's name is not.
fn unfit(message: &str, path: &str, error: &str) -> String {
    let unknown = error.split_once("unrecognized field name '").and_then(|(_, rest)| rest.split_once('\''));
    match unknown {
        Some((field, _)) => {
            // Of the message that has it; the payload's own is a dot.
            let nested = if path == "." { String::new() } else { format!(" in '{path}'") };
            format!(
                "the payload has a field '{field}'{nested} that {message} does not: give the worker the publisher's proto (--proto)"
            )
        }
        None => format!(
            "the payload's field '{path}' is not what {message} says: give the worker the publisher's proto (--proto)"
        ),
    }
}

/// Waits for a deploy: the descriptors are older than the publisher, or the other way round.
fn not_called(problem: &str) -> CallError {
    failed(Code::FailedPrecondition, &format!("not called: {problem}"))
}
