//! Support for code that `outbox-build` generates. Services only need [`include_proto!`](crate::include_proto).

pub use {prost, prost_reflect, prost_types, serde};

use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, ReflectMessage, Value};
use serde::{Deserializer, Serialize, Serializer, de, ser};

/// Includes the output of `outbox_build::compile`: a module for each part of a package, with its messages.
#[macro_export]
macro_rules! include_proto {
    () => {
        include!(concat!(env!("OUT_DIR"), "/outbox.rs"));
    };
}

/// # Panics
///
/// If the bytes are not a descriptor set of `outbox-build`.
pub fn pool(descriptor_set: &[u8]) -> DescriptorPool {
    DescriptorPool::decode(descriptor_set).expect("outbox-build writes a descriptor set")
}

/// Writes canonical proto3 JSON.
///
/// # Errors
///
/// A value that JSON can't express: a timestamp beyond the year 9999, or a `DoubleValue` of NaN or infinity.
pub fn serialize<M: ReflectMessage, S: Serializer>(message: &M, serializer: S) -> Result<S::Ok, S::Error> {
    let mut dynamic = DynamicMessage::new(message.descriptor());
    dynamic.transcode_from(message).map_err(ser::Error::custom)?;
    if has_lost_number(&dynamic) {
        return Err(ser::Error::custom("a wrapped double or float is not finite"));
    }
    dynamic.serialize(serializer)
}

/// prost-reflect writes "NaN" and "Infinity" correctly, except in wrappers: there it writes null, which means unset.
fn has_lost_number(message: &DynamicMessage) -> bool {
    let is_wrapper = matches!(
        message.descriptor().full_name(),
        "google.protobuf.DoubleValue" | "google.protobuf.FloatValue"
    );
    fn lost(value: &Value, is_wrapper: bool) -> bool {
        match value {
            Value::F64(number) => is_wrapper && !number.is_finite(),
            Value::F32(number) => is_wrapper && !number.is_finite(),
            Value::Message(message) => has_lost_number(message),
            Value::List(values) => values.iter().any(|value| lost(value, false)),
            Value::Map(values) => values.values().any(|value| lost(value, false)),
            _ => false,
        }
    }
    message.fields().any(|(_, value)| lost(value, is_wrapper))
}

/// Reads proto3 JSON. It ignores unknown fields, because a publisher may be newer than its reader.
pub fn deserialize<'de, M, D>(deserializer: D) -> Result<M, D::Error>
where
    M: ReflectMessage + Default,
    D: Deserializer<'de>,
{
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let descriptor = M::default().descriptor();
    DynamicMessage::deserialize_with_options(descriptor, deserializer, &options)?
        .transcode_to()
        .map_err(de::Error::custom)
}
