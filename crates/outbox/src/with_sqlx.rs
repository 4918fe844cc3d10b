//! How sqlx sends the row.

use sqlx::{Connection, PgTransaction, query};

use outbox_event::EventId;

use crate::columns::Columns;
use crate::entry::Entry;
use crate::error::EnqueueError;
use crate::row::{INSERT, INSERT_ALL, Row};

impl Entry {
    /// Publishes the entry when `tx` commits, and never if it does not. See [`enqueue`](crate::enqueue).
    pub async fn enqueue(self, tx: &mut PgTransaction<'_>) -> Result<EventId, EnqueueError> {
        insert(tx, self.into_row()?).await
    }
}

async fn insert(tx: &mut PgTransaction<'_>, row: Row) -> Result<EventId, EnqueueError> {
    let persistent = names_statements(tx);
    query(INSERT)
        .persistent(persistent)
        .bind(row.id.as_uuid())
        .bind(row.name)
        .bind(row.key)
        .bind(row.payload)
        .bind(row.headers)
        .execute(&mut **tx)
        .await
        .map_err(EnqueueError::insert)?;
    Ok(row.id)
}

pub(crate) async fn insert_all(
    tx: &mut PgTransaction<'_>,
    rows: Columns,
) -> Result<Vec<EventId>, EnqueueError> {
    let ids = rows.ids();
    if rows.first_name().is_none() {
        return Ok(ids);
    }
    let persistent = names_statements(tx);
    query(INSERT_ALL)
        .persistent(persistent)
        .bind(rows.ids)
        .bind(rows.names)
        .bind(rows.keys)
        .bind(rows.payloads)
        .bind(rows.headers)
        .execute(&mut **tx)
        .await
        .map_err(EnqueueError::insert)?;
    Ok(ids)
}

/// Behind a pooler in transaction mode a named statement meets a server that has never heard of it, or has it already;
/// who connects through one keeps his own statements unnamed. So ours has a name only where another one has.
pub(crate) fn names_statements(tx: &PgTransaction<'_>) -> bool {
    tx.cached_statements_size() > 0
}
