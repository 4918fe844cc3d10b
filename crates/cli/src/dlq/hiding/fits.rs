//! Whether a value of JSON is what proto says of its field. One that is not may be anything, so it is hidden.

use chrono::DateTime;
use prost_reflect::{FieldDescriptor, Kind};
use serde_json::Value;

/// Pure: one value of a field that holds no message. `null` stands for the field's default.
pub(super) fn is_scalar_of(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Message(_), _) => false,
        (_, Value::Null) | (Kind::Bool, Value::Bool(_)) | (Kind::String, Value::String(_)) => true,
        (Kind::Bytes, Value::String(text)) => is_base64(text),
        (Kind::Enum(of), Value::String(name)) => of.get_value_by_name(name).is_some(),
        (Kind::Enum(_), Value::Number(number)) => number.is_i64(),
        (Kind::Double | Kind::Float, Value::Number(_)) => true,
        (Kind::Double | Kind::Float, Value::String(text)) => text.parse::<f64>().is_ok(),
        (kind, Value::Number(_)) => is_integer(kind),
        (kind, Value::String(text)) => is_integer(kind) && is_number(text),
        _ => false,
    }
}

/// Pure: the key of an entry of a map.
pub(super) fn is_key_of(map: &FieldDescriptor, key: &str) -> bool {
    let Kind::Message(entry) = map.kind() else { return false };
    match entry.map_entry_key_field().kind() {
        Kind::String => true,
        Kind::Bool => key == "true" || key == "false",
        _ => is_number(key),
    }
}

/// Pure: a message of Google whose JSON is no object with its fields. `None` if it is one like others.
pub(super) fn is_well_known(name: &str, value: &Value) -> Option<bool> {
    let kind = match name.strip_prefix("google.protobuf.")? {
        // What they hold is in no proto.
        "Any" | "Struct" | "Value" | "ListValue" => return Some(false),
        "Timestamp" => return Some(is_text(value, |text| DateTime::parse_from_rfc3339(text).is_ok())),
        "Duration" => return Some(is_text(value, |text| text.strip_suffix('s').is_some_and(is_number))),
        "FieldMask" => return Some(is_text(value, is_mask)),
        "DoubleValue" | "FloatValue" => Kind::Double,
        "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value" => Kind::Int64,
        "BoolValue" => Kind::Bool,
        "StringValue" => Kind::String,
        "BytesValue" => Kind::Bytes,
        _ => return None,
    };
    Some(is_scalar_of(&kind, value))
}

fn is_text(value: &Value, is: impl Fn(&str) -> bool) -> bool {
    value.is_null() || value.as_str().is_some_and(is)
}

fn is_integer(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Double
            | Kind::Float
            | Kind::Bool
            | Kind::String
            | Kind::Bytes
            | Kind::Message(_)
            | Kind::Enum(_)
    )
}

/// Also with a fraction of zeros, which proto3 JSON takes.
fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_base64(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "+/-_=".contains(c))
}

fn is_mask(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "_.,".contains(c))
}
