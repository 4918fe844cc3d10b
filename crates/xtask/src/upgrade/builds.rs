//! Two builds: of another commit, and of this source.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::process::{root, target};

use crate::demo::failure::Failure;

/// As many characters of a hash as `--version` shows.
const HASH_CHARS: &str = "--short=12";
/// Relay and worker; and `many`, an example of the library, is a publisher. Packages may have had other names.
const BUILDS: [&[&str]; 2] = [
    &["--workspace", "--bin", "relay", "--bin", "worker", "--bin", "outbox", "--bin", "sample-server"],
    &["--package", "outbox", "--example", "many"],
];
const PROGRAMS: [&str; 5] = ["relay", "worker", "outbox", "sample-server", "examples/many"];
/// The next version of the schema: a table, and a column that the build before it does not know.
const NEXT: &str = "create table outbox.next (id bigint primary key);
alter table outbox.delivery add column next text;
";

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

    /// The newest commit with one migration more, as the next version would have it.
    pub(super) fn next() -> Result<Self, Failure> {
        let revision = git(&["rev-parse", HASH_CHARS, "HEAD"])?;
        let folder = std::path::absolute(target())?.join("upgrade/next");
        let source = folder.join("source");
        if source.exists() {
            std::fs::remove_dir_all(&source)?;
        }
        unpack("HEAD", &source)?;
        let (now, next) = (outbox_schema::VERSION, outbox_schema::VERSION + 1);
        std::fs::write(source.join(format!("migrations/{next:04}_next.sql")), NEXT)?;
        let schema = source.join("crates/schema/src");
        let entry =
            format!("\n    ({next}, \"next\", include_str!(\"../migrations/{next:04}_next.sql\")),\n];");
        replace(&schema.join("lib.rs"), "\n];", &entry)?;
        let version = |version| format!("VERSION: i64 = {version};");
        replace(&schema.join("versions.rs"), &version(now), &version(next))?;
        let revision = format!("{revision} with schema {next}");
        let build = Self { bin: folder.join("bin"), root: source, revision };
        build.make(&build.root)?;
        Ok(build)
    }

    /// This source with the programs of another folder: those of a release.
    pub(super) fn installed(programs: &Path) -> Result<Self, Failure> {
        let here = Self::here()?;
        for program in ["relay", "worker", "outbox"] {
            let from = programs.join(program);
            std::fs::copy(&from, here.program(program)).map_err(|error| {
                format!("{}: {error}: pass the folder of an unpacked archive", from.display())
            })?;
        }
        let revision = format!("{}, with the programs of {}", here.revision, programs.display());
        Ok(Self { revision, ..here })
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

/// In a file, where it comes first.
fn replace(file: &Path, what: &str, by: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)?;
    if !text.contains(what) {
        return Err(format!("{} does not have {what:?}", file.display()).into());
    }
    Ok(std::fs::write(file, text.replacen(what, by, 1))?)
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
