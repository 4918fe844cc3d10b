//! The subscriber in Rust that `docs/subscribe.md` shows.

use connectrpc::ConnectError;
use http::HeaderMap;
use outbox::{EventId, inbox};
use sqlx::PgPool;

const RPC: &str = "NotificationService/NotifyHogeUpdated";

pub(super) async fn notify(pool: &PgPool, headers: &HeaderMap, hoge_id: &str) -> Result<(), ConnectError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let event_id: EventId =
        header("outbox-event-id").parse().map_err(|_| ConnectError::invalid_argument("no event id"))?;
    let sequence: i64 = header("outbox-sequence").parse().unwrap_or_default();
    if hoge_id.is_empty() {
        return Err(ConnectError::invalid_argument("the event has no hoge_id"));
    }
    once(pool, event_id, hoge_id, sequence)
        .await
        .map_err(|_| ConnectError::unavailable("the database can't be used"))
}

async fn once(
    pool: &PgPool,
    event_id: EventId,
    hoge_id: &str,
    sequence: i64,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut tx = pool.begin().await?;
    if inbox::first_time(&mut tx, event_id, RPC).await? {
        sqlx::query("insert into notice (hoge_id, sequence) values ($1, $2)")
            .bind(hoge_id)
            .bind(sequence)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}
