//! The three binaries: built, or taken from where they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::process::target;

use super::steps;
use crate::programs::cargo;

/// Each with the package that has it.
pub(super) const PROGRAMS: [(&str, &str); 3] =
    [("outbox", "outbox-cli"), ("relay", "outbox-bus-relay"), ("worker", "outbox-worker")];

pub(super) struct Programs {
    dir: PathBuf,
    /// The revision of the source, as `--version` says it.
    pub(super) revision: String,
}

impl Programs {
    /// Builds them, unless there is a directory that has them.
    pub(super) fn found(given: Option<&Path>, profile: &str, version: &str) -> Result<Self, String> {
        let dir = match given {
            Some(dir) => dir.to_owned(),
            None => built(profile)?,
        };
        let mut revisions = Vec::new();
        for (name, _) in PROGRAMS {
            revisions.push(revision(&dir.join(name), name, version)?);
        }
        revisions.dedup();
        let [revision] = &revisions[..] else {
            return Err(format!("the programs in {} are of several sources: {revisions:?}", dir.display()));
        };
        if revision == "unknown" {
            eprintln!(
                "warning: the programs do not know their revision: set OUTBOX_REVISION, or build in git"
            );
        }
        println!("    outbox, relay, worker {version} ({revision}) in {}", dir.display());
        Ok(Self { revision: revision.clone(), dir })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The programs with their names.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        PROGRAMS.map(|(name, _)| (name, self.path(name))).into_iter()
    }

    /// Puts them into a directory.
    pub(super) fn copy_to(&self, dir: &Path) -> Result<(), String> {
        self.each().try_for_each(|(name, path)| steps::copy(&path, &dir.join(name), 0o755))
    }
}

fn built(profile: &str) -> Result<PathBuf, String> {
    steps::began(&format!("programs: cargo build --locked --profile {profile}"));
    let mut build = cargo();
    build.args(["build", "--locked", "--profile", profile]);
    for (name, package) in PROGRAMS {
        build.args(["--package", package, "--bin", name]);
    }
    steps::succeeds(&mut build)?;
    Ok(target().join(if profile == "dev" { "debug" } else { profile }))
}

/// From `outbox 0.1.0 (4f2a9c)`.
fn revision(path: &Path, name: &str, version: &str) -> Result<String, String> {
    if !path.is_file() {
        return Err(format!(
            "there is no {}: pass a directory with outbox, relay and worker",
            path.display()
        ));
    }
    let said = steps::output(Command::new(path).arg("--version"))?;
    let revision =
        said.trim().strip_prefix(&format!("{name} {version} (")).and_then(|rest| rest.strip_suffix(')'));
    let other = || format!("{} is not {name} {version}: it says {said:?}", path.display());
    revision.map(str::to_owned).ok_or_else(other)
}
