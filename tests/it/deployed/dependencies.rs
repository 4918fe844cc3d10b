//! Dependencies, checked with cargo alone. `cargo deny check` looks at advisories, too.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use spdx::{Expression, LicenseReq, Licensee, ParseMode};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A second version of one of these would double everything that depends on it.
const ONE_OF: [&str; 7] = ["aws-lc-rs", "h2", "http", "hyper", "prost", "rustls", "tokio"];
/// Another TLS stack, or crates without a maintainer.
const NONE_OF: [&str; 7] =
    ["backoff", "instant", "native-tls", "openssl", "openssl-sys", "ring", "serde_yaml"];

struct Package {
    name: String,
    version: String,
    /// The registry or repository, unless it is crates.io.
    source: Option<String>,
    license: String,
}

/// Everything that is built for this machine, tests and build scripts included.
fn packages() -> Vec<Package> {
    let tree = ["tree", "--workspace", "--locked", "--offline", "--edges", "normal,build,dev"];
    let output = Command::new(env!("CARGO"))
        .args(tree)
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: BTreeSet<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    lines.into_iter().filter(|line| !line.is_empty()).map(package).collect()
}

/// A line is `name v1.2.3 (source)|license`, with `(*)` if it was shown before.
fn package(line: &str) -> Package {
    let line = line.trim_end_matches(" (*)");
    let (id, license) = line.split_once('|').unwrap();
    let id = id.trim_end_matches(" (proc-macro)");
    let mut words = id.splitn(3, ' ');
    let name = words.next().unwrap().to_owned();
    let version = words.next().unwrap().trim_start_matches('v').to_owned();
    Package { name, version, source: words.next().map(str::to_owned), license: license.to_owned() }
}

/// The licences of `deny.toml`, so that there is one list.
fn allowed() -> Vec<Licensee> {
    let config = std::fs::read_to_string(format!("{ROOT}/deny.toml")).unwrap();
    let (_, rest) = config.split_once("\nallow = [\n").unwrap();
    let (list, _) = rest.split_once("\n]").unwrap();
    list.lines().map(|line| Licensee::parse(line.split('"').nth(1).unwrap()).unwrap()).collect()
}

/// Guards: there is one TLS stack, one HTTP stack, and no crate without a maintainer.
#[test]
fn there_is_one_of_each_stack() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(package.name).or_default().insert(package.version);
    }
    for name in ONE_OF {
        let versions = versions.get(name).unwrap_or_else(|| panic!("{name} is not built in any more"));
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
    assert!(versions["hyper"].first().unwrap().starts_with("1."), "{:?}", versions["hyper"]);
    assert!(versions["rustls"].first().unwrap().starts_with("0.23."), "{:?}", versions["rustls"]);
    for name in NONE_OF {
        assert_eq!(versions.get(name), None, "{name} came in: `cargo tree --invert {name}` says by whom");
    }
}

/// Guards: every crate is from crates.io or this repository, under an allowed licence.
#[test]
fn licences_and_sources_are_allowed() {
    let allowed = allowed();
    assert!(allowed.len() > 3);
    let packages = packages();
    assert!(packages.len() > 300, "{} packages", packages.len());
    let here = std::fs::canonicalize(ROOT).unwrap();
    for Package { name, version, source, license } in packages {
        let from_here = |source: &String| source.starts_with(&format!("({}", here.display()));
        assert!(source.as_ref().is_none_or(from_here), "{name} {version} is from {source:?}");
        let expression = Expression::parse_mode(&license, ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{name} {version}: licence {license:?}: {error}"));
        let is_allowed = |needed: &LicenseReq| allowed.iter().any(|license| license.satisfies(needed));
        assert!(expression.evaluate(is_allowed), "{name} {version}: {license} is not allowed in deny.toml");
    }
}
