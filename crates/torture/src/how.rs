//! The ways in which services publish.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Keyed,
    Unkeyed,
    RolledBack,
    Savepoint,
    Long,
    Bulk,
    Sql,
    Garbled,
    /// By two-phase commit.
    Prepared,
    /// As the fault of a big transaction.
    Big,
    /// Into the second database.
    Second,
    /// Publishes nothing: keeps an old snapshot of the outbox open.
    Reader,
}

impl How {
    pub(crate) fn pause(self, random: &mut fastrand::Rng) -> Duration {
        let range = match self {
            How::Keyed | How::Unkeyed => 5..60,
            How::RolledBack | How::Savepoint | How::Sql => 20..150,
            How::Bulk => 1000..4000,
            How::Garbled => 500..4000,
            How::Prepared | How::Long | How::Big | How::Second | How::Reader => 100..2000,
        };
        Duration::from_millis(random.u64(range))
    }
}
