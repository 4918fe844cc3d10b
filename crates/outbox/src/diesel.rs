//! Publish in a transaction of [diesel], with any of its connections to Postgres: `PgConnection`, also from r2d2.
//!
//! ```no_run
//! # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! # use std::error::Error;
//! use diesel::{Connection, RunQueryDsl};
//! use outbox::Entry;
//! use outbox::diesel::{enqueue, enqueue_all};
//!
//! # fn publish<PgConnection>(conn: &mut PgConnection) -> Result<(), Box<dyn Error>>
//! # where PgConnection: Connection<Backend = diesel::pg::Pg> {
//! conn.transaction(|conn| {
//!     diesel::sql_query("update hoge set name = 'new' where id = '1'").execute(conn)?;
//!     let event = HogeUpdatedEvent { hoge_id: "1".into() };
//!     enqueue(conn, &event)?;
//!     enqueue(conn, Entry::new(&event).key("hoge-1").header("acme-tenant", "t-1"))?;
//!     enqueue_all(conn, [&event, &event])?;
//!     Ok::<_, Box<dyn Error>>(())
//! })
//! # }
//! ```
//!
//! The type of a connection does not tell whether a transaction is open. A call without one is refused with
//! [`EnqueueError::NoTransaction`], before SQL is sent. Only diesel's own transactions count: it does not know of a `begin`
//! that was sent as SQL.
//!
//! This library needs diesel's backend alone. `PgConnection` needs libpq, by diesel's feature `postgres`.

use ::diesel::connection::TransactionManager;
use ::diesel::pg::Pg;
use ::diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use ::diesel::sql_types::{Array, Nullable, Text, Uuid};
use ::diesel::{Connection, QueryResult, RunQueryDsl, sql_query};

use crate::columns::Columns;
use crate::row::{INSERT, INSERT_ALL, Row};
use crate::{EnqueueError, Entry, EventId};

/// Publishes an event or an [`Entry`] when the transaction of `conn` commits, and never if it does not. Returns the event's id.
///
/// # Errors
///
/// See [`EnqueueError`]: all but [`EnqueueError::Insert`] are found before SQL is sent and leave the transaction usable.
pub fn enqueue<C>(conn: &mut C, event: impl Into<Entry>) -> Result<EventId, EnqueueError>
where
    C: Connection<Backend = Pg>,
{
    let row = event.into().into_row()?;
    in_transaction(is_open(conn), row.name)?;
    let id = row.id;
    insert(row).execute(conn).map_err(EnqueueError::insert)?;
    Ok(id)
}

/// Publishes many when the transaction of `conn` commits: in the given order, with one statement. Returns their ids in the same
/// order. Nothing is inserted if one of them is refused.
///
/// # Errors
///
/// As [`enqueue`].
pub fn enqueue_all<C>(
    conn: &mut C,
    events: impl IntoIterator<Item: Into<Entry>>,
) -> Result<Vec<EventId>, EnqueueError>
where
    C: Connection<Backend = Pg>,
{
    let rows = Columns::of(events)?;
    let ids = rows.ids();
    let Some(name) = rows.first_name() else { return Ok(ids) };
    in_transaction(is_open(conn), name)?;
    insert_all(rows).execute(conn).map_err(EnqueueError::insert)?;
    Ok(ids)
}

fn is_open<C: Connection>(conn: &mut C) -> QueryResult<bool> {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().map(|depth| depth.is_some())
}

/// A connection that is broken within its transaction tells that itself.
pub(crate) fn in_transaction(is_open: QueryResult<bool>, name: &'static str) -> Result<(), EnqueueError> {
    match is_open {
        Ok(true) => Ok(()),
        Ok(false) => Err(EnqueueError::NoTransaction { name }),
        Err(error) => Err(EnqueueError::insert(error)),
    }
}

/// A query without a name, as diesel sends every `sql_query`.
pub(crate) type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

pub(crate) fn insert(row: Row) -> Query {
    sql_query(INSERT)
        .into_boxed::<Pg>()
        .bind::<Uuid, _>(row.id.as_uuid())
        .bind::<Text, _>(row.name)
        .bind::<Nullable<Text>, _>(row.key)
        .bind::<Text, _>(row.payload)
        .bind::<Nullable<Text>, _>(row.headers)
}

pub(crate) fn insert_all(rows: Columns) -> Query {
    sql_query(INSERT_ALL)
        .into_boxed::<Pg>()
        .bind::<Array<Uuid>, _>(rows.ids)
        .bind::<Array<Text>, _>(rows.names)
        .bind::<Array<Nullable<Text>>, _>(rows.keys)
        .bind::<Array<Text>, _>(rows.payloads)
        .bind::<Array<Nullable<Text>>, _>(rows.headers)
}
