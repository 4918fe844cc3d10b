//! Compares two versions of a message field by field, with the messages in it.

use std::collections::BTreeSet;

use outbox_contract::Contract;
use outbox_finding::{Finding, Place};
use prost_reflect::{EnumDescriptor, EnumValueDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::check::older::Older;

const IN_FLIGHT: &str = "events in flight";

pub(super) struct Comparison<'a> {
    older: &'a Older,
    contract: &'a Contract,
    /// Messages may be recursive.
    compared: BTreeSet<(String, String)>,
    to_compare: Vec<(MessageDescriptor, MessageDescriptor)>,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(older: &'a Older, contract: &'a Contract) -> Self {
        Self { older, contract, compared: BTreeSet::new(), to_compare: Vec::new(), findings: Vec::new() }
    }

    pub(super) fn compare(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        self.messages(old, new);
        while let Some((old, new)) = self.to_compare.pop() {
            for field in old.fields() {
                match counterpart(&field, &new) {
                    Some(same) => self.fields(&field, &same),
                    None => self.missing(&field, &old, &new),
                }
            }
            for field in new.fields().filter(FieldDescriptor::is_required) {
                if old.fields().all(|old| counterpart(&old, &new).as_ref() != Some(&field)) {
                    let message = format!("`{}` is new and required", field.name());
                    self.error(self.at(&field), message, "events in flight do not have it: make it optional");
                }
            }
            self.oneofs(&old, &new);
        }
    }

    fn messages(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        if self.compared.insert((old.full_name().to_owned(), new.full_name().to_owned())) {
            self.to_compare.push((old.clone(), new.clone()));
        }
    }

    /// Every change of a field that breaks a reader.
    fn fields(&mut self, old: &FieldDescriptor, new: &FieldDescriptor) {
        let (at, name) = (self.at(new), new.name());
        if old.number() != new.number() {
            let message = format!("`{name}` had the number {} and has {}", old.number(), new.number());
            let hint = format!(
                "services that are sent proto or grpc still look for it under {}: give it that number again",
                old.number()
            );
            self.error(at.clone(), message, hint);
        }
        if old.json_name() != new.json_name() {
            let message = format!("`{name}` was '{}' in JSON and is '{}'", old.json_name(), new.json_name());
            let hint = format!("{IN_FLIGHT} carry it as '{0}': set json_name = \"{0}\"", old.json_name());
            self.error(at.clone(), message, hint);
        }
        if new.is_required() && !old.is_required() {
            let message = format!("`{name}` was optional and is required");
            self.error(at.clone(), message, "events in flight may not have it: make it optional again");
        }
        if shape(old) == shape(new) {
            self.kinds(at, old, new);
        } else {
            let message = format!("`{name}` was {} and is {}", shape(old), shape(new));
            let hint =
                format!("{IN_FLIGHT} carry it as before: add a field of another name and number instead");
            self.error(at, message, hint);
        }
    }

    fn kinds(&mut self, at: Place, old: &FieldDescriptor, new: &FieldDescriptor) {
        let compatible = match (old.kind(), new.kind()) {
            (Kind::Message(old), Kind::Message(new)) if old.is_map_entry() && new.is_map_entry() => {
                let (old, new) = (old.map_entry_value_field(), new.map_entry_value_field());
                return self.kinds(at, &old, &new);
            }
            // Neither JSON nor the wire has names of types, so a type may move to another package.
            (Kind::Message(old), Kind::Message(new)) if !is_well_known(&old) && !is_well_known(&new) => {
                self.messages(&old, &new);
                true
            }
            (Kind::Enum(old), Kind::Enum(new)) => {
                self.enums(&old, &new);
                true
            }
            // Wider, with the same form on the wire, and in JSON for a reader that follows the specification.
            (Kind::Int32, Kind::Int64) | (Kind::Uint32, Kind::Uint64) => true,
            (old, new) => shown(&old) == shown(&new),
        };
        if !compatible {
            let message =
                format!("`{}` was {} and is {}", new.name(), shown(&old.kind()), shown(&new.kind()));
            let hint =
                format!("{IN_FLIGHT} carry the old type: add a field of another name and number instead");
            self.error(at, message, hint);
        }
    }

    /// A field that was removed, by its name and its JSON name.
    fn missing(&mut self, old: &FieldDescriptor, old_message: &MessageDescriptor, new: &MessageDescriptor) {
        let (name, number) = (old.name(), old.number());
        let is_new = |field: &FieldDescriptor| old_message.get_field_by_name(field.name()).is_none();
        if let Some(taken) = new.get_field(number) {
            let same_type = shape(old) == shape(&taken) && shown(&old.kind()) == shown(&taken.kind());
            let (message, hint) = if same_type && is_new(&taken) {
                (
                    format!("`{name}` was renamed to `{}`", taken.name()),
                    format!(
                        "{IN_FLIGHT} carry it as '{0}': keep that with `[json_name = \"{0}\"]`, or add a new field and leave this one",
                        old.json_name()
                    ),
                )
            } else {
                (
                    format!("`{}` reuses the number {number}, which was `{name}`", taken.name()),
                    format!("take another number, and write `reserved {number}; reserved \"{name}\";`"),
                )
            };
            return self.error(self.at(&taken), message, hint);
        }
        let at = self.contract.place(&new.parent_file(), new.path());
        let reserved = new.reserved_ranges().any(|range| range.contains(&number))
            && new.reserved_names().any(|reserved| reserved == name);
        if reserved {
            let message =
                format!("`{name}` was removed from `{}`; it was there in {}", new.name(), self.older.name);
            let hint = format!(
                "{IN_FLIGHT} still carry it, and a worker that sends proto or grpc holds them back: give workers the new proto when they are delivered"
            );
            self.findings.push(Finding::warning(at, message, hint));
        } else {
            let message = format!("`{name}` was removed from `{}` and is not reserved", new.name());
            let hint = format!(
                "write `reserved {number}; reserved \"{name}\";`, so that they are not used for something else"
            );
            self.error(at, message, hint);
        }
    }

    /// JSON may carry only one field of a oneof. Before, it may have carried several.
    fn oneofs(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        for oneof in new.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let before: Vec<(FieldDescriptor, Option<String>)> = oneof
                .fields()
                .filter_map(|field| {
                    let old = old.fields().find(|old| counterpart(old, new).as_ref() == Some(&field))?;
                    Some((field, oneof_of(&old)))
                })
                .collect();
            let Some((_, first)) = before.first() else { continue };
            let together =
                |(_, oneof): &&(FieldDescriptor, Option<String>)| oneof.is_none() || oneof != first;
            if let Some((field, _)) = before.iter().skip(1).find(together) {
                let message = format!("`{}` was moved into the oneof `{}`", field.name(), oneof.name());
                let hint = format!(
                    "{IN_FLIGHT} may carry it together with another field of that oneof: leave it outside"
                );
                self.error(self.at(field), message, hint);
            }
        }
    }

    fn enums(&mut self, old: &EnumDescriptor, new: &EnumDescriptor) {
        if !self.compared.insert((old.full_name().to_owned(), new.full_name().to_owned())) {
            return;
        }
        for value in old.values() {
            let (name, number) = (value.name(), value.number());
            match new.get_value_by_name(name) {
                Some(same) if same.number() == number => {}
                Some(same) => {
                    let at = self.contract.place(&same.parent_file(), same.path());
                    let message = format!("`{name}` had the number {number} and has {}", same.number());
                    let hint =
                        "services that are sent proto or grpc know it by the old number: give it that again";
                    self.error(at, message, hint);
                }
                None => {
                    let is_new = |value: &EnumValueDescriptor| old.get_value_by_name(value.name()).is_none();
                    let renamed = new.values().find(|value| value.number() == number && is_new(value));
                    let (path, message) = match &renamed {
                        Some(renamed) => {
                            (renamed.path(), format!("`{name}` was renamed to `{}`", renamed.name()))
                        }
                        None => (new.path(), format!("`{name}` was removed from `{}`", new.name())),
                    };
                    let at = self.contract.place(&new.parent_file(), path);
                    let hint = format!(
                        "{IN_FLIGHT} carry it by its name: leave it until they are delivered, marked [deprecated = true]"
                    );
                    self.error(at, message, hint);
                }
            }
        }
    }

    fn at(&self, field: &FieldDescriptor) -> Place {
        self.contract.place(&field.parent_file(), field.path())
    }

    fn error(&mut self, at: Place, message: String, hint: impl Into<String>) {
        self.findings.push(Finding::error(at, message, hint));
    }
}

/// These have a JSON form of their own.
fn is_well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

/// The new version of a field: the one with its name, or with its JSON name.
fn counterpart(old: &FieldDescriptor, new: &MessageDescriptor) -> Option<FieldDescriptor> {
    new.get_field_by_name(old.name()).or_else(|| new.get_field_by_json_name(old.json_name()))
}

fn oneof_of(field: &FieldDescriptor) -> Option<String> {
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())?;
    Some(oneof.full_name().to_owned())
}

fn shape(field: &FieldDescriptor) -> String {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return "a map".to_owned() };
        return format!("a map by {}", shown(&entry.map_entry_key_field().kind()));
    }
    match (field.is_list(), field.is_group()) {
        (true, true) => "a repeated group",
        (true, false) => "repeated",
        (false, true) => "a group",
        (false, false) => "a single value",
    }
    .to_owned()
}

fn shown(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(it) => it.full_name().to_owned(),
        // The library shows a scalar by its name in proto.
        scalar => format!("{scalar:?}"),
    }
}
