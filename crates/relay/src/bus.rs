//! Where events go. The relay knows no more of a bus than this.

mod postgres;

pub use postgres::PostgresBus;

use sqlx::PgConnection;

use crate::outbox::Entry;

/// How much one call of [`Bus::put`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub entries_max: usize,
    pub bytes_max: usize,
    pub concurrency: usize,
    /// All of a put or nothing takes effect: entries of one key may share it without overtaking each other.
    pub atomic: bool,
}

/// A bus: it takes entries, and says of each what became of it.
pub trait Bus: Send + Sync {
    fn limits(&self) -> Limits;

    /// Called at the start of a leader's term.
    fn begin(&mut self, conn: &mut PgConnection) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Puts entries; one result per entry, in their order.
    fn put(&self, entries: &[&Entry]) -> impl Future<Output = Vec<Result<(), PutError>>> + Send;

    /// Writes what belongs in the very transaction that advances the cursor past these entries. A bus that is not in
    /// the database has nothing to write there.
    fn record(
        &self,
        conn: &mut PgConnection,
        acked: &[&Entry],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Why the bus did not take an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// It may take it later.
    #[error("{code}: {reason}")]
    Unavailable { code: String, reason: String },
    /// It never will: the entry is parked, and everyone else goes on.
    #[error("{code}: {reason}")]
    Refused { code: String, reason: String },
}
