//! The fields that messages mark: an event's key, and what is never shown.

use outbox_finding::Finding;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::option::{FieldOption, SENSITIVE};
use crate::place::Places;

/// The key of an event's message, and the mistakes in its options.
pub(crate) fn key(
    option: &FieldOption,
    message: &MessageDescriptor,
    places: &Places,
) -> (Option<FieldDescriptor>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut key: Option<FieldDescriptor> = None;
    for field in message.fields().filter(|field| option.marks(field)) {
        let at = places.of(&field.parent_file(), field.path());
        if let Some(first) = &key {
            let two = format!("`{}` has two keys: `{}` and `{}`", message.name(), first.name(), field.name());
            let hint = "an event has one key: remove the option from the others";
            findings.push(Finding::error(at, two, hint));
        } else if let Some(kind) = unfit_for_key(&field) {
            let unfit = format!("`{}` can't be the key: it is {kind}", field.name());
            findings.push(Finding::error(at, unfit, "a key is one string or integer of the event itself"));
        } else {
            key = Some(field);
        }
    }
    (key, findings)
}

/// Keys that are marked in messages that aren't events.
pub(crate) fn strays(
    option: &FieldOption,
    messages: impl Iterator<Item = MessageDescriptor>,
    places: &Places,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for message in messages {
        for field in message.fields().filter(|field| option.marks(field)) {
            let at = places.of(&field.parent_file(), field.path());
            let stray =
                format!("`{}` is marked as a key, and `{}` is not an event", field.name(), message.name());
            let hint = "remove the option; only a field of an event's own message can be its key";
            findings.push(Finding::warning(at, stray, hint));
        }
    }
    findings
}

/// Whether its value is never shown.
pub(crate) fn is_sensitive(field: &FieldDescriptor) -> bool {
    FieldOption::named(SENSITIVE, field.parent_pool()).marks(field)
}

fn unfit_for_key(field: &FieldDescriptor) -> Option<&'static str> {
    if field.is_map() {
        return Some("a map");
    }
    if field.is_list() {
        return Some("repeated");
    }
    if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
        return Some("part of a oneof");
    }
    match field.kind() {
        Kind::Message(_) => Some("a message"),
        Kind::Enum(_) => Some("an enum"),
        Kind::Bytes => Some("bytes"),
        Kind::Bool => Some("a bool"),
        Kind::Double | Kind::Float => Some("a floating-point number"),
        // A string or an integer.
        _ => None,
    }
}
