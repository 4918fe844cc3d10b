//! The oldest Rust that compiles what a service builds: the publisher's library, and the one for its build script.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

use testkit::process::{root, target};
use testkit::tools;

use crate::world::shared_turn;

/// The crates of a service, and the features of `outbox` that need no newer Rust.
const LIBRARIES: [&str; 5] = ["outbox", "outbox-build", "outbox-contract", "outbox-event", "outbox-finding"];
const FEATURES: &str = "outbox/opentelemetry,outbox/signature,outbox/tokio-postgres";
/// What its features need, as docs/publish.md says.
const STACKS: [(&str, &str); 5] = [
    ("tokio-postgres", "1.85"),
    ("diesel", "1.86"),
    ("diesel-async", "1.86"),
    ("sqlx", "1.94"),
    ("sea-orm", "1.94"),
];

type Version = Vec<u32>;

fn version(text: &str) -> Version {
    let mut parts: Version = text.split('.').map(|part| part.parse().unwrap()).collect();
    parts.resize(3, 0);
    parts
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The `rust-version` of each package that states one, by name and version.
fn stated() -> BTreeMap<(String, String), String> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .filter_map(|package| {
            let text = |field: &str| package[field].as_str().map(str::to_owned);
            Some(((text("name")?, text("version")?), text("rust_version")?))
        })
        .collect()
}

/// What a package is built from with these features: name and version.
fn tree(package: &str, features: &str) -> Vec<(String, String)> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut args = vec!["tree", "--package", package, "--no-default-features", "--locked", "--offline"];
    args.extend(["--edges", "normal,build", "--prefix", "none", "--target", &target]);
    if !features.is_empty() {
        args.extend(["--features", features]);
    }
    let lines = cargo(&args);
    lines
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
        })
        .collect()
}

/// Guards docs/publish.md: no dependency of a library states a newer Rust than the library. Not every dependency states one.
#[test]
fn no_dependency_states_a_newer_rust() {
    let stated = stated();
    let of = |name: &str| stated[&(name.to_owned(), env!("CARGO_PKG_VERSION").to_owned())].clone();
    let mut cases: Vec<(&str, String, String)> =
        LIBRARIES.iter().map(|library| (*library, String::new(), of(library))).collect();
    cases.push(("outbox", "opentelemetry,signature".to_owned(), of("outbox")));
    cases.push(("outbox-schema", String::new(), of("outbox-schema")));
    cases.extend(STACKS.map(|(stack, oldest)| ("outbox", stack.to_owned(), oldest.to_owned())));
    for (library, features, oldest) in cases {
        let newer: Vec<_> = tree(library, &features)
            .into_iter()
            .filter_map(|package| Some((stated.get(&package)?, package)))
            .filter(|(needs, _)| version(needs) > version(&oldest))
            .collect();
        assert!(newer.is_empty(), "{library} with [{features}] says {oldest}: {newer:?}");
    }
}

/// Guards docs/publish.md: it names the Rust of each stack as it is tested here.
#[test]
fn the_document_names_the_same_versions() {
    let document = std::fs::read_to_string(root().join("docs/publish.md")).unwrap();
    for (stack, oldest) in STACKS {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{stack}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/publish.md has no row of {stack}"));
        assert!(row.ends_with(&format!("| {oldest} |")), "{row}");
    }
}

/// Guards docs/publish.md: the libraries compile with the Rust that they state, without a stack that needs a newer one. Its
/// toolchain comes from rustup.
#[test]
fn the_libraries_compile_with_the_oldest_rust() {
    // The compiler would disturb a test that measures.
    let _turn = shared_turn();
    let oldest = &stated()[&("outbox".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let bin = match tools::rust_toolchain(oldest) {
        Ok(bin) => bin,
        Err(error) => {
            // Not eprintln: the output of a passing test is not shown.
            let _ = writeln!(std::io::stderr(), "\n!!! NOT TESTED: Rust {oldest}, because {error}\n");
            assert!(std::env::var_os("CI").is_none(), "in CI the oldest Rust must be tested");
            return;
        }
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(&path))).unwrap();
    let mut check = Command::new(bin.join("cargo"));
    check.args(["check", "--locked", "--quiet", "--no-default-features", "--features", FEATURES]);
    check.args(LIBRARIES.iter().flat_map(|library| ["--package", library]));
    let output = check
        .current_dir(root())
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", target().join(format!("rust-{oldest}")))
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .unwrap();
    assert!(output.status.success(), "Rust {oldest}: {}", String::from_utf8_lossy(&output.stderr));
}
