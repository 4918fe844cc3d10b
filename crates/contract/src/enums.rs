//! Enums whose values collide without their prefix. Generated code in Rust, C# and Swift drops the prefix, and protoc refuses
//! such an enum in proto3.

use std::collections::{BTreeMap, BTreeSet};

use heck::ToUpperCamelCase;
use outbox_finding::Finding;
use prost_reflect::{DescriptorPool, EnumDescriptor};

use crate::place::Places;

/// The enums that make prost panic.
pub(crate) fn collisions(pool: &DescriptorPool, places: &Places) -> Vec<Finding> {
    let own = pool.all_enums().filter(|it| !is_googles(it.package_name()));
    own.flat_map(|it| of_one(&it, places)).collect()
}

/// Whether a package is protobuf's own, for which there are types already.
pub fn is_googles(package: &str) -> bool {
    package == "google.protobuf" || package.starts_with("google.protobuf.")
}

fn of_one(of: &EnumDescriptor, places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers = BTreeSet::new();
    let mut first_of: BTreeMap<String, String> = BTreeMap::new();
    // Sort by the file's order; prost-reflect sorts by number.
    let mut values: Vec<_> = of.values().collect();
    values.sort_by(|a, b| a.path().cmp(b.path()));
    for value in values {
        // An alias has the same number, and generated code keeps only the first name.
        if !numbers.insert(value.number()) {
            continue;
        }
        let short = without_prefix(of.name(), value.name());
        let Some(first) = first_of.insert(short.clone(), value.name().to_owned()) else { continue };
        let at = places.of(&value.parent_file(), value.path());
        let message = format!(
            "`{first}` and `{}` of enum `{}` are both `{short}` in generated code, which leaves out the prefix",
            value.name(),
            of.name()
        );
        findings.push(Finding::error(at, message, "rename one of them"));
    }
    findings
}

/// As prost does it: `COLOR_RED` of `Color` is `Red`, and so is `RED`.
fn without_prefix(of: &str, value: &str) -> String {
    let (of, value) = (of.to_upper_camel_case(), value.to_upper_camel_case());
    match value.strip_prefix(&of) {
        Some(rest) if rest.starts_with(char::is_uppercase) => rest.to_owned(),
        _ => value,
    }
}
