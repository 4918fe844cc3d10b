//! What the programs are built from: `cargo tree` knows the packages, `cargo metadata` and Cargo.lock know more about each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use testkit::process::root;

use super::programs::PROGRAMS;
use super::steps;
use crate::programs::cargo;

/// Name and version, as cargo identifies a package of one registry.
pub(super) type Id = (String, String);

pub(super) struct Dependency {
    pub(super) license: String,
    /// Where its licence files are.
    pub(super) dir: PathBuf,
    /// Of the registry's file. The project's own packages have none.
    pub(super) checksum: Option<String>,
    /// Whether it gets into a program. If not, a build script or a macro needs it.
    pub(super) is_linked: bool,
    pub(super) needs: BTreeSet<Id>,
}

/// With those of the project.
pub(super) struct Dependencies(pub(super) BTreeMap<Id, Dependency>);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Dependencies {
    pub(super) fn read(triple: &str) -> Result<Self, String> {
        let linked = tree(triple, "normal")?;
        let all = tree(triple, "normal,build")?;
        let mut metadata = cargo();
        metadata.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", triple]);
        let metadata: Metadata = serde_json::from_str(&steps::output(&mut metadata)?)
            .map_err(|error| format!("cargo metadata: {error}"))?;
        let checksums = checksums(&steps::read(&root().join("Cargo.lock"))?);
        let id = |package: &Package| (package.name.clone(), package.version.clone());
        let ids: BTreeMap<&str, Id> =
            metadata.packages.iter().map(|package| (package.id.as_str(), id(package))).collect();
        let needs: BTreeMap<&str, &Vec<String>> =
            metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), &node.dependencies)).collect();
        let mut found = BTreeMap::new();
        for package in &metadata.packages {
            let id = id(package);
            if !all.contains(&id) {
                continue;
            }
            let needs = needs.get(package.id.as_str()).into_iter().flat_map(|ids| ids.iter());
            let needs = needs.filter_map(|needed| ids.get(needed.as_str())).filter(|id| all.contains(*id));
            let dependency = Dependency {
                license: package.license.clone().unwrap_or_default().replace('/', " OR "),
                dir: package.manifest_path.parent().unwrap_or(&package.manifest_path).to_owned(),
                checksum: checksums.get(&id).cloned(),
                is_linked: linked.contains(&id),
                needs: needs.cloned().collect(),
            };
            found.insert(id, dependency);
        }
        match all.iter().find(|id| !found.contains_key(*id)) {
            Some((name, version)) => Err(format!("cargo metadata has no {name} {version}")),
            None => Ok(Self(found)),
        }
    }
}

/// The packages of the programs, with the features that they are built with. `cargo metadata` has those of all packages.
fn tree(triple: &str, edges: &str) -> Result<BTreeSet<Id>, String> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--target", triple, "--edges", edges, "--prefix", "none"]);
    tree.args(["--format", "{p}"]);
    for (_, package) in PROGRAMS {
        tree.args(["--package", package]);
    }
    // A line is `name v1.2.3`, with more behind it.
    let parsed = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    Ok(steps::output(&mut tree)?.lines().filter_map(parsed).collect())
}

/// Of Cargo.lock, whose packages have a line for each of these.
fn checksums(lock: &str) -> BTreeMap<Id, String> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
        line.and_then(|rest| rest.strip_suffix('"')).map(str::to_owned)
    };
    let packages = lock.split("[[package]]").skip(1);
    packages
        .filter_map(|package| {
            Some(((value(package, "name")?, value(package, "version")?), value(package, "checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the SBOM: a component has the checksum of its own file.
    #[test]
    fn checksums_are_read() {
        let lock = "version = 4\n\n[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n\n\
                    [[package]]\nname = \"a\"\nversion = \"1.2.3\"\nsource = \"registry\"\nchecksum = \"aabb\"\n";
        let expected = (("a".to_owned(), "1.2.3".to_owned()), "aabb".to_owned());
        assert_eq!(checksums(lock), BTreeMap::from([expected]));
    }
}
