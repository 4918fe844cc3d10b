//! The events and RPCs that proto files define.
//!
//! An event is a value of an `enum Event` and the message beside it: `EVENT_HOGE_UPDATED`, `HogeUpdatedEvent`, and in
//! `event_router.yaml` `event_hoge_updated`. No protoc is needed.

mod compile;
mod enums;
mod events;
mod keys;
mod place;
mod rpcs;
mod sources;

pub use compile::OPTIONS;
pub use events::EventType;
pub use rpcs::{CarrierError, RpcError, carrier};
pub use sources::{ReadError, Sources};

use std::collections::BTreeMap;

use finding::{Finding, Place, Report};
use prost_reflect::{DescriptorPool, FileDescriptor, MethodDescriptor};

use events::Events;
use place::Places;

/// The descriptors of a company's proto files, and the events among them.
#[derive(Debug, Clone)]
pub struct Contract {
    pool: DescriptorPool,
    files: Files,
    places: Places,
    events: Events,
}

/// The files to compile, by their name in descriptors, without their imports.
type Files = BTreeMap<String, SourceFile>;

#[derive(Debug, Clone)]
struct SourceFile {
    /// The path that messages show.
    shown: String,
    /// `None` in a descriptor set.
    text: Option<String>,
}

impl Contract {
    fn new(pool: DescriptorPool, files: Files) -> Self {
        let places = Places::new(&pool, &files);
        let mut events = events::pair(&pool, &files, &places);
        events.findings.extend(enums::collisions(&pool, &places));
        Self { pool, files, places, events }
    }

    /// Every descriptor, including those of imported files.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The compiled files, without their imports.
    pub fn files(&self) -> impl Iterator<Item = FileDescriptor> + '_ {
        self.pool.files().filter(|file| self.files.contains_key(file.name()))
    }

    pub fn events(&self) -> impl Iterator<Item = &EventType> {
        self.events.paired.values()
    }

    pub fn event(&self, name: &str) -> Option<&EventType> {
        self.events.paired.get(name)
    }

    /// Whether a finding keeps an event of this name from being paired.
    pub fn is_unpaired(&self, name: &str) -> bool {
        self.events.unpaired.contains(name)
    }

    /// Finds `Service/Method`, the service with or without its package.
    pub fn rpc(&self, id: &str) -> Result<MethodDescriptor, RpcError> {
        rpcs::find(self, id)
    }

    /// Breaches of the convention: a value without its message, a message without its value, two packages with one name, an
    /// invalid key, or enum values that collide in generated code.
    pub fn findings(&self) -> &[Finding] {
        &self.events.findings
    }

    /// Adds the texts to the report, so that it can show their lines.
    pub fn add_texts(&self, report: &mut Report) {
        for SourceFile { shown, text } in self.files.values() {
            if let Some(text) = text {
                report.add_text(shown, text);
            }
        }
    }

    /// The place of a descriptor; `path` is as in `SourceCodeInfo`.
    pub fn place(&self, file: &FileDescriptor, path: &[i32]) -> Place {
        self.places.of(file, path)
    }
}
