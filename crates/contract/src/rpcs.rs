//! Finds the method of `Service/Method`, and the field of its request that carries an event.

use heck::ToSnakeCase;
use outbox_finding::closest;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use crate::Contract;

/// Why a name doesn't denote an RPC that can subscribe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    #[error("there is no service '{service}'")]
    UnknownService { service: String, similar: Option<String> },
    #[error("there are several services '{service}': {}", .candidates.join(", "))]
    AmbiguousService { service: String, method: String, candidates: Vec<String> },
    #[error("'{service}' has no method '{method}'")]
    UnknownMethod { service: String, method: String, similar: Option<String>, methods: Vec<String> },
    #[error("'{rpc}' is a streaming RPC")]
    Streaming { rpc: String },
}

impl RpcError {
    /// What to write instead, for a subscriber whose queue has this name.
    pub fn hint(&self, queue: &str) -> String {
        match self {
            Self::UnknownService { similar: Some(similar), .. } => format!("did you mean '{similar}'?"),
            Self::UnknownService { similar: None, .. } => {
                "define the service in proto, and its RPC".to_owned()
            }
            Self::AmbiguousService { method, candidates, .. } => {
                let id = format!("{}/{method}", candidates[0]);
                format!("name its package, and keep its queue: for example id: '{id}' and queue: '{queue}'")
            }
            Self::UnknownMethod { similar: Some(similar), service, .. } => {
                format!("did you mean '{service}/{similar}'?")
            }
            Self::UnknownMethod { methods, .. } if methods.is_empty() => {
                "the service has no methods yet: define it in proto".to_owned()
            }
            Self::UnknownMethod { methods, .. } => {
                format!("define it in proto; the service has {}", methods.join(", "))
            }
            Self::Streaming { .. } => {
                "an event is one request and one answer: remove `stream` from both sides".to_owned()
            }
        }
    }
}

impl Contract {
    /// Finds `Service/Method`, the service with or without its package.
    pub fn rpc(&self, id: &str) -> Result<MethodDescriptor, RpcError> {
        let (name, method_name) = id.split_once('/').unwrap_or((id, ""));
        let service = service(self, name, method_name)?;
        let method = service.methods().find(|method| method.name() == method_name);
        let Some(method) = method else {
            let methods: Vec<String> = service.methods().map(|method| method.name().to_owned()).collect();
            return Err(RpcError::UnknownMethod {
                service: name.to_owned(),
                method: method_name.to_owned(),
                similar: closest(method_name, methods.iter().map(String::as_str)).map(str::to_owned),
                methods,
            });
        };
        if method.is_client_streaming() || method.is_server_streaming() {
            return Err(RpcError::Streaming { rpc: id.to_owned() });
        }
        Ok(method)
    }
}

/// Why a request can't take an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    #[error("'{request}' has no field of type '{event}'")]
    NoField { request: String, event: String, field: String },
    #[error("'{request}' has several fields of type '{event}': {}", .fields.join(", "))]
    SeveralFields { request: String, event: String, fields: Vec<String> },
    #[error("field '{field}' of '{request}' is {shape}, and an RPC gets one '{event}'")]
    NotSingular { request: String, event: String, field: String, shape: &'static str },
}

impl CarrierError {
    pub fn hint(&self) -> String {
        match self {
            Self::NoField { request, event, .. } if request == event => format!(
                "give the RPC a request of its own, which carries the event: message …Request {{ {event} event = 1; }}"
            ),
            Self::NoField { request, field, .. } => format!("add `{field}` to {}", short(request)),
            Self::SeveralFields { fields, .. } => {
                format!("name the one that is meant `event`, for example instead of `{}`", fields[0])
            }
            Self::NotSingular { event, field, .. } => format!("write `{event} {field} = …;`"),
        }
    }
}

/// The field of `request` that carries `event`: the only one of its type, or the one of them named `event`.
pub fn carrier(
    request: &MessageDescriptor,
    event: &MessageDescriptor,
) -> Result<FieldDescriptor, CarrierError> {
    let of_type = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(message) if field.is_map() => {
            matches!(message.map_entry_value_field().kind(), Kind::Message(value) if value == *event)
        }
        Kind::Message(message) => message == *event,
        _ => false,
    };
    let (several, fields): (Vec<_>, Vec<_>) =
        request.fields().filter(of_type).partition(|field| field.is_list() || field.is_map());
    let names = |message: &MessageDescriptor| message.full_name().to_owned();
    match fields.as_slice() {
        [field] => Ok(field.clone()),
        [] => Err(match several.first() {
            Some(field) => CarrierError::NotSingular {
                request: names(request),
                event: names(event),
                field: field.name().to_owned(),
                shape: if field.is_map() { "a map" } else { "repeated" },
            },
            None => CarrierError::NoField {
                request: names(request),
                event: names(event),
                field: field_to_add(request, event),
            },
        }),
        fields => fields.iter().find(|field| field.name() == "event").cloned().ok_or_else(|| {
            CarrierError::SeveralFields {
                request: names(request),
                event: names(event),
                fields: fields.iter().map(|field| field.name().to_owned()).collect(),
            }
        }),
    }
}

/// A field such as `hoge.v1.HogeUpdatedEvent event = 2;`, with an unused and unreserved name and number.
fn field_to_add(request: &MessageDescriptor, event: &MessageDescriptor) -> String {
    const NUMBER_MAX: u32 = 536_870_911;
    let is_taken = |name: &str| {
        request.get_field_by_name(name).is_some() || request.reserved_names().any(|reserved| reserved == name)
    };
    let name = if is_taken("event") { event.name().to_snake_case() } else { "event".to_owned() };
    let last = request.fields().map(|field| field.number()).max().unwrap_or(0);
    let is_free = |number: &u32| {
        request.get_field(*number).is_none()
            && !request.reserved_ranges().any(|range| range.contains(number))
            && !(19_000..=19_999).contains(number)
    };
    let number = (last + 1..=NUMBER_MAX).chain(1..=last).find(is_free);
    format!("{} {name} = {};", event.full_name(), number.map_or("…".to_owned(), |number| number.to_string()))
}

/// The service with that full name, or the only one whose name ends with it.
fn service(contract: &Contract, name: &str, method: &str) -> Result<ServiceDescriptor, RpcError> {
    if let Some(service) = contract.pool().get_service_by_name(name) {
        return Ok(service);
    }
    let suffix = format!(".{name}");
    let mut found: Vec<ServiceDescriptor> =
        contract.pool().services().filter(|service| service.full_name().ends_with(&suffix)).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let all: Vec<String> = contract
                .pool()
                .services()
                .map(|it| if name.contains('.') { it.full_name() } else { it.name() }.to_owned())
                .collect();
            let similar =
                closest(name, all.iter().map(String::as_str)).map(|service| format!("{service}/{method}"));
            Err(RpcError::UnknownService { service: name.to_owned(), similar })
        }
        _ => {
            let mut candidates: Vec<String> =
                found.iter().map(|service| service.full_name().to_owned()).collect();
            candidates.sort();
            Err(RpcError::AmbiguousService {
                service: name.to_owned(),
                method: method.to_owned(),
                candidates,
            })
        }
    }
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
