//! The files of a release: `cargo xtask dist`, of the programs that the tests start. It is made once, in the target directory.
//! `OUTBOX_RELEASE` names the directory of one that is there already.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use testkit::process::{root, target};

use super::world::programs;

pub(crate) const PROGRAMS: [&str; 3] = ["outbox", "relay", "worker"];

#[derive(Debug)]
pub(crate) struct Release {
    /// The three programs, without what only a debugger reads.
    pub(crate) binaries: PathBuf,
    /// The files.
    pub(crate) out: PathBuf,
}

impl Release {
    pub(crate) fn get() -> &'static Self {
        static RELEASE: OnceLock<Release> = OnceLock::new();
        RELEASE.get_or_init(Self::make)
    }

    fn make() -> Self {
        if let Some(out) = std::env::var_os("OUTBOX_RELEASE") {
            let mut release = Self { binaries: PathBuf::new(), out: root().join(out) };
            release.binaries = std::path::absolute(target().join("given-release")).unwrap();
            unpack(&release.file(".tar.gz"), 1, &release.binaries);
            return release;
        }
        let dir = std::path::absolute(target().join("test-release")).unwrap();
        let release = Self { binaries: dir.join("binaries"), out: dir.join("out") };
        std::fs::create_dir_all(&release.binaries).unwrap();
        for program in PROGRAMS {
            // A debug build is ten times as large.
            let to = release.binaries.join(program);
            run(Command::new("strip").arg("-o").arg(to).arg(programs().join(program)));
        }
        release.made(&release.out);
        release
    }

    /// The same release once more, in another directory.
    pub(crate) fn made(&self, out: &Path) {
        let mut dist = cargo();
        dist.args(["run", "--quiet", "--package", "xtask", "--", "dist", "--fast", "--allow-dirty"]);
        run(dist.arg("--binaries").arg(&self.binaries).arg("--out").arg(out));
    }

    /// The one file with this end.
    pub(crate) fn file(&self, end: &str) -> PathBuf {
        let is_it = |name: &str| name.ends_with(end) && name.contains("rootfs") == end.contains("rootfs");
        let names = std::fs::read_dir(&self.out).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<PathBuf> = names.filter(|path| is_it(path.to_str().unwrap())).collect();
        assert_eq!(found.len(), 1, "{end}: {found:?}");
        found[0].clone()
    }

    /// The packages for crates.io.
    pub(crate) fn packages(&self) -> Vec<PathBuf> {
        let names = std::fs::read_dir(self.out.join("crates")).unwrap();
        names.map(|entry| entry.unwrap().path()).collect()
    }
}

/// Unpacks an archive into a folder, without the `strip` first parts of each path.
pub(crate) fn unpack(archive: &Path, strip: usize, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    let mut tar = Command::new("tar");
    tar.arg(format!("--strip-components={strip}")).args(["--extract", "--file"]).arg(archive);
    run(tar.arg("--directory").arg(into));
}

pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The output of a command that succeeds.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{said}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}
