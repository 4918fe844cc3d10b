//! The card service, which writes its change and the event about it in one transaction.

use outbox::{EnqueueError, EventId};
use sqlx::{PgConnection, PgTransaction};

use crate::proto::card::v1::CardTransactionSettledEvent;

/// Why a card transaction was not settled. The service's own write and the outbox's write fail for different reasons, so each
/// has a variant.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error("failed to write the card transaction")]
    Write(#[source] sqlx::Error),
    #[error("failed to publish that the card transaction is settled")]
    Publish(#[from] EnqueueError),
}

pub async fn create_table(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "create table if not exists card_transaction (
             id text primary key,
             card_id text not null,
             merchant text not null,
             amount_minor bigint not null,
             currency text not null,
             settled_at timestamptz
         )",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Settles a transaction and publishes the event: both are committed, or neither.
pub async fn settle(
    tx: &mut PgTransaction<'_>,
    settled: &CardTransactionSettledEvent,
) -> Result<EventId, SettleError> {
    sqlx::query(
        "insert into card_transaction (id, card_id, merchant, amount_minor, currency, settled_at)
         values ($1, $2, $3, $4, $5, now())
         on conflict (id) do update set settled_at = now()",
    )
    .bind(&settled.transaction_id)
    .bind(&settled.card_id)
    .bind(&settled.merchant)
    .bind(settled.amount_minor)
    .bind(&settled.currency)
    .execute(&mut **tx)
    .await
    .map_err(SettleError::Write)?;
    Ok(outbox::enqueue(tx, settled).await?)
}
