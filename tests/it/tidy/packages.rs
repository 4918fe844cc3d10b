//! What is published: names, descriptions, versions, and the files inside each package.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::{PROOF, ROOT, files_of};

/// Folders whose package has another name, because `outbox-` and the folder belongs to another project on crates.io.
const TAKEN: [(&str, &str); 2] = [("postgres", "outbox-store-postgres"), ("relay", "outbox-bus-relay")];

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(args).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The workspace's packages by their names, as cargo reads them.
fn packages() -> BTreeMap<String, Value> {
    let metadata = cargo(&["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"]);
    let mut metadata: Value = serde_json::from_str(&metadata).unwrap();
    let Value::Array(packages) = metadata["packages"].take() else { panic!("no packages") };
    packages.into_iter().map(|package| (package["name"].as_str().unwrap().to_owned(), package)).collect()
}

/// A package without `publish` may be published anywhere. `publish = false` is an empty list.
fn is_published(package: &Value) -> bool {
    package["publish"].is_null()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn folder(package: &Value) -> PathBuf {
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().canonicalize().unwrap()
}

/// Guards the house rules: a package is `outbox-` and its folder. What is never published has its folder's name alone.
#[test]
fn packages_are_named_in_one_way() {
    for (name, package) in packages() {
        let folder = folder(&package).file_name().unwrap().to_str().unwrap().to_owned();
        let taken = TAKEN.iter().find(|(taken, _)| *taken == folder);
        let is_bare = ["outbox", "sample", "tests"].contains(&&*folder) || PROOF.contains(&&*folder);
        let expected = match taken {
            Some((_, package)) => (*package).to_owned(),
            None if is_bare => folder.clone(),
            None => format!("outbox-{folder}"),
        };
        assert_eq!(name, expected, "{folder}");
    }
}

/// Guards the release: the product is published, and what only proves it is not.
#[test]
fn the_product_is_published() {
    let all = packages();
    let kept: Vec<&str> =
        all.iter().filter(|(_, package)| !is_published(package)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(kept, ["bench", "sample", "testkit", "tests", "torture", "xtask"]);
}

/// Guards the release: crates.io refuses a package without description and licence, and a reader needs the rest.
#[test]
fn each_published_package_describes_itself() {
    for (name, package) in packages().into_iter().filter(|(_, package)| is_published(package)) {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        assert!((20..=160).contains(&text("description").len()), "{name}: {}", text("description"));
        assert_eq!(text("license"), "MIT OR Apache-2.0", "{name}");
        assert_eq!(text("documentation"), format!("https://docs.rs/{name}"));
        assert!(folder(&package).join(text("readme")).is_file(), "{name}: {}", text("readme"));
        let keywords: Vec<_> = list(&package["keywords"]).map(|word| word.as_str().unwrap()).collect();
        assert!((1..=5).contains(&keywords.len()), "{name}: {keywords:?}");
        assert!(keywords.iter().all(|word| word.len() <= 20), "{name}: {keywords:?}");
        assert!(list(&package["categories"]).next().is_some(), "{name}");
    }
}

/// Guards the release: a published package needs only published ones, of exactly its own version.
#[test]
fn published_packages_need_each_other_in_one_version() {
    let all = packages();
    let mut count = 0;
    for (name, package) in all.iter().filter(|(_, package)| is_published(package)) {
        let expected = format!("={}", package["version"].as_str().unwrap());
        for needed in list(&package["dependencies"]).filter(|needed| needed["path"].is_string()) {
            count += 1;
            let (to, version) = (needed["name"].as_str().unwrap(), needed["req"].as_str().unwrap());
            if is_published(&all[to]) {
                assert_eq!(version, expected, "{name} needs {to}: write the version beside its path");
            } else {
                // Cargo leaves a development dependency without a version out of the package.
                assert!(
                    needed["kind"] == "dev" && version == "*",
                    "{name} needs {to}, which is not published"
                );
            }
        }
    }
    assert!(count > 40, "{count}");
}

/// Guards the release: each package has its licences, and every file that its sources include.
#[test]
fn packages_contain_what_they_include() {
    let include = Regex::new(r#"include(?:_str|_bytes)?!\(\s*"([^"]+)"\s*\)"#).unwrap();
    let mut count = 0;
    for (name, package) in packages().into_iter().filter(|(_, package)| is_published(package)) {
        let listed = cargo(&["package", "--list", "--allow-dirty", "--offline", "--package", &name]);
        let listed: Vec<&str> = listed.lines().collect();
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "Cargo.toml"] {
            assert!(listed.contains(&file), "{name} has no {file}");
        }
        let folder = folder(&package);
        for source in files_of(&folder.join("src"), "rs") {
            let text = fs::read_to_string(&source).unwrap();
            let above = source.parent().unwrap().strip_prefix(&folder).unwrap();
            for included in include.captures_iter(&text) {
                count += 1;
                let file = inside(&above.join(&included[1]));
                let is_listed = file.as_deref().is_some_and(|file| listed.contains(&file));
                assert!(
                    is_listed,
                    "{name}: {} includes {}, which is not packed",
                    source.display(),
                    &included[1]
                );
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// The path without `..`; `None` if it leads out of the package.
fn inside(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => {}
        }
    }
    Some(parts.join("/"))
}
