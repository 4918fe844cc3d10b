//! The convention: `EVENT_HOGE_UPDATED` ↔ `HogeUpdatedEvent` ↔ `event_hoge_updated`.

use std::collections::{BTreeMap, BTreeSet};

use heck::{ToShoutySnakeCase, ToUpperCamelCase};
use outbox_finding::{Finding, Place};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, MessageDescriptor,
};

use crate::files::Files;
use crate::keys;
use crate::option::{FieldOption, KEY, SENSITIVE};
use crate::place::Places;
use crate::selection::Selection;

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
    pub place: Place,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    pub(crate) paired: BTreeMap<String, EventType>,
    /// The names of events that a finding keeps from being paired.
    pub(crate) unpaired: BTreeSet<String>,
    /// Events that the selection leaves out, with the package of each.
    pub(crate) left_out: BTreeMap<String, String>,
    pub(crate) findings: Vec<Finding>,
}

/// Pairs every value with its message. A value or message without a partner is one finding; a misspelt pair is reported at the
/// value.
pub(crate) fn pair(pool: &DescriptorPool, files: &Files, places: &Places, selection: &Selection) -> Events {
    let own = || pool.files().filter(|file| files.contains_key(file.name()));
    let (option, namesakes) = (FieldOption::named(KEY, pool), BTreeSet::new());
    let mut pairing =
        Pairing { pool, option: &option, places, selection, namesakes, events: Events::default() };
    for file in own() {
        for event_enum in file.enums().filter(|it| it.name() == "Event") {
            if !selection.counts(event_enum.package_name()) {
                pairing.leave_out(&event_enum);
                continue;
            }
            let siblings = own().filter(|file| file.package_name() == event_enum.package_name());
            let messages = siblings.flat_map(|file| file.messages().collect::<Vec<_>>()).collect();
            pairing.package(&Package::new(event_enum, messages));
        }
    }
    let paired = pairing.events.paired.values().map(|event| event.message.full_name().to_owned());
    let events: BTreeSet<String> = paired.chain(std::mem::take(&mut pairing.namesakes)).collect();
    let own_messages = pool.all_messages().filter(|message| files.contains_key(message.parent_file().name()));
    let strays = own_messages.filter(|message| !events.contains(message.full_name()));
    pairing.events.findings.extend(keys::strays(&option, strays, places));
    for option in [&option, &FieldOption::named(SENSITIVE, pool)] {
        pairing.events.findings.extend(option.namesakes(pool, places));
    }
    pairing.events
}

/// An `enum Event` and the messages beside it.
struct Package {
    event_enum: EnumDescriptor,
    messages: Vec<MessageDescriptor>,
    /// Messages with exactly the name that some value expects: no other value gets them.
    exact: BTreeSet<String>,
}

impl Package {
    fn new(event_enum: EnumDescriptor, messages: Vec<MessageDescriptor>) -> Self {
        let exact = event_enum
            .values()
            .filter_map(|value| Some(message_name(value.name().strip_prefix(PREFIX)?)))
            .filter(|name| messages.iter().any(|message| message.name() == name))
            .collect();
        Self { event_enum, messages, exact }
    }

    /// EVENT_OAUTH2_GRANTED expects Oauth2GrantedEvent. OAuth2GrantedEvent is accepted if it is the only candidate.
    fn message_of(&self, stem: &str) -> Option<&MessageDescriptor> {
        let wanted = message_name(stem);
        if self.exact.contains(&wanted) {
            return self.messages.iter().find(|message| message.name() == wanted);
        }
        let folded = stem.replace('_', "").to_ascii_lowercase();
        let mut same = self.unclaimed().filter(|message| {
            message.name().strip_suffix(SUFFIX).is_some_and(|stem| stem.to_ascii_lowercase() == folded)
        });
        same.next().filter(|_| same.next().is_none())
    }

    fn unclaimed(&self) -> impl Iterator<Item = &MessageDescriptor> {
        self.messages
            .iter()
            .filter(|message| message.name().ends_with(SUFFIX) && !self.exact.contains(message.name()))
    }

    fn shown(&self) -> String {
        shown(&self.event_enum)
    }
}

/// The package of an enum.
fn shown(event_enum: &EnumDescriptor) -> String {
    match event_enum.package_name() {
        "" => "the files without a package".to_owned(),
        package => format!("package {package}"),
    }
}

struct Pairing<'a> {
    pool: &'a DescriptorPool,
    option: &'a FieldOption,
    places: &'a Places,
    selection: &'a Selection,
    /// The messages of events for which another package was chosen.
    namesakes: BTreeSet<String>,
    events: Events,
}

impl Pairing<'_> {
    fn leave_out(&mut self, event_enum: &EnumDescriptor) {
        let package = event_enum.package_name();
        let names = event_enum.values().map(|value| value.name().to_ascii_lowercase());
        self.events.left_out.extend(names.map(|name| (name, package.to_owned())));
    }

    fn package(&mut self, package: &Package) {
        // Messages that are paired or stand in a finding about a value, each with the value's name.
        let mut spoken_for: BTreeMap<String, String> = BTreeMap::new();
        for value in package.event_enum.values() {
            self.value(&value, package, &mut spoken_for);
        }
        let is_left = |message: &&MessageDescriptor| {
            message.name().ends_with(SUFFIX) && !spoken_for.contains_key(message.name())
        };
        for message in package.messages.iter().filter(is_left) {
            self.leftover(message, package);
        }
    }

    fn value(
        &mut self,
        value: &EnumValueDescriptor,
        package: &Package,
        spoken_for: &mut BTreeMap<String, String>,
    ) {
        if value.number() == 0 && value.name().ends_with("_UNSPECIFIED") {
            return;
        }
        let at = self.places.of(&value.parent_file(), value.path());
        let stem = match well_formed(value) {
            Ok(stem) => stem,
            Err((stem, message, hint)) => {
                if let Some(message) = package.message_of(&stem) {
                    spoken_for.insert(message.name().to_owned(), value.name().to_owned());
                }
                self.events.unpaired.insert(format!("{PREFIX}{stem}").to_ascii_lowercase());
                self.events.findings.push(Finding::error(at, message, hint));
                return;
            }
        };
        let name = value.name().to_ascii_lowercase();
        let Some(message) = package.message_of(stem) else {
            self.events.unpaired.insert(name);
            self.without_message(at, value, stem, package, spoken_for);
            return;
        };
        if let Some(first) = spoken_for.insert(message.name().to_owned(), value.name().to_owned()) {
            let both = format!("`{}` and `{first}` both mean `{}`", value.name(), message.name());
            self.events.findings.push(Finding::error(at, both, "an event has one value: remove one of them"));
            return;
        }
        let own = package.event_enum.package_name();
        if self.selection.means_another(&name, own) {
            self.namesakes.insert(message.full_name().to_owned());
            self.events.left_out.insert(name, own.to_owned());
            return;
        }
        if let Some(first) = self.events.paired.get(&name) {
            let finding = claimed_twice(at, &name, stem, package, first);
            self.events.findings.push(finding);
            return;
        }
        let (key, findings) = keys::key(self.option, message, self.places);
        self.events.findings.extend(findings);
        let event =
            EventType { name: name.clone(), message: message.clone(), key, value: value.clone(), place: at };
        self.events.paired.insert(name, event);
    }

    fn without_message(
        &mut self,
        at: Place,
        value: &EnumValueDescriptor,
        stem: &str,
        package: &Package,
        spoken_for: &mut BTreeMap<String, String>,
    ) {
        let wanted = message_name(stem);
        let unsuffixed =
            package.messages.iter().find(|message| format!("{}{SUFFIX}", message.name()) == wanted);
        let similar = package
            .unclaimed()
            .map(|message| (strsim::osa_distance(message.name(), &wanted), message))
            .filter(|(distance, _)| *distance <= 3)
            .min_by_key(|(distance, _)| *distance);
        let hint = if let Some(message) = unsuffixed {
            format!("rename `{}` to `{wanted}`", message.name())
        } else if let Some((_, message)) = similar {
            spoken_for.insert(message.name().to_owned(), value.name().to_owned());
            self.events.unpaired.insert(format!("{PREFIX}{}", stem_of(message)).to_ascii_lowercase());
            format!("`{}` is similar: make their names agree", message.name())
        } else if let Some(message) = self.pool.all_messages().find(|message| message.name() == wanted) {
            format!(
                "`{}` is not beside it: an event's value and message stand in one package, at top level",
                message.full_name()
            )
        } else if value.number() == 0 {
            "the value 0 means that nothing was said: name it EVENT_UNSPECIFIED, and number events from 1"
                .to_owned()
        } else {
            format!("add `message {wanted} {{ … }}`, or remove the value")
        };
        let missing = format!("`{}` has no message `{wanted}` in {}", value.name(), package.shown());
        self.events.findings.push(Finding::error(at, missing, hint));
    }

    fn leftover(&mut self, message: &MessageDescriptor, package: &Package) {
        let stem = stem_of(message);
        self.events.unpaired.insert(format!("{PREFIX}{stem}").to_ascii_lowercase());
        let hint = match free_value(&package.event_enum) {
            Some(free) => {
                format!("add {PREFIX}{stem} = {free}; to the enum, or rename the message if it is no event")
            }
            None => format!("add {PREFIX}{stem} to the enum, or rename the message if it is no event"),
        };
        self.events.findings.push(Finding::error(
            self.places.of(&message.parent_file(), message.path()),
            format!("`{}` has no value in `enum Event` of {}", message.name(), package.shown()),
            hint,
        ));
    }
}

/// HOGE_UPDATED of EVENT_HOGE_UPDATED. The error has the right name, the mistake and the remedy.
fn well_formed(value: &EnumValueDescriptor) -> Result<&str, (String, String, String)> {
    let stem = value.name().strip_prefix(PREFIX).filter(|stem| is_shouty(stem));
    let Some(stem) = stem else {
        let stem = value.name().to_shouty_snake_case();
        let stem = stem.strip_prefix(PREFIX).unwrap_or(&stem).to_owned();
        let message = format!("`{}` is not of the form EVENT_HOGE_UPDATED", value.name());
        let hint = if value.number() == 0 {
            "the value 0 means that nothing was said: name it EVENT_UNSPECIFIED".to_owned()
        } else {
            format!("write {PREFIX}{stem}")
        };
        return Err((stem, message, hint));
    };
    if value.name().len() > NAME_CHARS_MAX {
        let message = format!("`{}` is longer than {NAME_CHARS_MAX} characters", value.name());
        return Err((stem.to_owned(), message, "the bus takes no longer name: shorten it".to_owned()));
    }
    Ok(stem)
}

fn claimed_twice(at: Place, name: &str, stem: &str, package: &Package, first: &EventType) -> Finding {
    let claim = format!(
        "the event {name} is claimed by two packages: {} and, at {}, {}",
        package.shown(),
        first.place,
        shown(first.value.parent_enum())
    );
    // The subscribers that are there take the first.
    let (of, own) = (first.value.parent_enum(), package.event_enum.package_name());
    let (of, own) = (of.package_name(), own.split('.').next().unwrap_or_default());
    let hint = format!(
        "two versions of one event: name the package beside it in event_router.yaml, as in package: '{of}' (a build script: `events_package`; `outbox codegen`: --events-package); two events: rename this one, for example EVENT_{}_{stem}",
        own.to_shouty_snake_case()
    );
    Finding::error(at, claim, hint)
}

/// The next number that is neither used nor reserved.
fn free_value(event_enum: &EnumDescriptor) -> Option<i32> {
    let last = event_enum.values().map(|value| value.number()).max().unwrap_or(0).max(0);
    let is_free = |number: &i32| !event_enum.reserved_ranges().any(|range| range.contains(number));
    (last.checked_add(1)?..=i32::MAX).find(is_free)
}

/// HogeUpdatedEvent of HOGE_UPDATED.
fn message_name(stem: &str) -> String {
    format!("{}{SUFFIX}", stem.to_upper_camel_case())
}

/// HOGE_UPDATED of HogeUpdatedEvent.
fn stem_of(message: &MessageDescriptor) -> String {
    message.name().strip_suffix(SUFFIX).unwrap_or(message.name()).to_shouty_snake_case()
}

fn is_shouty(stem: &str) -> bool {
    stem.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
        && stem.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !stem.ends_with('_')
        && !stem.contains("__")
}
