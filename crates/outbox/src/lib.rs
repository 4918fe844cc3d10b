//! Publish events in the same transaction as the change they describe.
//!
//! If the transaction commits, the event reaches every subscriber's RPC, or that RPC's dead-letter queue. If it rolls back, the
//! event is never visible. [`enqueue`] is one statement on your connection, and opens no other.
//!
//! ```no_run
//! # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! # async fn publish(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! let mut tx = pool.begin().await?;
//! sqlx::query("update hoge set name = 'new' where id = '1'").execute(&mut *tx).await?;
//! outbox::enqueue(&mut tx, &HogeUpdatedEvent { hoge_id: "1".into() }).await?;
//! tx.commit().await?;
//! # Ok(()) }
//! ```
//!
//! There is no way to publish outside a transaction: a pool or a bare connection does not compile.
//!
//! ```compile_fail,E0308
//! # #[derive(serde::Serialize)]
//! # struct HogeUpdatedEvent { hoge_id: String }
//! # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
//! # async fn publish(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! outbox::enqueue(&pool, &HogeUpdatedEvent { hoge_id: "1".into() }).await?;
//! # Ok(()) }
//! ```
//!
//! A message that is not an event does not compile, either:
//!
//! ```compile_fail,E0277
//! # #[derive(serde::Serialize)]
//! # struct Hoge { hoge_id: String }
//! # async fn publish(mut tx: sqlx::PgTransaction<'_>) -> Result<(), Box<dyn std::error::Error>> {
//! outbox::enqueue(&mut tx, &Hoge { hoge_id: "1".into() }).await?;
//! # Ok(()) }
//! ```
//!
//! It does not promise order between keys, exactly one delivery, or delivery by a deadline. With [`inbox`] a subscriber has
//! its effect once, however often it is called.
//!
//! The event carries the span that it was enqueued in as the header `traceparent`, so the trace continues into the RPC. The
//! span is OpenTelemetry's current context, which tracing-opentelemetry's layer sets. This needs the feature `opentelemetry`,
//! which is on by default. Without it, or without a span, set the header yourself.
//!
//! It works behind a pooler in transaction mode. sqlx's named statements do not work there. Keep your own unnamed
//! (`.persistent(false)`); these are then unnamed, too.

mod entry;
mod error;
pub mod inbox;
pub mod proto;
pub mod testing;
#[cfg(feature = "opentelemetry")]
mod trace;

pub use entry::{Entry, INSERT};
pub use error::EnqueueError;
#[cfg(feature = "signature")]
pub use outbox_event::signature;
pub use outbox_event::{Event, EventId, PAYLOAD_BYTES_MAX};

use sqlx::PgTransaction;

/// Publishes `event` when `tx` commits, and never if it does not.
///
/// It is one statement: one insert, and a wake-up if the relay sleeps. The library checks the event, which costs no round
/// trip. It takes the event by value or by reference, and returns the event's id to log or to answer with. Before the call,
/// lock what the event is about, for example by an `update` of its row. That lock keeps the events of one key in order.
///
/// For a key or headers other than the event's own, build an [`Entry`]. For many events, [`enqueue_all`].
///
/// # Errors
///
/// See [`EnqueueError`]: all but [`EnqueueError::Insert`] are found before SQL is sent and leave `tx` usable.
pub async fn enqueue<E: Event>(tx: &mut PgTransaction<'_>, event: E) -> Result<EventId, EnqueueError> {
    Entry::new(event).enqueue(tx).await
}

/// Publishes many entries of any events when `tx` commits: in the given order, with one statement.
///
/// Returns their ids in the same order. Nothing is inserted if one of them is refused.
///
/// ```no_run
/// # #[derive(serde::Serialize)] #[serde(rename_all = "camelCase")]
/// # struct HogeUpdatedEvent { hoge_id: String }
/// # impl outbox::Event for HogeUpdatedEvent { const NAME: &'static str = "event_hoge_updated"; }
/// # async fn publish(tx: &mut sqlx::PgTransaction<'_>, events: Vec<HogeUpdatedEvent>) -> Result<(), outbox::EnqueueError> {
/// outbox::enqueue_all(tx, events.iter().map(outbox::Entry::new)).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// As [`enqueue`].
pub async fn enqueue_all(
    tx: &mut PgTransaction<'_>,
    entries: impl IntoIterator<Item = Entry>,
) -> Result<Vec<EventId>, EnqueueError> {
    let rows = entries.into_iter().map(Entry::into_row).collect::<Result<Vec<_>, _>>()?;
    let ids = rows.iter().map(|row| row.id).collect();
    entry::insert_all(tx, rows).await.map_err(EnqueueError::Insert)?;
    Ok(ids)
}
