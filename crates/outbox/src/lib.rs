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

//! # Stacks
//!
//! The functions here take a transaction of sqlx, whose feature is on by default. Each other stack has a feature and a module.
//! They write the same row, wake the relay in the same way, and refuse the same events.
//!
//! | feature | module | takes |
//! |---|---|---|
//! | `sqlx` | this one | `sqlx::PgTransaction` |
//! | `tokio-postgres` | `outbox::tokio_postgres` | `tokio_postgres::Transaction`, also those of deadpool and bb8 |
//! | `diesel` | `outbox::diesel` | a connection of diesel to Postgres, within `transaction` |
//! | `diesel-async` | `outbox::diesel_async` | the same of diesel-async |
//! | `sea-orm` | `outbox::sea_orm` | `sea_orm::DatabaseTransaction` |
//! | none | | any other driver: [`INSERT`] with the fields of a [`Row`] |

#[cfg(any(feature = "diesel", feature = "sea-orm", feature = "sqlx", feature = "tokio-postgres"))]
mod columns;
#[cfg(feature = "diesel")]
pub mod diesel;
#[cfg(feature = "diesel-async")]
pub mod diesel_async;
mod entry;
mod error;
#[cfg(feature = "sqlx")]
pub mod inbox;
pub mod proto;
mod row;
#[cfg(feature = "sea-orm")]
pub mod sea_orm;
#[cfg(feature = "sqlx")]
pub mod testing;
#[cfg(feature = "tokio-postgres")]
pub mod tokio_postgres;
#[cfg(feature = "opentelemetry")]
mod trace;
#[cfg(feature = "sqlx")]
mod with_sqlx;

pub use entry::Entry;
pub use error::EnqueueError;
#[cfg(feature = "signature")]
pub use outbox_event::signature;
pub use outbox_event::{Event, EventId, PAYLOAD_BYTES_MAX};
pub use row::{INSERT, INSERT_ALL, Row};

#[cfg(feature = "sqlx")]
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
#[cfg(feature = "sqlx")]
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
#[cfg(feature = "sqlx")]
pub async fn enqueue_all(
    tx: &mut PgTransaction<'_>,
    entries: impl IntoIterator<Item = Entry>,
) -> Result<Vec<EventId>, EnqueueError> {
    with_sqlx::insert_all(tx, columns::Columns::of(entries)?).await
}
