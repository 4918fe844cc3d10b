//! Two builds: of another commit, and of this source.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::process::{root, target};

use crate::demo::failure::Failure;

/// As many characters of a hash as `--version` shows.
const HASH_CHARS: &str = "--short=12";
/// Relay and worker; and `many`, an example of the library, is a publisher.
const BUILDS: [&[&str]; 2] = [
    &["--package", "outbox-relay", "--package", "outbox-worker", "--package", "sample", "--bins"],
    &["--package", "outbox", "--example", "many"],
];
const PROGRAMS: [&str; 4] = ["relay", "worker", "sample-server", "examples/many"];

#[derive(Debug)]
pub(super) struct Build {
    revision: String,
    /// Where the programs are.
    bin: PathBuf,
    /// Where its routes and its proto are.
    root: PathBuf,
}

impl Build {
    /// Of another commit. Its dependencies are compiled once for both builds, if they have the same versions.
    pub(super) fn of(revision: &str) -> Result<Self, Failure> {
        let commit = format!("{revision}^{{commit}}");
        let hash = git(&["rev-parse", "--verify", "--quiet", HASH_CHARS, &commit])
            .map_err(|_| format!("{revision} is no commit of this repository: git log shows them"))?;
        let folder = std::path::absolute(target())?.join("upgrade").join(&hash);
        let build = Self { bin: folder.join("bin"), root: folder.join("source"), revision: hash };
        if !PROGRAMS.iter().all(|program| build.program(program).is_file()) {
            unpack(&build.revision, &build.root)?;
            build.make(&build.root)?;
        }
        Ok(build)
    }

    pub(super) fn here() -> Result<Self, Failure> {
        let revision = git(&["rev-parse", HASH_CHARS, "HEAD"])?;
        let folder = std::path::absolute(target())?.join("upgrade/here");
        let build =
            Self { bin: folder.join("bin"), root: root(), revision: format!("{revision} (this source)") };
        build.make(&root())?;
        Ok(build)
    }

    /// Builds, and copies the programs, because the next build has the same target directory.
    fn make(&self, source: &Path) -> Result<(), Failure> {
        for args in BUILDS {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--quiet"]).args(args).current_dir(source);
            cargo.env("CARGO_TARGET_DIR", std::path::absolute(target())?);
            if source != root() {
                // It has no git directory.
                cargo.env("OUTBOX_REVISION", &self.revision);
            }
            let status = cargo.status()?;
            if !status.success() {
                return Err(format!("{self} does not build: cargo build {}: {status}", args.join(" ")).into());
            }
        }
        std::fs::create_dir_all(self.bin.join("examples"))?;
        for program in PROGRAMS {
            std::fs::copy(target().join("debug").join(program), self.program(program))?;
        }
        Ok(())
    }

    pub(super) fn bin(&self) -> &Path {
        &self.bin
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.revision)
    }
}

/// The files of a commit, without a work tree that git would have to forget afterwards.
fn unpack(hash: &str, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    let mut archive = Command::new("git")
        .args(["archive", "--format=tar", hash])
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()?;
    let tar = archive.stdout.take().ok_or("git archive writes nothing")?;
    let unpacked = Command::new("tar").arg("-x").arg("-C").arg(to).stdin(tar).status()?;
    if archive.wait()?.success() && unpacked.success() {
        return Ok(());
    }
    Err(format!("failed to unpack {hash} into {}", to.display()).into())
}

fn git(args: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git").args(args).current_dir(root()).output()?;
    if !output.status.success() {
        return Err(format!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
