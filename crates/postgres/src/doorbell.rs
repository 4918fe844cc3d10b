//! Wakes a sleeping relay: the advisory-lock doorbell.
//!
//! The relay holds the lock exclusively while it sleeps. A publisher tries to take it shared. If it gets the lock, the relay
//! is awake. The publisher keeps the lock to the end of its transaction, and so the relay stays awake. If it does not get
//! the lock, it notifies. So the relay may sleep once it has the lock and one more read has found nothing. No wake-up is
//! lost, and no timing is assumed.

use std::time::Duration;

use crate::{Source, within};
use sqlx::postgres::{PgListener, PgPool};

#[derive(Debug)]
pub struct Doorbell {
    /// A pool of one: the listener requires a pool, and closing the pool closes its connection.
    pool: PgPool,
    listener: PgListener,
}

impl Doorbell {
    pub async fn listen(source: &Source) -> Result<Self, sqlx::Error> {
        let pool = source.listening("outbox relay (doorbell)");
        let mut listener = PgListener::connect_with(&pool).await?;
        // A silent reconnect would lose the lock, so it must be an error.
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        within(listener.listen("outbox")).await?;
        Ok(Self { pool, listener })
    }

    /// Takes the lock before the relay sleeps. Refused while a publisher that saw the relay awake is in its transaction.
    pub async fn try_lock(&mut self) -> Result<bool, sqlx::Error> {
        within(sqlx::query_scalar("select pg_try_advisory_lock(1869968994, 1)").fetch_one(&mut self.listener))
            .await
    }

    /// The relay is awake: no publisher needs to notify.
    pub async fn unlock(&mut self) -> Result<(), sqlx::Error> {
        within(sqlx::query("select pg_advisory_unlock(1869968994, 1)").execute(&mut self.listener)).await?;
        Ok(())
    }

    /// Waits for a notification. Dropping the future loses none.
    pub async fn recv(&mut self) -> Result<(), sqlx::Error> {
        match self.listener.try_recv().await? {
            Some(_) => Ok(()),
            None => Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())),
        }
    }

    pub async fn recv_within(&mut self, patience: Duration) -> Result<bool, sqlx::Error> {
        match tokio::time::timeout(patience, self.recv()).await {
            Ok(received) => received.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Drops the notifications so far. Call it only between a wake-up and the read that follows: one dropped between an empty
    /// read and the next wait would be lost.
    pub fn drain(&mut self) {
        while self.listener.next_buffered().is_some() {}
    }

    pub async fn close(self) {
        drop(self.listener);
        let _ = tokio::time::timeout(Duration::from_secs(1), self.pool.close()).await;
    }
}
