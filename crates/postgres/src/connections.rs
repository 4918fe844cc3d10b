//! Connections that several tasks share, each for a statement or two at a time.
//!
//! A pool of sqlx tests a connection whenever it is given back. That costs a round trip for every statement, and has no end on
//! a half-open connection.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::Open;
use crate::{Source, within};

const LENT_WITHIN: Duration = Duration::from_secs(5);
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// The names and values of a session's settings.
type Settings = &'static [(&'static str, &'static str)];

/// At most so many connections to one database, within the budget of the process. Each is opened at its first use.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    application: &'static str,
    settings: Settings,
    places: Arc<Semaphore>,
    /// The number of these connections in the budget of the process, which keeps the idle ones.
    pool: u64,
}

/// A connection on loan. It goes back only if its statements were answered, and is dropped otherwise: the next borrower would
/// wait for the old answer.
#[derive(Debug)]
pub struct Loan {
    open: Option<Open>,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

impl Source {
    /// At most `size` connections as [`Source::connect`] makes them, for tasks to share.
    pub fn connections(&self, application: &'static str, settings: Settings, size: u32) -> Connections {
        let (source, places) = (self.clone(), Arc::new(Semaphore::new(size as usize)));
        let pool = self.budget().pool();
        Connections(Arc::new(Shared { source, application, settings, places, pool }))
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
        let budget = shared.source.budget();
        let open = match budget.take(shared.pool) {
            Some(open) => open,
            None => {
                let place = budget.place().await?;
                Open {
                    conn: shared.source.connect(shared.application, shared.settings).await?,
                    _place: place,
                }
            }
        };
        Ok(Loan { open: Some(open), shared, _place: place })
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

    /// Whether an idle one is soon closed for another database.
    pub(crate) fn are_scarce(&self) -> bool {
        self.0.source.budget().is_scarce()
    }

    /// Ends the lending, and closes the idle connections.
    pub async fn close(&self) {
        self.0.places.close();
        for Open { conn, .. } in self.0.source.budget().forget(self.0.pool) {
            let _ = tokio::time::timeout(CLOSED_WITHIN, conn.close()).await;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.source.budget().forget(self.pool));
    }
}

impl Loan {
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.open.as_mut().expect("lent until it is given back").conn
    }

    pub fn give_back(mut self) {
        if let Some(open) = self.open.take()
            && !self.shared.places.is_closed()
        {
            self.shared.source.budget().keep(self.shared.pool, open);
        }
    }
}
