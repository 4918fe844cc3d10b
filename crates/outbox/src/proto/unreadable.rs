//! Values that prost-reflect writes, although readers of JSON refuse them, or read others.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

/// Why the JSON of a message would be refused or read wrongly.
pub(super) fn problem(message: &DynamicMessage) -> Option<&'static str> {
    own(message).or_else(|| message.fields().find_map(|(_, value)| nested(value)))
}

fn nested(value: &Value) -> Option<&'static str> {
    match value {
        Value::Message(message) => problem(message),
        Value::List(values) => values.iter().find_map(nested),
        Value::Map(values) => values.values().find_map(nested),
        _ => None,
    }
}

fn own(message: &DynamicMessage) -> Option<&'static str> {
    let field = |name: &str| message.get_field_by_name(name);
    let nanos = || field("nanos")?.as_i32();
    match message.descriptor().full_name() {
        // It would be null, which means unset.
        "google.protobuf.DoubleValue" if !field("value")?.as_f64()?.is_finite() => {
            Some("a wrapped double is not finite")
        }
        "google.protobuf.FloatValue" if !field("value")?.as_f32()?.is_finite() => {
            Some("a wrapped float is not finite")
        }
        "google.protobuf.Timestamp" if !(0..=999_999_999).contains(&nanos()?) => {
            Some("the nanoseconds of a timestamp are not from 0 to 999999999")
        }
        "google.protobuf.Duration" => {
            let (seconds, nanos) = (field("seconds")?.as_i64()?, nanos()?);
            let is_one = nanos.abs_diff(0) <= 999_999_999 && seconds.signum() * i64::from(nanos) >= 0;
            (!is_one).then_some("the nanoseconds of a duration are a second, or have another sign")
        }
        "google.protobuf.FieldMask" => {
            let paths = field("paths")?;
            let is_path = |path: &Value| path.as_str().is_some_and(comes_back);
            (!paths.as_list()?.iter().all(is_path)).then_some("a path of a field mask can't be read back")
        }
        "google.protobuf.Value" => match message.fields().next() {
            None => Some("a value of any type has no kind"),
            Some((_, Value::F64(number))) if !number.is_finite() => {
                Some("a number of any type is not finite")
            }
            Some(_) => None,
        },
        // Its message is only there as bytes.
        "google.protobuf.Any" => {
            let (url, bytes) = (field("type_url")?, field("value")?);
            let name = url.as_str()?.rsplit('/').next()?;
            let descriptor = message.descriptor().parent_pool().get_message_by_name(name)?;
            problem(&DynamicMessage::decode(descriptor, bytes.as_bytes()?.clone()).ok()?)
        }
        _ => None,
    }
}

/// Whether lowerCamelCase of a path tells the path.
fn comes_back(path: &str) -> bool {
    let mut after = path.chars().skip(1).chain(std::iter::once('_'));
    path.chars().all(|c| {
        let next = after.next();
        !c.is_ascii_uppercase() && (c != '_' || next.is_some_and(|next| next.is_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a path is written only if its JSON is read as the same one.
    #[test]
    fn paths_come_back() {
        for (path, comes) in [
            ("card_id", true),
            ("a_b.c_d", true),
            ("a.b", true),
            ("_a", true),
            ("", true),
            ("cardId", false),
            ("card_", false),
            ("card__id", false),
            ("card_1", false),
            ("a_.b", false),
        ] {
            assert_eq!(comes_back(path), comes, "{path}");
        }
    }
}
