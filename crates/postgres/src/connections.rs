//! Connections that several tasks share, each for a statement or two at a time.
//!
//! A pool of sqlx's asks the server whether a connection is well whenever it is given back: one more round trip for every
//! statement, and on a connection that is half-open it has no end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Source, within};

const LENT_WITHIN: Duration = Duration::from_secs(5);
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Of a session: names and values.
type Settings = &'static [(&'static str, &'static str)];

/// At most so many connections to one database; each is made when it is needed first.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    application: &'static str,
    settings: Settings,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
}

/// A connection on loan. It goes back only when its statements were answered, and is dropped otherwise: the next borrower
/// would wait for the answer.
#[derive(Debug)]
pub struct Loan {
    conn: Option<PgConnection>,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

impl Source {
    /// At most `size` connections as [`Source::connect`] makes them, for tasks to share.
    pub fn connections(&self, application: &'static str, settings: Settings, size: u32) -> Connections {
        let (source, places) = (self.clone(), Arc::new(Semaphore::new(size as usize)));
        Connections(Arc::new(Shared { source, application, settings, places, idle: Mutex::default() }))
    }
}

impl Connections {
    /// One that is idle, or a new one. Whether it is still well, its first statement shows.
    pub async fn lend(&self) -> Result<Loan, sqlx::Error> {
        let shared = Arc::clone(&self.0);
        let place = tokio::time::timeout(LENT_WITHIN, Arc::clone(&shared.places).acquire_owned())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = shared.idle.lock().expect("no panic while held").pop();
        let conn = match idle {
            Some(conn) => conn,
            None => shared.source.connect(shared.application, shared.settings).await?,
        };
        Ok(Loan { conn: Some(conn), shared, _place: place })
    }

    /// Runs a statement or two. The connection goes back only if they succeeded.
    ///
    /// # Errors
    ///
    /// The database's, or that it did not answer in time.
    pub async fn run<T>(
        &self,
        statements: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut loan = self.lend().await?;
        let done = within(statements(loan.conn())).await?;
        loan.give_back();
        Ok(done)
    }

    /// Lends nothing any more, and says goodbye on what is idle.
    pub async fn close(&self) {
        self.0.places.close();
        let idle = std::mem::take(&mut *self.0.idle.lock().expect("no panic while held"));
        for conn in idle {
            let _ = tokio::time::timeout(CLOSED_WITHIN, conn.close()).await;
        }
    }
}

impl Loan {
    pub fn conn(&mut self) -> &mut PgConnection {
        self.conn.as_mut().expect("lent until it is given back")
    }

    pub fn give_back(mut self) {
        if let Some(conn) = self.conn.take()
            && !self.shared.places.is_closed()
        {
            self.shared.idle.lock().expect("no panic while held").push(conn);
        }
    }
}
