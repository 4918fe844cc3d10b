//! Durations and sizes: long for figures, and short for `--quick`.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    /// The directory of the project's programs, which were built with this one.
    pub(crate) programs: PathBuf,
}

impl Plan {
    pub(crate) fn new(quick: bool) -> Self {
        let programs = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
        Self { quick, programs: programs.unwrap_or_default() }
    }

    /// The number of pairs.
    pub(crate) fn pairs(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    pub(crate) fn seconds(&self, full: u64, quick: u64) -> Duration {
        Duration::from_secs(if self.quick { quick } else { full })
    }

    pub(crate) fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}
