//! Options of fields that are ours. Each is known by its name: an option of a company's own may have the same number.

use outbox_finding::Finding;
use prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind, Value};

use crate::place::Places;

pub(crate) const KEY: &str = "outbox.key";
pub(crate) const SENSITIVE: &str = "outbox.sensitive";
const EXTENDED: &str = "google.protobuf.FieldOptions";
pub(crate) const REMEDY: &str =
    "give it another number: buf and protoc refuse two options of one number where they read both";

/// `None` where no file declares it: then no field has it.
#[derive(Debug)]
pub(crate) struct FieldOption(Option<ExtensionDescriptor>);

impl FieldOption {
    pub(crate) fn named(name: &str, pool: &DescriptorPool) -> Self {
        let found = pool.get_extension_by_name(name);
        Self(found.filter(|one| is_of_fields(one) && one.kind() == Kind::Bool))
    }

    /// Descriptors have only the number. In a file that does not import the declaration, it is another option's.
    pub(crate) fn marks(&self, field: &FieldDescriptor) -> bool {
        self.0.as_ref().is_some_and(|option| {
            matches!(*field.options().get_extension(option), Value::Bool(true))
                && sees(&field.parent_file(), &option.parent_file())
        })
    }

    /// Options of others with its number.
    pub(crate) fn namesakes(&self, pool: &DescriptorPool, places: &Places) -> Vec<Finding> {
        let Some(option) = &self.0 else { return Vec::new() };
        let is_other = |one: &ExtensionDescriptor| {
            is_of_fields(one) && one.number() == option.number() && one.full_name() != option.full_name()
        };
        let found = pool.all_extensions().filter(is_other).map(|other| {
            let at = places.of(&other.parent_file(), other.path());
            Finding::warning(at, shares(other.full_name(), option.number(), option.full_name()), REMEDY)
        });
        found.collect()
    }
}

pub(crate) fn shares(other: &str, number: u32, ours: &str) -> String {
    format!("`{other}` has the number {number}, which is that of ({ours})")
}

fn is_of_fields(one: &ExtensionDescriptor) -> bool {
    one.containing_message().full_name() == EXTENDED
}

/// Whether a file can name what another one declares.
fn sees(file: &FileDescriptor, other: &FileDescriptor) -> bool {
    fn shows(file: &FileDescriptor, other: &FileDescriptor) -> bool {
        file == other || file.public_dependencies().any(|public| shows(&public, other))
    }
    file == other || file.dependencies().any(|import| shows(&import, other))
}
