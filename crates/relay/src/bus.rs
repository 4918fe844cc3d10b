//! Where events go: into the queues of their own database, or on a remote bus.

use std::convert::Infallible;

use outbox_event::Envelope;
use outbox_postgres::{Deliveries, PostgresBus};
use outbox_transport::{Entry, PutError, RemoteBus};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::metrics::Progress;
use crate::put::{PutLimiter, put_all};
use crate::settle::Outcome;

#[derive(Debug)]
pub enum Bus<R = Infallible> {
    /// Routes events within the transaction that advances the cursor. It is available whenever the database is.
    Database(PostgresBus),
    /// Takes events before the cursor advances. It may be slow, away, or refuse some.
    Remote(R),
}

impl From<PostgresBus> for Bus {
    fn from(bus: PostgresBus) -> Self {
        Self::Database(bus)
    }
}

impl<R: RemoteBus> Bus<R> {
    /// Prepares the bus at the start of a leader's term.
    pub(crate) async fn begin(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        match self {
            Self::Database(bus) => bus.begin(conn).await,
            Self::Remote(_) => Ok(()),
        }
    }

    /// The outcome of each entry, and what the advancing transaction must write for it.
    pub(crate) async fn take(
        &self,
        entries: &[Entry],
        envelopes: &[Result<Envelope<'_>, PutError>],
        limiter: &mut PutLimiter,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> (Vec<Outcome>, Deliveries) {
        match self {
            Self::Database(bus) => {
                let results: Vec<Result<(), PutError>> = envelopes
                    .iter()
                    .map(|envelope| envelope.as_ref().map(|_| ()).map_err(Clone::clone))
                    .collect();
                progress.answers(&results);
                let deliveries = bus.route(envelopes.iter().flatten());
                (results.into_iter().map(Into::into).collect(), deliveries)
            }
            Self::Remote(bus) => {
                progress.answers(&refused(envelopes));
                let outcomes = put_all(bus, entries, envelopes, limiter, progress, stop).await;
                (outcomes, Deliveries::default())
            }
        }
    }

    /// The routes, if the bus is the database.
    pub(crate) fn routes(&self) -> Option<&PostgresBus> {
        match self {
            Self::Database(bus) => Some(bus),
            Self::Remote(_) => None,
        }
    }
}

fn refused(envelopes: &[Result<Envelope<'_>, PutError>]) -> Vec<Result<(), PutError>> {
    envelopes.iter().filter_map(|envelope| envelope.as_ref().err().cloned().map(Err)).collect()
}
