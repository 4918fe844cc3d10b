//! Finds names that differ in proto and collide in Rust, or that Rust can't have. Rust's own error would name generated code,
//! or prost would panic.

use std::collections::BTreeMap;

use heck::{ToSnakeCase, ToUpperCamelCase};
use outbox_contract::{Contract, is_googles};
use outbox_finding::{Finding, Report};
use prost_build::Module;
use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};

use crate::Error;
use crate::rust::{is_generated, rust_path, snake};

pub(crate) fn check(contract: &Contract) -> Result<(), Error> {
    let mut names = Names { contract, taken: BTreeMap::new(), findings: Vec::new() };
    names.packages();
    for message in contract.pool().all_messages().filter(|it| !it.is_map_entry() && is_generated(it)) {
        names.message(&message);
        names.fields(&message);
    }
    for it in contract.pool().all_enums().filter(|it| !is_googles(it.package_name())) {
        names.an_enum(&it);
    }
    if names.findings.is_empty() {
        return Ok(());
    }
    let mut report = Report::default();
    contract.add_texts(&mut report);
    report.add(names.findings);
    Err(Error::Proto(report))
}

const BOTH: &str = "rename one of them";

struct Names<'a> {
    contract: &'a Contract,
    /// The proto element of each Rust path.
    taken: BTreeMap<String, String>,
    findings: Vec<Finding>,
}

impl Names<'_> {
    fn packages(&mut self) {
        for file in self.contract.pool().files() {
            let package = Module::from_protobuf_package_name(file.package_name());
            let parts: Vec<&str> = package.parts().collect();
            for depth in 1..=parts.len() {
                let module = format!("mod {}", parts[..depth].join("::"));
                self.taken.insert(module, format!("package {}", file.package_name()));
            }
        }
    }

    /// Takes the path of the message's type, and of the module for nested types.
    fn message(&mut self, message: &MessageDescriptor) {
        let (file, at) = (message.parent_file(), message.path());
        let name = format!("message {}", message.full_name());
        if message.name().to_upper_camel_case().is_empty() {
            self.nameless(&file, at, &name);
            return;
        }
        let path = rust_path(message);
        let nests = message.child_messages().any(|child| !child.is_map_entry())
            || message.child_enums().len() > 0
            || message.oneofs().any(|oneof| !oneof.is_synthetic());
        self.take(&path, &name, &file, at);
        if nests {
            let parent = path.rsplit_once("::").map_or(String::new(), |(parent, _)| format!("{parent}::"));
            self.take(&format!("mod {parent}{}", snake(message.name())), &name, &file, at);
        }
    }

    fn an_enum(&mut self, it: &EnumDescriptor) {
        let (file, name) = (it.parent_file(), format!("enum {}", it.full_name()));
        let camel = it.name().to_upper_camel_case();
        if camel.is_empty() {
            self.nameless(&file, it.path(), &name);
            return;
        }
        for value in it.values().filter(|value| value.name().to_upper_camel_case().is_empty()) {
            self.nameless(&file, value.path(), &format!("`{}` of {name}", value.name()));
        }
        let parent = match it.parent_message() {
            Some(parent) => {
                let path = rust_path(&parent);
                let outer = path.rsplit_once("::").map_or(String::new(), |(outer, _)| format!("{outer}::"));
                format!("{outer}{}::", snake(parent.name()))
            }
            None => {
                let package = Module::from_protobuf_package_name(it.package_name());
                package.parts().map(|part| format!("{part}::")).collect()
            }
        };
        self.take(&format!("{parent}{camel}"), &name, &file, it.path());
    }

    fn take(&mut self, path: &str, name: &str, file: &FileDescriptor, at: &[i32]) {
        if let Some(first) = self.taken.insert(path.to_owned(), name.to_owned()) {
            self.found(file, at, format!("{name} and {first} would both be `{path}` in Rust"), BOTH);
        }
    }

    /// Checks the names of a message's fields and oneofs, of each oneof's fields, and of the methods that prost derives.
    fn fields(&mut self, message: &MessageDescriptor) {
        let of = format!("message {}", message.full_name());
        let file = message.parent_file();
        let mut fields = BTreeMap::new();
        let mut methods = BTreeMap::new();
        for field in message.fields() {
            let at = field.path().to_owned();
            if let Some((alias, first)) = aliased_default(&field) {
                let message = format!(
                    "the default `{alias}` of `{}` is an alias, and Rust has only `{first}`",
                    field.name()
                );
                self.found(&file, &at, message, &format!("write [default = {first}]"));
            }
            if field.name().to_snake_case().is_empty() {
                self.nameless(&file, &at, &format!("`{}` of {of}", field.name()));
            } else if field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic()) {
                self.once(&mut fields, &snake(field.name()), field.name(), &of, "be", (&file, &at));
                for method in methods_of(&field) {
                    self.once(&mut methods, &method, field.name(), &of, "have the method", (&file, &at));
                }
            }
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            self.once(&mut fields, &snake(oneof.name()), oneof.name(), &of, "be", (&file, oneof.path()));
            let mut variants = BTreeMap::new();
            for field in oneof.fields() {
                let (variant, of) = (field.name().to_upper_camel_case(), format!("oneof `{}`", oneof.name()));
                self.once(&mut variants, &variant, field.name(), &of, "be", (&file, field.path()));
            }
        }
    }

    fn once(
        &mut self,
        taken: &mut BTreeMap<String, String>,
        rust: &str,
        name: &str,
        of: &str,
        verb: &str,
        (file, at): (&FileDescriptor, &[i32]),
    ) {
        if let Some(first) = taken.insert(rust.to_owned(), name.to_owned()) {
            self.found(
                file,
                at,
                format!("`{first}` and `{name}` of {of} would both {verb} `{rust}` in Rust"),
                BOTH,
            );
        }
    }

    fn nameless(&mut self, file: &FileDescriptor, at: &[i32], what: &str) {
        self.found(file, at, format!("{what} has no name in Rust"), "rename it");
    }

    fn found(&mut self, file: &FileDescriptor, at: &[i32], message: String, hint: &str) {
        self.findings.push(Finding::error(self.contract.place(file, at), message, hint));
    }
}

fn methods_of(field: &FieldDescriptor) -> Vec<String> {
    let name = snake(field.name());
    let bare = name.trim_start_matches("r#");
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return Vec::new() };
        return match entry.map_entry_value_field().kind() {
            Kind::Enum(_) => vec![format!("get_{bare}"), format!("insert_{bare}")],
            _ => Vec::new(),
        };
    }
    match field.kind() {
        Kind::Enum(_) if field.is_list() => vec![name.clone(), format!("push_{bare}")],
        Kind::Enum(_) => vec![name.clone(), format!("set_{bare}")],
        Kind::Message(_) => Vec::new(),
        _ if field.supports_presence() && !field.is_required() => vec![name],
        _ => Vec::new(),
    }
}

/// A default value that is an alias, with the first name for the same number.
fn aliased_default(field: &FieldDescriptor) -> Option<(String, String)> {
    let Kind::Enum(of) = field.kind() else { return None };
    let name = field.field_descriptor_proto().default_value.clone()?;
    let number = of.values().find(|value| value.name() == name)?.number();
    let same = of.values().filter(|value| value.number() == number);
    let first = same.min_by(|a, b| a.path().cmp(b.path()))?.name().to_owned();
    (first != name).then_some((name, first))
}
