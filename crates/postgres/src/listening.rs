//! A session that waits for notifications, and is lent to other tasks meanwhile. So one session serves all that a process does
//! regularly in a database.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPool};
use sqlx::{Acquire, PgConnection};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::{Source, within};

const CLOSED_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Listening(Arc<Shared>);

/// Does not keep the session open.
#[derive(Debug, Clone)]
pub(crate) struct WeakListening(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    /// A pool of one: the listener requires a pool, and closing the pool closes its connection.
    pool: PgPool,
    /// The line of tasks that wait for it is fair.
    listener: Arc<Mutex<Option<PgListener>>>,
    /// Another task waits for the session, and the one that waits for a notification gives way.
    wanted: Notify,
    /// A statement was given up, so the next one would wait for its answer; or the connection is lost.
    broken: AtomicBool,
    /// Rows of the last statement were left on the way. The next statement waits until they have come.
    unread: AtomicBool,
}

/// The session on loan. Unless it is given back, no statement runs in it any more.
#[derive(Debug)]
pub struct Lent {
    listener: OwnedMutexGuard<Option<PgListener>>,
    session: Arc<Shared>,
    answered: bool,
}

impl Listening {
    /// It listens to nothing yet. The error may hide why there is no connection: [`Source::connect`] shows it.
    pub async fn open(
        source: &Source,
        application: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, sqlx::Error> {
        let pool = source.pool_of_one(application, settings);
        let mut listener = PgListener::connect_with(&pool).await?;
        // A silent reconnect would lose locks and notifications, so it must be an error.
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        Ok(Self(Arc::new(Shared {
            pool,
            listener: Arc::new(Mutex::new(Some(listener))),
            wanted: Notify::new(),
            broken: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        })))
    }

    pub async fn listen(&self, channel: &str) -> Result<(), sqlx::Error> {
        let mut lent = self.lend().await?;
        within(lent.listener()?.listen(channel)).await?;
        lent.give_back();
        Ok(())
    }

    pub async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let mut turn = pin!(Arc::clone(&self.0.listener).lock_owned());
        let listener = match poll_fn(|context| Poll::Ready(turn.as_mut().poll(context))).await {
            Poll::Ready(listener) => listener,
            // Only now that this task is in line: who waits for a notification gives way, and stands in line again.
            Poll::Pending => {
                self.0.wanted.notify_one();
                turn.await
            }
        };
        self.0.usable()?;
        Ok(Lent { listener, session: Arc::clone(&self.0), answered: false })
    }

    /// Runs a statement or two. After an error the session is of no more use.
    pub async fn run<T>(
        &self,
        statements: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut lent = self.lend().await?;
        let done = within(statements(lent.conn().await?)).await?;
        lent.give_back();
        Ok(done)
    }

    /// Waits for a notification. Dropping the future loses none.
    pub async fn recv(&self) -> Result<PgNotification, sqlx::Error> {
        loop {
            let mut listener = self.0.listener.lock().await;
            self.0.usable()?;
            let listener = listener.as_mut().ok_or(sqlx::Error::PoolClosed)?;
            if let Some(notification) = listener.next_buffered() {
                return Ok(notification);
            }
            let received = tokio::select! {
                biased;
                () = self.0.wanted.notified() => continue,
                received = listener.try_recv() => received,
            };
            match received {
                Ok(Some(notification)) => return Ok(notification),
                Ok(None) => {
                    self.0.broken.store(true, Ordering::Relaxed);
                    return Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
                }
                Err(error) => {
                    self.0.broken.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    /// Drops the notifications that have come so far.
    pub async fn drain(&self) {
        if let Some(listener) = self.0.listener.lock().await.as_mut() {
            while listener.next_buffered().is_some() {}
        }
    }

    /// Whether a statement would first wait for the rest of earlier rows.
    pub(crate) fn has_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }

    pub(crate) fn weak(&self) -> WeakListening {
        WeakListening(Arc::downgrade(&self.0))
    }

    pub async fn close(&self) {
        let closing = async {
            drop(self.0.listener.lock().await.take());
            self.0.pool.close().await;
        };
        let _ = tokio::time::timeout(CLOSED_WITHIN, closing).await;
        self.0.broken.store(true, Ordering::Relaxed);
    }
}

impl WeakListening {
    /// The session, if it is open and of use.
    pub(crate) fn get(&self) -> Option<Listening> {
        self.0.upgrade().filter(|shared| !shared.broken.load(Ordering::Relaxed)).map(Listening)
    }
}

impl Shared {
    fn usable(&self) -> Result<(), sqlx::Error> {
        match self.broken.load(Ordering::Relaxed) {
            true => Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into())),
            false => Ok(()),
        }
    }
}

impl Lent {
    fn listener(&mut self) -> Result<&mut PgListener, sqlx::Error> {
        self.listener.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    pub async fn conn(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.listener()?.acquire().await
    }

    pub fn give_back(mut self) {
        self.answered = true;
        self.session.unread.store(false, Ordering::Relaxed);
    }

    /// As [`Lent::give_back`], after a statement whose rows were not read to the end.
    pub(crate) fn give_back_unread(mut self) {
        self.answered = true;
        self.session.unread.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.answered {
            self.session.broken.store(true, Ordering::Relaxed);
        }
    }
}
