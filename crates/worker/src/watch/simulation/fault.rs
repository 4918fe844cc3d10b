//! What may be wrong in the simulation.

use std::time::Duration;

/// What a broken implementation would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::watch) enum Flaw {
    None,
    /// While the roster can't be read, the others are taken to live.
    TrustsOldReads,
    /// An entry is compared with the reader's own clock.
    ComparesClocks,
    /// A worker that stops leaves its entry behind.
    KeepsItsEntry,
    NeverSaysFull,
    NeverSaysAway,
    /// A call that failed is not said.
    ForgetsCalls,
    /// A long poll counts as a receive before its answer, and one that hangs ends late.
    TrustsOpenPolls,
}

/// What is wrong between a worker and a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::watch) enum Wrong {
    /// It can't reach the queue.
    CutOff,
    /// No receive is answered.
    Hangs,
    CallsFail,
}

impl Flaw {
    /// A receive without an answer ends then.
    pub(in crate::watch) fn receive_within(self) -> Duration {
        Duration::from_secs(if self == Self::TrustsOpenPolls { 26 } else { 22 })
    }
}
