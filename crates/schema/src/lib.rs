//! The `outbox` schema: its embedded migrations, and the check whether a database has them.
//!
//! `relay migrate` calls [`migrate`]; a relay or worker calls [`check`] before it touches anything; a service's own
//! tests call [`migrate`] on their scratch database.

mod error;
mod found; // what a database has
pub mod inbox; // the consumer's half, which has a version of its own
mod migrating; // runs the migrations of either half
mod printed; // the migrations as a script
mod versions;

pub use error::{SchemaError, is_pooler};
pub use migrating::Migrated;
pub use versions::{SERVER_MIN, VERSION};

use migrating::{Half, Migrations};
use sqlx::PgConnection;

const MIGRATIONS: Migrations = &[
    (1, "tables", include_str!("../migrations/0001_tables.sql")),
    (2, "publish", include_str!("../migrations/0002_publish.sql")),
    (3, "queue", include_str!("../migrations/0003_queue.sql")),
    (4, "rings", include_str!("../migrations/0004_rings.sql")),
    (5, "repair", include_str!("../migrations/0005_repair.sql")),
    (6, "grants", include_str!("../migrations/0006_grants.sql")),
    (7, "history", include_str!("../migrations/0007_history.sql")),
    (8, "brakes", include_str!("../migrations/0008_brakes.sql")),
    (9, "repairs", include_str!("../migrations/0009_repairs.sql")),
    (10, "names", include_str!("../migrations/0010_names.sql")),
    (11, "hands", include_str!("../migrations/0011_hands.sql")),
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

/// Brings the schema to [`VERSION`]. A second run changes nothing; concurrent runs take turns.
///
/// Any connection will do. The session's search path is set aside meanwhile, so that the migrating role never runs functions of
/// another schema.
pub async fn migrate(conn: &mut PgConnection) -> Result<Migrated, SchemaError> {
    migrating::migrate_to(conn, Half::Outbox, MIGRATIONS).await
}

/// What [`migrate`] would run on a schema of this version, for administrators who run SQL themselves. It is empty if there is
/// nothing to do. Version 0 is a database without a schema.
pub fn script(from: i64) -> String {
    printed::script(Half::Outbox.table(), from, migrating::embedded(MIGRATIONS))
}

/// The schema's version; 0 if the database has no schema of this product.
pub async fn version(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    found::version(conn, Half::Outbox.table()).await
}

/// Whether this build can work on the database: its schema has this build's version, or is newer and takes this build.
///
/// The connection must come from `outbox_postgres::Source`.
pub async fn check(conn: &mut PgConnection) -> Result<(), SchemaError> {
    migrating::server(conn).await?;
    match version(conn).await? {
        VERSION => {}
        0 => return Err(SchemaError::Missing),
        found if found < VERSION => return Err(SchemaError::Older { found }),
        found => migrating::takes_this_build(conn, found).await?,
    }
    whole(conn).await
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
