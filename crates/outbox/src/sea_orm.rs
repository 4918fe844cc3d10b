//! Publish in a transaction of [SeaORM](::sea_orm) 2 on Postgres.
//!
//! ```no_run
//! # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! use outbox::Entry;
//! use outbox::sea_orm::{enqueue, enqueue_all};
//! use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
//!
//! # async fn publish(db: DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
//! let tx = db.begin().await?;
//! tx.execute_unprepared("update hoge set name = 'new' where id = '1'").await?;
//! let event = HogeUpdatedEvent { hoge_id: "1".into() };
//! enqueue(&tx, &event).await?;
//! enqueue(&tx, Entry::new(&event).key("hoge-1").header("acme-tenant", "t-1")).await?;
//! enqueue_all(&tx, [&event, &event]).await?;
//! tx.commit().await?;
//! # Ok(()) }
//! ```
//!
//! A connection outside a transaction does not compile:
//!
//! ```compile_fail,E0308
//! # #[derive(serde::Serialize)]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! # async fn publish(db: sea_orm::DatabaseConnection) -> Result<(), outbox::EnqueueError> {
//! outbox::sea_orm::enqueue(&db, &HogeUpdatedEvent { hoge_id: "1".into() }).await?;
//! # Ok(()) }
//! ```
//!
//! A transaction of another database is refused with [`EnqueueError::NotPostgres`], before SQL is sent. With SeaORM 1 send
//! [`INSERT`] and a [`Row`](crate::Row) yourself: `Statement::from_sql_and_values` takes both.

use ::sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

use crate::columns::Columns;
use crate::row::{INSERT, INSERT_ALL_WITHOUT_NULLS};
use crate::{EnqueueError, Entry, EventId};

/// Publishes an event or an [`Entry`] when `tx` commits, and never if it does not. Returns the event's id.
///
/// # Errors
///
/// See [`EnqueueError`]: all but [`EnqueueError::Insert`] are found before SQL is sent and leave `tx` usable.
pub async fn enqueue(tx: &DatabaseTransaction, event: impl Into<Entry>) -> Result<EventId, EnqueueError> {
    let row = event.into().into_row()?;
    let id = row.id;
    let values: [Value; 5] =
        [id.as_uuid().into(), row.name.into(), row.key.into(), row.payload.into(), row.headers.into()];
    send(tx, row.name, INSERT, values).await?;
    Ok(id)
}

/// Publishes many when `tx` commits: in the given order, with one statement. Returns their ids in the same order. Nothing is
/// inserted if one of them is refused.
///
/// # Errors
///
/// As [`enqueue`].
pub async fn enqueue_all(
    tx: &DatabaseTransaction,
    events: impl IntoIterator<Item: Into<Entry>>,
) -> Result<Vec<EventId>, EnqueueError> {
    let rows = Columns::of(events)?;
    let ids = rows.ids();
    if let Some(name) = rows.first_name() {
        send(tx, name, INSERT_ALL_WITHOUT_NULLS, arrays(rows)).await?;
    }
    Ok(ids)
}

async fn send(
    tx: &DatabaseTransaction,
    name: &'static str,
    sql: &'static str,
    values: impl IntoIterator<Item = Value>,
) -> Result<(), EnqueueError> {
    if tx.get_database_backend() != DbBackend::Postgres {
        return Err(EnqueueError::NotPostgres { name });
    }
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    tx.execute_raw(statement).await.map_err(EnqueueError::insert)?;
    Ok(())
}

/// An array of SeaORM holds no nulls.
fn arrays(rows: Columns) -> [Value; 7] {
    let are_there = |texts: &[Option<String>]| texts.iter().map(Option::is_some).collect::<Vec<bool>>();
    let (has_key, has_headers) = (are_there(&rows.keys), are_there(&rows.headers));
    let or_empty = |texts: Vec<Option<String>>| -> Vec<String> {
        texts.into_iter().map(Option::unwrap_or_default).collect()
    };
    let names: Vec<String> = rows.names.into_iter().map(str::to_owned).collect();
    [
        rows.ids.into(),
        names.into(),
        or_empty(rows.keys).into(),
        rows.payloads.into(),
        or_empty(rows.headers).into(),
        has_key.into(),
        has_headers.into(),
    ]
}
