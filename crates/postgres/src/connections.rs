//! Connections that several tasks share, each for a statement or two at a time.
//!
//! A pool of sqlx tests a connection whenever it is given back. That costs a round trip for every statement, and has no end on
//! a half-open connection.

use std::sync::Arc;
use std::time::Duration;

use outbox_runtime::Guarded;
use sqlx::{Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Source, within};

const LENT_WITHIN: Duration = Duration::from_secs(5);
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// The names and values of a session's settings.
type Settings = &'static [(&'static str, &'static str)];

/// At most so many connections to one database. Each is opened at its first use.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    application: &'static str,
    settings: Settings,
    places: Arc<Semaphore>,
    idle: Guarded<Vec<PgConnection>>,
}

/// A connection on loan. It goes back only if its statements were answered, and is dropped otherwise: the next borrower would
/// wait for the old answer.
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
        Connections(Arc::new(Shared { source, application, settings, places, idle: Guarded::default() }))
    }
}

impl Connections {
    /// An idle connection, or a new one. Its first statement shows whether it still works.
    pub async fn lend(&self) -> Result<Loan, sqlx::Error> {
        let shared = Arc::clone(&self.0);
        let place = tokio::time::timeout(LENT_WITHIN, Arc::clone(&shared.places).acquire_owned())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = shared.idle.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => shared.source.connect(shared.application, shared.settings).await?,
        };
        Ok(Loan { conn: Some(conn), shared, _place: place })
    }

    /// Runs a statement or two. The connection goes back only if they succeeded.
    pub async fn run<T>(
        &self,
        statements: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut loan = self.lend().await?;
        let done = within(statements(loan.conn())).await?;
        loan.give_back();
        Ok(done)
    }

    /// Ends the lending, and closes the idle connections.
    pub async fn close(&self) {
        self.0.places.close();
        let idle = std::mem::take(&mut *self.0.idle.lock());
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
            self.shared.idle.lock().push(conn);
        }
    }
}
