//! Support for code that `outbox-build` generates. Services only need [`include_proto!`](crate::include_proto).

mod unreadable; // values of which prost-reflect writes JSON that no reader takes

pub use {prost, prost_reflect, prost_types, serde};

use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, ReflectMessage};
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
/// A value that JSON can't express, or that readers of JSON refuse: a timestamp beyond the year 9999 or with more than a second of
/// nanoseconds, a duration of two signs, a path of a field mask that can't be read back, a `Value` without a kind, or a `DoubleValue`
/// of NaN or infinity.
pub fn serialize<M: ReflectMessage, S: Serializer>(message: &M, serializer: S) -> Result<S::Ok, S::Error> {
    let mut dynamic = DynamicMessage::new(message.descriptor());
    dynamic.transcode_from(message).map_err(ser::Error::custom)?;
    if let Some(problem) = unreadable::problem(&dynamic) {
        return Err(ser::Error::custom(problem));
    }
    dynamic.serialize(serializer)
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
