//! What every part of a release needs to know.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::process::root;

use super::{steps, sums};

/// What every part needs to know.
pub(super) struct Release {
    pub(super) version: &'static str,
    /// As rustc names it, for example `x86_64-unknown-linux-gnu`.
    pub(super) triple: String,
    /// The time of every file, in seconds since 1970.
    pub(super) epoch: u64,
    /// For gzip and xz: `-1` to `-9`.
    pub(super) compression: &'static str,
    pub(super) out: PathBuf,
    /// For folders that become an archive.
    pub(super) work: tempfile::TempDir,
}

impl Release {
    /// In the directory `out`. `fast` compresses little.
    pub(super) fn new(out: &Path, fast: bool) -> Result<Self, String> {
        // An earlier version beside this one would get into SHA256SUMS.
        sums::remove_former(out)?;
        steps::make_dir(out)?;
        let out = out.canonicalize().map_err(|error| format!("{}: {error}", out.display()))?;
        let work = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let compression = if fast { "-1" } else { "-9" };
        let version = env!("CARGO_PKG_VERSION");
        Ok(Self { version, triple: triple()?, epoch: epoch(), compression, out, work })
    }

    /// The beginning of the names of files.
    pub(super) fn name(&self) -> String {
        format!("outbox-{}-{}", self.version, self.triple)
    }

    /// Says that a file is there.
    pub(super) fn wrote(&self, name: &str) {
        let bytes = std::fs::metadata(self.out.join(name)).map_or(0, |file| file.len());
        println!("    {name}  ({} kB)", bytes.div_ceil(1000));
    }
}

fn triple() -> Result<String, String> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let said = steps::output(rustc.arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` names no host".to_owned())
}

/// SOURCE_DATE_EPOCH, or the time of the commit. Without git it is the first time that every format can have.
fn epoch() -> u64 {
    const YEAR_1980: u64 = 315_532_800;
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let committed = || {
        let mut git = Command::new("git");
        steps::output(git.args(["log", "-1", "--format=%ct"]).current_dir(root())).ok()
    };
    given.or_else(committed).and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(YEAR_1980)
}
