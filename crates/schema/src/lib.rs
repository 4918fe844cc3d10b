//! The `outbox` schema: its embedded migrations, and the check whether a database has them.
//!
//! `relay migrate` calls [`migrate`]; a relay or worker calls [`check`] before it touches anything; a service's own
//! tests call [`migrate`] on their scratch database.

mod found; // what a database has
mod printed; // the migrations as a script

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlStr};

use found::There;

pub use found::version;

/// The version this build reads and writes.
pub const VERSION: i64 = 11;

/// The oldest PostgreSQL that is supported: every newer one is tested.
pub const SERVER_MIN: i32 = 14;

const MIGRATIONS: [(i64, &str, &str); 11] = [
    (1, "tables", include_str!("../../../migrations/0001_tables.sql")),
    (2, "publish", include_str!("../../../migrations/0002_publish.sql")),
    (3, "queue", include_str!("../../../migrations/0003_queue.sql")),
    (4, "rings", include_str!("../../../migrations/0004_rings.sql")),
    (5, "repair", include_str!("../../../migrations/0005_repair.sql")),
    (6, "grants", include_str!("../../../migrations/0006_grants.sql")),
    (7, "history", include_str!("../../../migrations/0007_history.sql")),
    (8, "brakes", include_str!("../../../migrations/0008_brakes.sql")),
    (9, "repairs", include_str!("../../../migrations/0009_repairs.sql")),
    (10, "names", include_str!("../../../migrations/0010_names.sql")),
    (11, "hands", include_str!("../../../migrations/0011_hands.sql")),
];

/// Every index of the schema except those of partitions. A test compares the list with a new schema.
const INDEXES: [&str; 37] = [
    "audit_at",
    "audit_open",
    "audit_pkey",
    "brake_pkey",
    "claim_head",
    "claim_pkey",
    "claim_token",
    "cursor_newest",
    "dead_letter_event",
    "dead_letter_pkey",
    "dead_letter_queue",
    "dead_letter_repair",
    "dedup_late_pkey",
    "dedup_pkey",
    "delivery_age",
    "delivery_queue",
    "dropped_event",
    "dropped_repair",
    "event_page",
    "event_window",
    "former_queue_pkey",
    "history_event",
    "known_event_pkey",
    "leader_pkey",
    "migration_pkey",
    "parked_pkey",
    "process_pkey",
    "queue_pkey",
    "queue_rpc_key",
    "receipt_last",
    "receipt_small",
    "retry_due",
    "retry_event",
    "retry_pkey",
    "retry_repair",
    "ring_pkey",
    "unknown_event_pkey",
];

const TABLE: &str = "outbox.migration";
/// How long a migration waits for another one.
const TURN_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    pub from: i64,
    pub to: i64,
}

/// Brings the schema to [`VERSION`]. A second run changes nothing; concurrent runs take turns.
///
/// Any connection will do. The session's search path is set aside meanwhile, so that the migrating role never runs functions of
/// another schema.
pub async fn migrate(conn: &mut PgConnection) -> Result<Migrated, SchemaError> {
    let path: String =
        sqlx::query_scalar("select pg_catalog.current_setting('search_path')").fetch_one(&mut *conn).await?;
    set_path(conn, "pg_catalog, pg_temp").await?;
    let migrated = migrate_safely(conn).await;
    let restored = set_path(conn, &path).await;
    let migrated = migrated?;
    restored?;
    Ok(migrated)
}

async fn set_path(conn: &mut PgConnection, path: &str) -> Result<(), sqlx::Error> {
    let set = sqlx::query("select pg_catalog.set_config('search_path', $1, false)");
    set.bind(path).execute(conn).await.map(|_| ())
}

async fn migrate_safely(conn: &mut PgConnection) -> Result<Migrated, SchemaError> {
    server(conn).await?;
    let encoding: String = sqlx::query_scalar("show server_encoding").fetch_one(&mut *conn).await?;
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding { encoding });
    }
    take_turn(conn).await?;
    let migrated = migrate_in_turn(conn).await;
    // A failed connection has lost the lock with its session.
    let _ = sqlx::query("select pg_advisory_unlock(1869968994, 3)").execute(conn).await;
    migrated
}

async fn migrate_in_turn(conn: &mut PgConnection) -> Result<Migrated, SchemaError> {
    let from = version(conn).await?;
    if from > VERSION {
        // After a rollback the older binary's deployment migrates, too.
        takes_this_build(conn, from).await?;
        return Ok(Migrated { from, to: from });
    }
    if from == 0 {
        is_free(conn).await?;
    }
    let mut migrator = Migrator::with_migrations(migrations().collect());
    // The service's own migrations are in the same database, so use another table and another lock.
    migrator.dangerous_set_table_name(TABLE);
    migrator.create_schema("outbox");
    migrator.set_locking(false);
    migrator.run(conn).await.map_err(SchemaError::Migrate)?;
    Ok(Migrated { from, to: VERSION })
}

async fn is_free(conn: &mut PgConnection) -> Result<(), SchemaError> {
    match found::in_the_way(conn).await? {
        Some(There { owner, names: Some(names), .. }) => Err(SchemaError::Occupied { names, owner }),
        Some(There { owner, is_mine: false, .. }) => Err(SchemaError::Foreign { owner }),
        _ => Ok(()),
    }
}

/// What [`migrate`] would run on a schema of this version, for administrators who run SQL themselves. It is empty if there is
/// nothing to do. Version 0 is a database without a schema.
pub fn script(from: i64) -> String {
    printed::script(TABLE, from, migrations())
}

fn migrations() -> impl Iterator<Item = Migration> {
    MIGRATIONS.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    })
}

/// Waits for another migration, but not for ever, because any role can hold the lock.
async fn take_turn(conn: &mut PgConnection) -> Result<(), SchemaError> {
    let until = tokio::time::Instant::now() + TURN_WITHIN;
    loop {
        let mine: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(1869968994, 3)").fetch_one(&mut *conn).await?;
        if mine {
            return Ok(());
        }
        if tokio::time::Instant::now() >= until {
            let pid: Option<i32> = sqlx::query_scalar(
                "select pid from pg_locks where locktype = 'advisory' and classid = 1869968994 and objid = 3 and objsubid = 2
                     and database = (select oid from pg_database where datname = current_database()) and granted limit 1",
            )
            .fetch_optional(conn)
            .await?;
            return Err(SchemaError::Busy { pid: pid.unwrap_or_default() });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether this build can work on the database: its schema has this build's version, or is newer and takes this build.
///
/// The connection must come from `outbox_postgres::Source`.
pub async fn check(conn: &mut PgConnection) -> Result<(), SchemaError> {
    server(conn).await?;
    match version(conn).await? {
        VERSION => {}
        0 => return Err(SchemaError::Missing),
        found if found < VERSION => return Err(SchemaError::Older { found }),
        found => takes_this_build(conn, found).await?,
    }
    whole(conn).await
}

async fn takes_this_build(conn: &mut PgConnection, found: i64) -> Result<(), SchemaError> {
    match found::oldest_that_is_taken(conn).await? {
        Some(oldest) if oldest <= VERSION => Ok(()),
        oldest => Err(SchemaError::Newer { found, oldest }),
    }
}

/// A restore creates and fills tables first, and creates their indexes last. So a schema with all its indexes is complete.
/// (A partitioned table's index is valid when those of all partitions are.)
async fn whole(conn: &mut PgConnection) -> Result<(), SchemaError> {
    let missing: Option<String> = sqlx::query_scalar(
        "select wanted from unnest($1::text[]) as wanted
         where not exists (
             select from pg_index as i join pg_class as c on c.oid = i.indexrelid
             where c.relnamespace = (select oid from pg_namespace where nspname = 'outbox')
               and c.relname = wanted and i.indisvalid and i.indisready)
         limit 1",
    )
    .bind(INDEXES.as_slice())
    .fetch_optional(conn)
    .await?;
    missing.map_or(Ok(()), |index| Err(SchemaError::Partial { index }))
}

/// This check is the first: with an older server, a later statement fails, or works by chance.
async fn server(conn: &mut PgConnection) -> Result<(), SchemaError> {
    let version = "select current_setting('server_version_num')::integer,
                          split_part(current_setting('server_version'), ' ', 1)";
    let (number, found): (i32, String) = sqlx::query_as(version).fetch_one(conn).await?;
    if number / 10_000 < SERVER_MIN { Err(SchemaError::Server { found }) } else { Ok(()) }
}

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
