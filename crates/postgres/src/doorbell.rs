//! Wakes a sleeping relay: the advisory-lock doorbell.
//!
//! The relay holds the lock exclusively while it sleeps. A publisher tries to take it shared. If it gets the lock, the relay
//! is awake. The publisher keeps the lock to the end of its transaction, and so the relay stays awake. If it does not get
//! the lock, it notifies. So the relay may sleep once it has the lock and one more read has found nothing. No wake-up is
//! lost, and no timing is assumed.

use std::time::Duration;

use crate::Listening;

/// The lock and the notifications are those of the session that leads.
#[derive(Debug)]
pub struct Doorbell {
    session: Listening,
}

impl Doorbell {
    pub async fn listen(session: Listening) -> Result<Self, sqlx::Error> {
        session.listen("outbox").await?;
        Ok(Self { session })
    }

    /// Takes the lock before the relay sleeps. Refused while a publisher that saw the relay awake is in its transaction.
    pub async fn try_lock(&self) -> Result<bool, sqlx::Error> {
        let lock = sqlx::query_scalar("select pg_try_advisory_lock(1869968994, 1)");
        self.session.run(async |conn| lock.fetch_one(conn).await).await
    }

    /// The relay is awake: no publisher needs to notify. A read that follows a wake-up does it, too:
    /// [`Outbox::wake`](crate::outbox::Outbox::wake).
    pub async fn unlock(&self) -> Result<(), sqlx::Error> {
        let unlock = sqlx::query("select pg_advisory_unlock(1869968994, 1)");
        self.session.run(async |conn| unlock.execute(conn).await.map(|_| ())).await
    }

    /// Waits for a notification. Dropping the future loses none.
    pub async fn recv(&self) -> Result<(), sqlx::Error> {
        self.session.recv().await.map(|_| ())
    }

    pub async fn recv_within(&self, patience: Duration) -> Result<bool, sqlx::Error> {
        match tokio::time::timeout(patience, self.recv()).await {
            Ok(received) => received.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Drops the notifications so far. Call it only between a wake-up and the read that follows: one dropped between an empty
    /// read and the next wait would be lost.
    pub async fn drain(&self) {
        self.session.drain().await;
    }
}
