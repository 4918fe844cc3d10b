//! How long and how many: figures take their time, a look does not.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    /// Where the project's own programs are: those that this one was built with.
    pub(crate) programs: PathBuf,
}

impl Plan {
    pub(crate) fn new(quick: bool) -> Self {
        let programs = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
        Self { quick, programs: programs.unwrap_or_default() }
    }

    /// How many pairs.
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
