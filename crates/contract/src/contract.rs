//! The descriptors, and the events among them.

use outbox_finding::{Finding, Place, Report};
use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor};

use crate::enums;
use crate::events::{self, EventType, Events};
use crate::files::{Files, SourceFile};
use crate::keys;
use crate::place::Places;
use crate::selection::Selection;

/// The descriptors of a company's proto files, and the events among them.
#[derive(Debug, Clone)]
pub struct Contract {
    pool: DescriptorPool,
    files: Files,
    places: Places,
    events: Events,
    passed_over: Vec<Finding>,
}

impl Contract {
    /// `passed_over` are findings about what was left out.
    pub(crate) fn new(
        pool: DescriptorPool,
        files: Files,
        selection: &Selection,
        passed_over: Vec<Finding>,
    ) -> Self {
        let places = Places::new(&pool, &files);
        let mut events = events::pair(&pool, &files, &places, selection);
        events.findings.extend(passed_over.iter().cloned());
        events.findings.extend(enums::collisions(&pool, &places));
        Self { pool, files, places, events, passed_over }
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

    /// Whether the field is marked with (outbox.sensitive).
    pub fn is_sensitive(&self, field: &FieldDescriptor) -> bool {
        keys::is_sensitive(field)
    }

    /// The package that has an event of this name, which another one was chosen for or which does not count.
    pub fn left_out(&self, name: &str) -> Option<&str> {
        self.events.left_out.get(name).map(String::as_str)
    }

    /// Whether a finding keeps an event of this name from being paired.
    pub fn is_unpaired(&self, name: &str) -> bool {
        self.events.unpaired.contains(name)
    }

    /// Breaches of the convention: a value without its message, a message without its value, two packages with one name, an
    /// invalid key, or enum values that collide in generated code.
    pub fn findings(&self) -> &[Finding] {
        &self.events.findings
    }

    /// Those of the findings that tell which files were left out, and which options of others are not `(outbox.key)`.
    pub fn passed_over(&self) -> &[Finding] {
        &self.passed_over
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
