//! Publish in a transaction of [tokio-postgres](::tokio_postgres). deadpool-postgres and bb8-postgres give such transactions.
//!
//! ```no_run
//! # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! # async fn publish(mut client: tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use outbox::Entry;
//! use outbox::tokio_postgres::{enqueue, enqueue_all};
//!
//! let tx = client.transaction().await?;
//! tx.execute("update hoge set name = 'new' where id = '1'", &[]).await?;
//! let event = HogeUpdatedEvent { hoge_id: "1".into() };
//! enqueue(&tx, &event).await?;
//! enqueue(&tx, Entry::new(&event).key("hoge-1").header("acme-tenant", "t-1")).await?;
//! enqueue_all(&tx, [&event, &event]).await?;
//! tx.commit().await?;
//! # Ok(()) }
//! ```
//!
//! A client outside a transaction does not compile:
//!
//! ```compile_fail,E0308
//! # #[derive(serde::Serialize)]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! # async fn publish(client: tokio_postgres::Client) -> Result<(), outbox::EnqueueError> {
//! outbox::tokio_postgres::enqueue(&client, &HogeUpdatedEvent { hoge_id: "1".into() }).await?;
//! # Ok(()) }
//! ```
//!
//! The statement has no name, so it works behind a pooler in transaction mode, and takes one round trip.

use ::tokio_postgres::Transaction;
use ::tokio_postgres::types::Type;

use crate::columns::Columns;
use crate::row::{INSERT, INSERT_ALL};
use crate::{EnqueueError, Entry, EventId};

/// Publishes an event or an [`Entry`] when `tx` commits, and never if it does not. Returns the event's id.
///
/// # Errors
///
/// See [`EnqueueError`]: all but [`EnqueueError::Insert`] are found before SQL is sent and leave `tx` usable.
pub async fn enqueue(tx: &Transaction<'_>, event: impl Into<Entry>) -> Result<EventId, EnqueueError> {
    let row = event.into().into_row()?;
    tx.query_typed(
        INSERT,
        &[
            (&row.id.as_uuid(), Type::UUID),
            (&row.name, Type::TEXT),
            (&row.key, Type::TEXT),
            (&row.payload, Type::TEXT),
            (&row.headers, Type::TEXT),
        ],
    )
    .await
    .map_err(EnqueueError::insert)?;
    Ok(row.id)
}

/// Publishes many when `tx` commits: in the given order, with one statement. Returns their ids in the same order. Nothing is
/// inserted if one of them is refused.
///
/// # Errors
///
/// As [`enqueue`].
pub async fn enqueue_all(
    tx: &Transaction<'_>,
    events: impl IntoIterator<Item: Into<Entry>>,
) -> Result<Vec<EventId>, EnqueueError> {
    let rows = Columns::of(events)?;
    if rows.first_name().is_some() {
        tx.query_typed(
            INSERT_ALL,
            &[
                (&rows.ids, Type::UUID_ARRAY),
                (&rows.names, Type::TEXT_ARRAY),
                (&rows.keys, Type::TEXT_ARRAY),
                (&rows.payloads, Type::TEXT_ARRAY),
                (&rows.headers, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(EnqueueError::insert)?;
    }
    Ok(rows.ids())
}
