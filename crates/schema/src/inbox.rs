//! The inbox in a consumer's own database. The database may have the `outbox` schema, or get it later.

use sqlx::PgConnection;

use crate::error::SchemaError;
use crate::migrating::{Half, Migrated, Migrations, migrate_to};

/// The version that this build makes.
pub const VERSION: i64 = 1;

/// The statements of the first version, for a service whose own migrations create the inbox. They need the schema `outbox`,
/// and `pg_catalog` alone in the search path.
pub const SQL: &str = include_str!("../migrations/inbox_0001_tables.sql");

const MIGRATIONS: Migrations = &[(1, "tables", SQL)];

/// Brings the inbox to [`VERSION`]. A second run changes nothing; concurrent runs take turns.
///
/// It neither needs nor makes the tables of the outbox. The role that runs it owns the inbox, so it must own the schema
/// `outbox` if that exists.
pub async fn migrate(conn: &mut PgConnection) -> Result<Migrated, SchemaError> {
    migrate_to(conn, Half::Inbox, MIGRATIONS).await
}
