//! Publish in a transaction of [diesel-async](::diesel_async) on Postgres: `AsyncPgConnection`, also from a pool.
//!
//! ```no_run
//! # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
//! use outbox::Entry;
//! use outbox::diesel_async::{enqueue, enqueue_all};
//!
//! # async fn publish(conn: &mut AsyncPgConnection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! conn.transaction(async |conn| {
//!     diesel::sql_query("update hoge set name = 'new' where id = '1'").execute(conn).await?;
//!     let event = HogeUpdatedEvent { hoge_id: "1".into() };
//!     enqueue(conn, &event).await?;
//!     enqueue(conn, Entry::new(&event).key("hoge-1").header("acme-tenant", "t-1")).await?;
//!     enqueue_all(conn, [&event, &event]).await?;
//!     Ok(())
//! })
//! .await
//! # }
//! ```
//!
//! A call without an open transaction is refused, as in [`diesel`](crate::diesel).

use ::diesel::QueryResult;
use ::diesel::pg::Pg;
use ::diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use crate::columns::Columns;
use crate::diesel::{in_transaction, insert, insert_all};
use crate::{EnqueueError, Entry, EventId};

/// Publishes an event or an [`Entry`] when the transaction of `conn` commits, and never if it does not. Returns the event's id.
///
/// # Errors
///
/// See [`EnqueueError`]: all but [`EnqueueError::Insert`] are found before SQL is sent and leave the transaction usable.
pub async fn enqueue<C>(conn: &mut C, event: impl Into<Entry>) -> Result<EventId, EnqueueError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row = event.into().into_row()?;
    in_transaction(is_open(conn), row.name)?;
    let id = row.id;
    insert(row).execute(conn).await.map_err(EnqueueError::insert)?;
    Ok(id)
}

/// Publishes many when the transaction of `conn` commits: in the given order, with one statement. Returns their ids in the same
/// order. Nothing is inserted if one of them is refused.
///
/// # Errors
///
/// As [`enqueue`].
pub async fn enqueue_all<C>(
    conn: &mut C,
    events: impl IntoIterator<Item: Into<Entry>>,
) -> Result<Vec<EventId>, EnqueueError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows = Columns::of(events)?;
    let ids = rows.ids();
    let Some(name) = rows.first_name() else { return Ok(ids) };
    in_transaction(is_open(conn), name)?;
    insert_all(rows).execute(conn).await.map_err(EnqueueError::insert)?;
    Ok(ids)
}

fn is_open<C: AsyncConnection>(conn: &mut C) -> QueryResult<bool> {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().map(|depth| depth.is_some())
}
