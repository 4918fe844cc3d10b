//! The `outbox` schema: its migrations, embedded, which database has them, and how to reach it.
//!
//! `relay migrate` calls [`migrate`]; a relay or worker calls [`check`] before it touches anything; a service's own
//! tests call [`migrate`] on their scratch database.

mod connections;
#[cfg(feature = "args")]
mod databases;
mod source;

pub use connections::{Connections, Loan};
#[cfg(feature = "args")]
pub use databases::Databases;
pub use source::{Source, SourceError, interval, within};

use std::collections::HashMap;

use event_router::Rpc;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlStr};

/// The version this build reads and writes.
pub const VERSION: i64 = 1;

/// The oldest PostgreSQL that is supported: every newer one is tested.
pub const SERVER_MIN: i32 = 14;

const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "outbox", include_str!("../../../migrations/0001_outbox.sql"))];

/// What [`migrate`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    pub from: i64,
    pub to: i64,
}

/// Brings the schema to [`VERSION`]. A second run changes nothing; two at once take turns.
pub async fn migrate(conn: &mut PgConnection) -> Result<Migrated, SchemaError> {
    server(conn).await?;
    let from = version(conn).await.map_err(SchemaError::Read)?;
    if from > VERSION {
        return Err(SchemaError::Newer { found: from });
    }
    let encoding: String =
        sqlx::query_scalar("show server_encoding").fetch_one(&mut *conn).await.map_err(SchemaError::Read)?;
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding { encoding });
    }
    let mut migrator = Migrator::with_migrations(
        MIGRATIONS
            .iter()
            .map(|&(version, name, sql)| {
                Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
            })
            .collect(),
    );
    // The service's own migrations live in the same database: keep out of their table.
    migrator.dangerous_set_table_name("outbox.migration");
    migrator.create_schema("outbox");
    migrator.run(conn).await.map_err(SchemaError::Migrate)?;
    Ok(Migrated { from, to: VERSION })
}

/// Whether this build can work on that database, over a connection that [`Source`] made.
pub async fn check(conn: &mut PgConnection) -> Result<(), SchemaError> {
    let direct: Option<String> = sqlx::query_scalar("select current_setting('outbox.session', true)")
        .fetch_one(&mut *conn)
        .await
        .map_err(SchemaError::Read)?;
    if direct.as_deref() != Some("direct") {
        return Err(SchemaError::Pooler);
    }
    server(conn).await?;
    match version(conn).await.map_err(SchemaError::Read)? {
        VERSION => Ok(()),
        0 => Err(SchemaError::Missing),
        found if found < VERSION => Err(SchemaError::Older { found }),
        found => Err(SchemaError::Newer { found }),
    }
}

/// The ids of these RPCs' queues, made if they are new. Relay and worker may come in either order.
pub async fn queues(
    conn: &mut PgConnection,
    rpcs: impl Iterator<Item = &Rpc>,
) -> Result<HashMap<Rpc, i32>, sqlx::Error> {
    let names: Vec<&str> = rpcs.map(Rpc::as_str).collect();
    sqlx::query("insert into outbox.queue (rpc) select unnest($1::text[]) on conflict do nothing")
        .bind(&names)
        .execute(&mut *conn)
        .await?;
    let ids: Vec<(String, i32)> =
        sqlx::query_as("select rpc, id from outbox.queue where rpc = any ($1::text[])")
            .bind(&names)
            .fetch_all(conn)
            .await?;
    Ok(ids.into_iter().filter_map(|(rpc, id)| Some((Rpc::new(&rpc)?, id))).collect())
}

/// Before anything else is asked: an older server fails somewhere in the middle, or works by chance.
async fn server(conn: &mut PgConnection) -> Result<(), SchemaError> {
    let version = "select current_setting('server_version_num')::integer,
                          split_part(current_setting('server_version'), ' ', 1)";
    let (number, found): (i32, String) =
        sqlx::query_as(version).fetch_one(conn).await.map_err(SchemaError::Read)?;
    if number / 10_000 < SERVER_MIN { Err(SchemaError::Server { found }) } else { Ok(()) }
}

async fn version(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let present: bool = sqlx::query_scalar("select to_regclass('outbox.migration') is not null")
        .fetch_one(&mut *conn)
        .await?;
    if !present {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from outbox.migration where success")
        .fetch_one(conn)
        .await
}

/// Why a database's `outbox` schema can't be used or made.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database has no outbox schema: run `relay migrate` against it once")]
    Missing,
    #[error(
        "the database's outbox schema is at version {found}, this build needs {VERSION}: run `relay migrate` of this build"
    )]
    Older { found: i64 },
    #[error(
        "the database's outbox schema is at version {found}, this build knows only {VERSION}: upgrade relay and worker"
    )]
    Newer { found: i64 },
    #[error(
        "a pooler answered and dropped our session's settings; locks and notifications belong to sessions: connect to Postgres directly"
    )]
    Pooler,
    #[error("the server is PostgreSQL {found}: {SERVER_MIN} or newer is needed")]
    Server { found: String },
    #[error("the database's encoding is {encoding}: payloads are JSON, and need a database in UTF8")]
    Encoding { encoding: String },
    #[error("failed to read the schema's version")]
    Read(#[source] sqlx::Error),
    #[error("failed to migrate")]
    Migrate(#[source] MigrateError),
}

impl SchemaError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}
