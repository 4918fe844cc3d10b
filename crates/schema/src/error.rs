//! Why a schema can't be used or made.

use sqlx::migrate::MigrateError;

use crate::versions::{SERVER_MIN, VERSION};

/// Why a database's `outbox` schema can't be used or created.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database has no outbox schema: run `relay migrate` against it once")]
    Missing,
    #[error(
        "the database's outbox schema is at version {found}, this build needs {VERSION}: run `relay migrate` of this build"
    )]
    Older { found: i64 },
    #[error(
        "the database's outbox schema is at version {found}, this build knows only {VERSION}, and that schema takes {}: upgrade relay, worker and the command outbox",
        builds_from(*.oldest)
    )]
    Newer { found: i64, oldest: Option<i64> },
    #[error("the database's inbox is at version {found}, this build knows only {known}: upgrade relay")]
    NewerInbox { found: i64, known: i64 },
    #[error(
        "a pooler answered and dropped our session's settings; locks and notifications belong to sessions: connect to Postgres directly"
    )]
    Pooler,
    #[error("the server is PostgreSQL {found}: {SERVER_MIN} or newer is needed")]
    Server { found: String },
    #[error("the database's encoding is {encoding}: payloads are JSON, and need a database in UTF8")]
    Encoding { encoding: String },
    #[error(
        "the outbox schema is not whole: its index {index} is missing. A restore is under way, or was broken off: restore in one transaction (psql -1, pg_restore -1)"
    )]
    Partial { index: String },
    #[error(
        "the schema outbox exists and belongs to {owner}, who could change what is made in it: migrate as {owner}, or drop the schema if it is empty"
    )]
    Foreign { owner: String },
    #[error(
        "the schema outbox exists and is of another product: it has {names}, and belongs to {owner}. Outbox needs a schema of this name: rename that one (alter schema outbox rename to …), or give Outbox a database of its own"
    )]
    Occupied { names: String, owner: String },
    #[error(
        "another migration holds its lock for a minute: look at pid {pid} in pg_stat_activity, and end it if it does not migrate (select pg_terminate_backend({pid}))"
    )]
    Busy { pid: i32 },
    #[error("failed to read the schema's version")]
    Read(#[source] sqlx::Error),
    #[error("failed to migrate")]
    Migrate(#[source] MigrateError),
}

/// Whether a connection was refused because it does not hold its session's settings.
pub fn is_pooler(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Configuration(cause)
        if matches!(cause.downcast_ref(), Some(SchemaError::Pooler)))
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        if is_pooler(&error) { Self::Pooler } else { Self::Read(error) }
    }
}

impl SchemaError {
    /// Whether a later call may succeed without any change by an operator.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Partial { .. } | Self::Busy { .. })
    }
}

fn builds_from(oldest: Option<i64>) -> String {
    oldest.map_or_else(|| "no older builds".to_owned(), |oldest| format!("builds from version {oldest} on"))
}
