//! Once for each event: the note that an effect was done commits with the effect.
//!
//! A worker may call an RPC again, for example after a crash between the RPC's effect and the worker's record of it. With the
//! inbox the second call finds the note of the first one, and the effect happens once.
//!
//! ```no_run
//! # async fn book(pool: sqlx::PgPool, event_id: outbox::EventId) -> Result<(), Box<dyn std::error::Error>> {
//! let mut tx = pool.begin().await?;
//! if outbox::inbox::first_time(&mut tx, event_id, "AfterPayService/RecordCardTransaction").await? {
//!     sqlx::query("update account set balance = balance - 480 where id = 'c-1'").execute(&mut *tx).await?;
//! }
//! tx.commit().await?; // then answer that the call has succeeded, in either case
//! # Ok(()) }
//! ```
//!
//! It covers what `tx` writes. It can't take back a mail or a call of another service.
//!
//! The tables are in the consumer's own database: `relay migrate --inbox` makes them there, and `relay migrate --inbox --print`
//! prints them. `outbox.inbox_grant_to` allows a role to use them.

use outbox_event::EventId;
use sqlx::{PgConnection, PgTransaction};

use crate::with_sqlx::names_statements;

/// Whether this is the first transaction that has this event for this RPC. If `tx` commits, every later call returns false.
///
/// While another transaction that got true for it is open, this waits. It returns false if that one commits, and true if it
/// rolls back. A note is kept for at least 35 days after it was written. The event's id is in the header `Outbox-Event-Id`.
///
/// # Errors
///
/// See [`InboxError`]. Postgres has aborted `tx`: roll back, and answer `unavailable` or `aborted`, so that the worker calls
/// again. In the isolation levels above read committed that is also the answer where the other transaction commits.
pub async fn first_time(
    tx: &mut PgTransaction<'_>,
    event_id: EventId,
    rpc: &str,
) -> Result<bool, InboxError> {
    let persistent = names_statements(tx);
    sqlx::query_scalar("select outbox.inbox_first_time($1, $2)")
        .persistent(persistent)
        .bind(event_id.as_uuid())
        .bind(rpc)
        .fetch_one(&mut **tx)
        .await
        .map_err(InboxError)
}

/// Removes the notes that are older than 35 days. Call it once a day, outside a transaction.
///
/// Nothing depends on it but space. It waits for no lock longer than 25 ms, and leaves what it can't have for the next time.
///
/// # Errors
///
/// See [`InboxError`]: the next call goes on.
pub async fn expire(conn: &mut PgConnection) -> Result<(), InboxError> {
    // Each part in a transaction of its own: a truncated slot stays locked until its transaction ends.
    loop {
        let removed: bool = sqlx::query_scalar("select outbox.inbox_expire()")
            .persistent(false)
            .fetch_one(&mut *conn)
            .await
            .map_err(InboxError)?;
        if !removed {
            return Ok(());
        }
    }
}

/// The database did not answer, or has no inbox, or this role may not use it.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to use the inbox (`relay migrate --inbox` makes it in this database, and `outbox.inbox_grant_to` allows this role to use it)"
)]
pub struct InboxError(#[source] pub sqlx::Error);
