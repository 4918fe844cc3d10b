//! How migrations are run: those of the outbox, and those of the inbox.

use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlStr};

use crate::error::SchemaError;
use crate::found::{self, There};
use crate::versions::{SERVER_MIN, VERSION};

/// How long a migration waits for another one.
const TURN_WITHIN: Duration = Duration::from_secs(60);

/// The version of the inbox that `relay migrate --inbox --print` makes, without a note of it.
const INBOX_PRINTED: i64 = 1;

/// Version, name and SQL of each migration.
pub(crate) type Migrations = &'static [(i64, &'static str, &'static str)];

/// What can be in the schema `outbox`. Each half has a version of its own, and neither needs the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Outbox,
    Inbox,
}

impl Half {
    /// Where its versions are noted.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Outbox => "outbox.migration",
            Self::Inbox => "outbox.inbox_migration",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    pub from: i64,
    pub to: i64,
}

pub(crate) fn embedded(migrations: Migrations) -> impl Iterator<Item = Migration> {
    migrations.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    })
}

pub(crate) async fn migrate_to(
    conn: &mut PgConnection,
    half: Half,
    migrations: Migrations,
) -> Result<Migrated, SchemaError> {
    let path: String =
        sqlx::query_scalar("select pg_catalog.current_setting('search_path')").fetch_one(&mut *conn).await?;
    set_path(conn, "pg_catalog, pg_temp").await?;
    let migrated = migrate_safely(conn, half, migrations).await;
    let restored = set_path(conn, &path).await;
    let migrated = migrated?;
    restored?;
    Ok(migrated)
}

async fn set_path(conn: &mut PgConnection, path: &str) -> Result<(), sqlx::Error> {
    let set = sqlx::query("select pg_catalog.set_config('search_path', $1, false)");
    set.bind(path).execute(conn).await.map(|_| ())
}

async fn migrate_safely(
    conn: &mut PgConnection,
    half: Half,
    migrations: Migrations,
) -> Result<Migrated, SchemaError> {
    server(conn).await?;
    let encoding: String = sqlx::query_scalar("show server_encoding").fetch_one(&mut *conn).await?;
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding { encoding });
    }
    take_turn(conn).await?;
    let migrated = migrate_in_turn(conn, half, migrations).await;
    // A failed connection has lost the lock with its session.
    let _ = sqlx::query("select pg_advisory_unlock(1869968994, 3)").execute(conn).await;
    migrated
}

async fn migrate_in_turn(
    conn: &mut PgConnection,
    half: Half,
    migrations: Migrations,
) -> Result<Migrated, SchemaError> {
    let mut from = found::version(conn, half.table()).await?;
    let to = migrations.iter().map(|&(version, ..)| version).max().unwrap_or_default();
    if from > to {
        if half == Half::Inbox {
            return Err(SchemaError::NewerInbox { found: from, known: to });
        }
        // After a rollback the older binary's deployment migrates, too.
        takes_this_build(conn, from).await?;
        return Ok(Migrated { from, to: from });
    }
    if from == 0 {
        is_free(conn).await?;
    }
    let mut migrator = Migrator::with_migrations(embedded(migrations).collect());
    // The service's own migrations are in the same database, so use another table and another lock.
    migrator.dangerous_set_table_name(half.table());
    migrator.create_schema("outbox");
    migrator.set_locking(false);
    if half == Half::Inbox && from == 0 && found::has_inbox(conn).await? {
        // A service's own migrations made it, from the statements that `--print` shows.
        migrator.skip(&mut *conn, Some(INBOX_PRINTED)).await.map_err(SchemaError::Migrate)?;
        from = found::version(conn, half.table()).await?;
    }
    migrator.run(conn).await.map_err(SchemaError::Migrate)?;
    Ok(Migrated { from, to })
}

async fn is_free(conn: &mut PgConnection) -> Result<(), SchemaError> {
    match found::in_the_way(conn).await? {
        Some(There { owner, names: Some(names), .. }) => Err(SchemaError::Occupied { names, owner }),
        Some(There { owner, is_mine: false, .. }) => Err(SchemaError::Foreign { owner }),
        _ => Ok(()),
    }
}

/// Whether a newer schema takes this build.
pub(crate) async fn takes_this_build(conn: &mut PgConnection, found: i64) -> Result<(), SchemaError> {
    match found::oldest_that_is_taken(conn).await? {
        Some(oldest) if oldest <= VERSION => Ok(()),
        oldest => Err(SchemaError::Newer { found, oldest }),
    }
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

/// This check is the first: with an older server, a later statement fails, or works by chance.
pub(crate) async fn server(conn: &mut PgConnection) -> Result<(), SchemaError> {
    let version = "select current_setting('server_version_num')::integer,
                          split_part(current_setting('server_version'), ' ', 1)";
    let (number, found): (i32, String) = sqlx::query_as(version).fetch_one(conn).await?;
    if number / 10_000 < SERVER_MIN { Err(SchemaError::Server { found }) } else { Ok(()) }
}
