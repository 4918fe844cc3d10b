//! The convention: `EVENT_HOGE_UPDATED` ↔ `HogeUpdatedEvent` ↔ `event_hoge_updated`.

use std::collections::{BTreeMap, BTreeSet};

use finding::{Finding, Place};
use heck::{ToShoutySnakeCase, ToUpperCamelCase};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, ExtensionDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, Value,
};

use crate::Files;
use crate::place::place;

const PREFIX: &str = "EVENT_";
const SUFFIX: &str = "Event";
const NAME_CHARS_MAX: usize = 128;

/// An event: a value of an `enum Event` and its message.
#[derive(Debug, Clone)]
pub struct EventType {
    /// As in event_router.yaml: `event_hoge_updated`.
    pub name: String,
    pub message: MessageDescriptor,
    /// The field that is marked as the event's key.
    pub key: Option<FieldDescriptor>,
    pub value: EnumValueDescriptor,
    /// Of the value.
    pub place: Place,
}

/// Pairs every value with its message. What has no partner is a finding, once: a misspelt pair is reported at the value.
pub(crate) fn pair(pool: &DescriptorPool, files: &Files) -> Events {
    let mut pairing = Pairing { pool, files, events: Events::default(), explained: Vec::new() };
    let own = || pool.files().filter(|file| files.contains_key(file.name()));
    for event_enum in
        own().flat_map(|file| file.enums().filter(|it| it.name() == "Event").collect::<Vec<_>>())
    {
        let messages: Vec<MessageDescriptor> = own()
            .filter(|file| file.package_name() == event_enum.package_name())
            .flat_map(|file| file.messages().collect::<Vec<_>>())
            .collect();
        for value in event_enum.values() {
            pairing.value(&value, &messages);
        }
        for message in messages.iter().filter(|message| message.name().ends_with(SUFFIX)) {
            pairing.leftover(message, &event_enum);
        }
    }
    pairing.stray_keys();
    pairing.events
}

/// What is paired, and what is not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    pub(crate) paired: BTreeMap<String, EventType>,
    /// Names that events would have, were it not for a finding.
    pub(crate) unpaired: BTreeSet<String>,
    pub(crate) findings: Vec<Finding>,
}

struct Pairing<'a> {
    pool: &'a DescriptorPool,
    files: &'a Files,
    events: Events,
    /// Messages that a finding about a value speaks of already.
    explained: Vec<String>,
}

impl Pairing<'_> {
    fn value(&mut self, value: &EnumValueDescriptor, messages: &[MessageDescriptor]) {
        if value.number() == 0 && value.name().ends_with("_UNSPECIFIED") {
            return;
        }
        let at = place(self.files, &value.parent_file(), value.path());
        let Some(stem) = value.name().strip_prefix(PREFIX).filter(|stem| is_shouty(stem)) else {
            let stem = value.name().to_shouty_snake_case();
            let stem = stem.strip_prefix(PREFIX).unwrap_or(&stem);
            self.explained.extend(find(stem, messages).map(|message| message.full_name().to_owned()));
            self.events.unpaired.insert(format!("{PREFIX}{stem}").to_ascii_lowercase());
            let message = format!("`{}` is not of the form EVENT_HOGE_UPDATED", value.name());
            self.events.findings.push(Finding::error(at, message, format!("write {PREFIX}{stem}")));
            return;
        };
        let name = value.name().to_ascii_lowercase();
        if name.len() > NAME_CHARS_MAX {
            let message = format!("`{}` is longer than {NAME_CHARS_MAX} characters", value.name());
            self.events.findings.push(Finding::error(
                at,
                message,
                "the bus takes no longer name: shorten it",
            ));
            return;
        }
        let Some(message) = find(stem, messages) else {
            self.events.unpaired.insert(name);
            let finding = self.without_message(at, value, stem, messages);
            self.events.findings.push(finding);
            return;
        };
        if let Some(first) = self.events.paired.get(&name) {
            let claim = format!(
                "the event {name} is claimed by two packages: {} and, at {}, {}",
                shown_package(value.parent_enum()),
                first.place,
                shown_package(first.value.parent_enum()),
            );
            let package = value.parent_enum().package_name().split('.').next().unwrap_or_default();
            let hint = format!(
                "event_router.yaml has one namespace: rename this one, for example EVENT_{}_{stem}",
                package.to_shouty_snake_case()
            );
            self.explained.push(message.full_name().to_owned());
            self.events.findings.push(Finding::error(at, claim, hint));
            return;
        }
        let key = self.key(&message);
        let event = EventType { name: name.clone(), message, key, value: value.clone(), place: at };
        self.events.paired.insert(name, event);
    }

    fn without_message(
        &mut self,
        at: Place,
        value: &EnumValueDescriptor,
        stem: &str,
        messages: &[MessageDescriptor],
    ) -> Finding {
        let wanted = format!("{}{SUFFIX}", stem.to_upper_camel_case());
        let package = shown_package(value.parent_enum());
        let missing = format!("`{}` has no message `{wanted}` in {package}", value.name());
        let elsewhere = self.pool.all_messages().find(|message| message.name() == wanted);
        let unsuffixed = messages.iter().find(|message| format!("{}{SUFFIX}", message.name()) == wanted);
        let similar = messages
            .iter()
            .filter(|message| message.name().ends_with(SUFFIX))
            .map(|message| (strsim::damerau_levenshtein(message.name(), &wanted), message))
            .filter(|(distance, _)| *distance <= 3)
            .min_by_key(|(distance, _)| *distance);
        let hint = if let Some(message) = unsuffixed {
            format!("rename `{}` to `{wanted}`", message.name())
        } else if let Some((_, message)) = similar {
            self.explained.push(message.full_name().to_owned());
            self.events.unpaired.insert(format!("{PREFIX}{}", stem_of(message)).to_ascii_lowercase());
            format!("`{}` is similar: make their names agree", message.name())
        } else if let Some(message) = elsewhere {
            self.explained.push(message.full_name().to_owned());
            format!(
                "`{}` is not beside it: an event's value and message stand in one package, at top level",
                message.full_name()
            )
        } else {
            format!("add `message {wanted} {{ … }}`, or remove the value")
        };
        Finding::error(at, missing, hint)
    }

    fn leftover(&mut self, message: &MessageDescriptor, event_enum: &EnumDescriptor) {
        let paired = self.events.paired.values().any(|event| event.message == *message);
        if paired || self.explained.iter().any(|name| name == message.full_name()) {
            return;
        }
        let stem = stem_of(message);
        self.events.unpaired.insert(format!("{PREFIX}{stem}").to_ascii_lowercase());
        let next = event_enum.values().map(|value| value.number()).max().unwrap_or(0) + 1;
        self.events.findings.push(Finding::error(
            place(self.files, &message.parent_file(), message.path()),
            format!("`{}` has no value in `enum Event` of {}", message.name(), shown_package(event_enum)),
            format!("add {PREFIX}{stem} = {next}; to the enum, or rename the message if it is no event"),
        ));
    }

    fn key(&mut self, message: &MessageDescriptor) -> Option<FieldDescriptor> {
        let extension = self.pool.get_extension_by_name("outbox.key")?;
        let mut key: Option<FieldDescriptor> = None;
        for field in message.fields().filter(|field| is_key(field, &extension)) {
            if let Some(first) = &key {
                let two =
                    format!("`{}` has two keys: `{}` and `{}`", message.name(), first.name(), field.name());
                self.found_at(&field, two, "an event has one key: remove the option from the others");
            } else if let Some(kind) = unfit_for_key(&field) {
                let unfit = format!("`{}` can't be the key: it is {kind}", field.name());
                self.found_at(&field, unfit, "a key is one string or integer of the event itself");
            } else {
                key = Some(field);
            }
        }
        key
    }

    /// A key where none is looked for.
    fn stray_keys(&mut self) {
        let Some(extension) = self.pool.get_extension_by_name("outbox.key") else { return };
        for message in self.pool.all_messages() {
            let event = self.events.paired.values().any(|event| event.message == message);
            if event || !self.files.contains_key(message.parent_file().name()) {
                continue;
            }
            for field in message.fields().filter(|field| is_key(field, &extension)) {
                let at = place(self.files, &field.parent_file(), field.path());
                let message = format!(
                    "`{}` is marked as a key, and `{}` is not an event",
                    field.name(),
                    message.name()
                );
                let hint = "remove the option; only a field of an event's own message can be its key";
                self.events.findings.push(Finding::warning(at, message, hint));
            }
        }
    }

    fn found_at(&mut self, field: &FieldDescriptor, message: String, hint: &str) {
        let at = place(self.files, &field.parent_file(), field.path());
        self.events.findings.push(Finding::error(at, message, hint));
    }
}

/// The message of EVENT_OAUTH2_GRANTED is Oauth2GrantedEvent; OAuth2GrantedEvent will do if it is the only one.
fn find(stem: &str, messages: &[MessageDescriptor]) -> Option<MessageDescriptor> {
    let exact = format!("{}{SUFFIX}", stem.to_upper_camel_case());
    if let Some(message) = messages.iter().find(|message| message.name() == exact) {
        return Some(message.clone());
    }
    let folded = stem.replace('_', "").to_ascii_lowercase();
    let mut same = messages.iter().filter(|message| {
        message.name().strip_suffix(SUFFIX).is_some_and(|stem| stem.to_ascii_lowercase() == folded)
    });
    let message = same.next()?;
    same.next().is_none().then(|| message.clone())
}

/// HOGE_UPDATED of HogeUpdatedEvent.
fn stem_of(message: &MessageDescriptor) -> String {
    message.name().strip_suffix(SUFFIX).unwrap_or(message.name()).to_shouty_snake_case()
}

fn is_shouty(stem: &str) -> bool {
    stem.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
        && stem.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn is_key(field: &FieldDescriptor, extension: &ExtensionDescriptor) -> bool {
    matches!(*field.options().get_extension(extension), Value::Bool(true))
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
        Kind::String
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64 => None,
        Kind::Message(_) => Some("a message"),
        Kind::Enum(_) => Some("an enum"),
        Kind::Bytes => Some("bytes"),
        Kind::Bool => Some("a bool"),
        Kind::Double | Kind::Float => Some("a floating-point number"),
    }
}

fn shown_package(event_enum: &EnumDescriptor) -> String {
    match event_enum.package_name() {
        "" => "the files without a package".to_owned(),
        package => format!("package {package}"),
    }
}
