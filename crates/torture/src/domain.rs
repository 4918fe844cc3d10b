//! The services' own tables. They contain what was committed, even if a publisher got no answer.

use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::history::Change;

/// The application name of publishers.
pub(crate) const APPLICATION: &str = "torture publisher";
/// The domain: keys whose rows are locked, and what was committed.
pub(crate) const DOMAIN: &str = "
    create schema torture;
    create table torture.key (key text primary key, n bigint not null default 0);
    create table torture.change (id uuid primary key, name text not null, key text, n bigint not null, refuse boolean not null,
                                 how text not null, seq_before bigint not null, seq bigint not null)";

/// Everything that was committed.
pub(crate) async fn committed(pool: &PgPool) -> Result<Vec<Change>, sqlx::Error> {
    type Row = (Uuid, String, Option<String>, i64, bool, String, i64, i64);
    let rows: Vec<Row> =
        sqlx::query_as("select id, name, key, n, refuse, how, seq_before, seq from torture.change")
            .fetch_all(pool)
            .await?;
    let change = |(id, name, key, n, refuse, how, seq_before, seq): Row| Change {
        event: id.into(),
        name,
        key,
        n,
        refuse,
        how,
        seq_before,
        seq,
    };
    Ok(rows.into_iter().map(change).collect())
}
