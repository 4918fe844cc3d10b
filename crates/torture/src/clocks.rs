//! Wrong clocks: libfaketime stands between a program and the time of day. Monotonic clocks stay right.

use std::path::{Path, PathBuf};

use crate::run::Failure;
use testkit::tools;

const ONE_THREAD: &str = "libfaketime.so.1";
const MANY_THREADS: &str = "libfaketimeMT.so.1";

/// One process's clock, which can be changed while it runs.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// The library for programs with several threads.
    library: PathBuf,
    /// How far the clock is off; the library reads the file every second.
    file: PathBuf,
}

/// The library of a wrong clock, from Debian's package. Elsewhere all clocks stay right, and the report says so.
#[derive(Debug, Clone)]
pub(crate) struct Faketime(PathBuf);

impl Faketime {
    /// Puts the libraries into `directory`, where the server's user can read them, too.
    pub(crate) fn unpack(directory: &Path) -> Result<Self, Failure> {
        let root = tools::debian_unpacked("libfaketime")?;
        let found = std::fs::read_dir(root.join("usr/lib"))?
            .flatten()
            .map(|architecture| architecture.path().join("faketime"))
            .find(|libraries| libraries.join(ONE_THREAD).is_file())
            .ok_or("Debian's libfaketime is not what it was")?;
        for library in [ONE_THREAD, MANY_THREADS] {
            std::fs::copy(found.join(library), directory.join(library))?;
        }
        Ok(Self(directory.to_owned()))
    }

    pub(crate) fn clock(&self, file: PathBuf) -> std::io::Result<WallClock> {
        let clock = WallClock { library: self.0.join(MANY_THREADS), file };
        clock.set(0)?;
        Ok(clock)
    }

    /// The environment of a server, whose clock stays wrong for as long as it runs.
    pub(crate) fn environment(&self, off_ms: i64) -> Vec<(String, String)> {
        environment(&self.0.join(ONE_THREAD), ("FAKETIME", offset(off_ms)))
    }
}

impl WallClock {
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let file = self.file.display().to_string();
        let mut environment = environment(&self.library, ("FAKETIME_TIMESTAMP_FILE", file));
        environment.push(("FAKETIME_CACHE_DURATION".to_owned(), "1".to_owned()));
        environment
    }

    /// Removes files that the library left when a process was killed.
    pub(crate) fn sweep(pid: u32) {
        for name in ["faketime_shm", "sem.faketime_sem"] {
            let _ = std::fs::remove_file(format!("/dev/shm/{name}_{pid}"));
        }
    }

    pub(crate) fn set(&self, off_ms: i64) -> std::io::Result<()> {
        // Replaced atomically, because the library reads it at any time.
        let written = self.file.with_extension("next");
        std::fs::write(&written, offset(off_ms))?;
        std::fs::rename(written, &self.file)
    }
}

fn environment(library: &Path, (name, value): (&str, String)) -> Vec<(String, String)> {
    let library = library.display().to_string();
    [
        ("LD_PRELOAD", library.as_str()),
        (name, &value),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn offset(off_ms: i64) -> String {
    format!("{:+.3}", off_ms as f64 / 1000.0)
}
