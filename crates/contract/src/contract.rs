//! The descriptors, and the events among them.

use outbox_finding::{Finding, Place, Report};
use prost_reflect::{DescriptorPool, FileDescriptor};

use crate::enums;
use crate::events::{self, EventType, Events};
use crate::files::{Files, SourceFile};
use crate::place::Places;

/// The descriptors of a company's proto files, and the events among them.
#[derive(Debug, Clone)]
pub struct Contract {
    pool: DescriptorPool,
    files: Files,
    places: Places,
    events: Events,
}

impl Contract {
    pub(crate) fn new(pool: DescriptorPool, files: Files) -> Self {
        let places = Places::new(&pool, &files);
        let mut events = events::pair(&pool, &files, &places);
        events.findings.extend(enums::collisions(&pool, &places));
        Self { pool, files, places, events }
    }

    /// Every descriptor, those of imported files too.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The files that were read, not what they import.
    pub fn files(&self) -> impl Iterator<Item = FileDescriptor> + '_ {
        self.pool.files().filter(|file| self.files.contains_key(file.name()))
    }

    /// Every event, by name.
    pub fn events(&self) -> impl Iterator<Item = &EventType> {
        self.events.paired.values()
    }

    pub fn event(&self, name: &str) -> Option<&EventType> {
        self.events.paired.get(name)
    }

    /// True for the name of an event that there would be, were it not for one of the findings.
    pub fn is_unpaired(&self, name: &str) -> bool {
        self.events.unpaired.contains(name)
    }

    /// What breaks the convention: a value without its message, a message without its value, two packages with one
    /// name, a key that can't be one, enum values that generated code can't tell apart.
    pub fn findings(&self) -> &[Finding] {
        &self.events.findings
    }

    /// Gives the report the texts to show lines of.
    pub fn add_texts(&self, report: &mut Report) {
        for SourceFile { shown, text } in self.files.values() {
            if let Some(text) = text {
                report.add_text(shown, text);
            }
        }
    }

    /// Where a descriptor stands: `path` as in `SourceCodeInfo`.
    pub fn place(&self, file: &FileDescriptor, path: &[i32]) -> Place {
        self.places.of(file, path)
    }
}
