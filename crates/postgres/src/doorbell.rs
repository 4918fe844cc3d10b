//! How a sleeping relay is woken: the advisory-lock doorbell.
//!
//! The relay holds the lock exclusively while it sleeps. A publisher tries it shared: if he gets it, the relay is
//! awake, and the lock, kept to the end of his transaction, keeps it so; if not, he notifies. So the relay may fall
//! asleep once it has the lock and one more read has found nothing. No wake-up is lost and no timing is assumed.

use std::time::Duration;

use crate::{Source, within};
use sqlx::postgres::{PgListener, PgPool};

#[derive(Debug)]
pub struct Doorbell {
    /// Pool of one: the listener wants one, and closing it is how the connection is closed.
    pool: PgPool,
    listener: PgListener,
}

impl Doorbell {
    pub async fn listen(source: &Source) -> Result<Self, sqlx::Error> {
        let pool = source.listening("outbox relay (doorbell)");
        let mut listener = PgListener::connect_with(&pool).await?;
        // A connection that came back silently would be one without the lock: we want to hear of it.
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        within(listener.listen("outbox")).await?;
        Ok(Self { pool, listener })
    }

    /// Tries to fall asleep. Refused while a publisher that saw the relay awake is still in his transaction.
    pub async fn hush(&mut self) -> Result<bool, sqlx::Error> {
        within(sqlx::query_scalar("select pg_try_advisory_lock(1869968994, 1)").fetch_one(&mut self.listener))
            .await
    }

    /// Awake: nobody needs to ring any more.
    pub async fn open(&mut self) -> Result<(), sqlx::Error> {
        within(sqlx::query("select pg_advisory_unlock(1869968994, 1)").execute(&mut self.listener)).await?;
        Ok(())
    }

    /// Waits until somebody rings. May be dropped at any time without losing a ring.
    pub async fn rung(&mut self) -> Result<(), sqlx::Error> {
        match self.listener.try_recv().await? {
            Some(_) => Ok(()),
            None => Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())),
        }
    }

    /// Whether somebody rings within `patience`.
    pub async fn rings_within(&mut self, patience: Duration) -> Result<bool, sqlx::Error> {
        match tokio::time::timeout(patience, self.rung()).await {
            Ok(rung) => rung.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Forgets the rings heard so far. Only ever between a wake-up and the read that follows it: a ring forgotten
    /// between an empty read and the next wait would be a lost one.
    pub fn forget(&mut self) {
        while self.listener.next_buffered().is_some() {}
    }

    pub async fn close(self) {
        drop(self.listener);
        let _ = tokio::time::timeout(Duration::from_secs(1), self.pool.close()).await;
    }
}
