use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::{Dedup, DedupError, Lease, LeaseAnswer, Recorded, Released, Unsettled};
use uuid::Uuid;

use crate::failed::unsettled;
use crate::queue::{Open, Watched};
use crate::{Connections, interval};

/// The dedup record in the same database as the queue. Batches have receipts, and their claims are their leases. Deliveries
/// with a row of their own have a row here, too.
#[derive(Debug)]
pub struct PostgresDedup {
    connections: Connections,
    watched: Arc<Watched>,
    /// What is left of the claims of its queue.
    open: Arc<Open>,
    lease: Duration,
}

impl PostgresDedup {
    pub fn new(connections: Connections, rpc: &Rpc, lease: Duration) -> Self {
        Self::beside(connections, Arc::new(Watched::new(rpc)), Arc::default(), lease)
    }

    /// The record of the RPC of a watched queue.
    pub(crate) fn beside(
        connections: Connections,
        watched: Arc<Watched>,
        open: Arc<Open>,
        lease: Duration,
    ) -> Self {
        Self { connections, watched, open, lease }
    }

    fn rpc(&self) -> &str {
        self.watched.rpc.as_str()
    }

    async fn lease_all(&self, events: &[EventId]) -> Result<Vec<LeaseAnswer>, sqlx::Error> {
        // One statement can't touch a key twice, and statements of two workers must lock keys in the same order.
        let tokens: BTreeMap<Uuid, i64> =
            events.iter().map(|event| (event.as_uuid(), fastrand::i64(..))).collect();
        let lease = sqlx::query_as("select event_id, won, held from outbox.lease($1, $2, $3, $4, $5)")
            .bind(self.rpc())
            .bind(tokens.keys().copied().collect::<Vec<_>>())
            .bind(tokens.values().copied().collect::<Vec<_>>())
            .bind(interval(self.lease))
            .bind(self.watched.claims_from());
        let rows: Vec<(Uuid, bool, Option<f64>)> =
            self.connections.run(async |conn| lease.fetch_all(conn).await).await?;
        let answer = |(event, won, held): (Uuid, bool, Option<f64>)| {
            let answer = match held {
                _ if won => LeaseAnswer::Won(Lease { event: event.into(), token: tokens[&event] }),
                Some(seconds) => LeaseAnswer::Held { remaining: Duration::from_secs_f64(seconds.max(0.0)) },
                None => LeaseAnswer::Done,
            };
            (event, answer)
        };
        let mut said: HashMap<Uuid, LeaseAnswer> = rows.into_iter().map(answer).collect();
        let held = LeaseAnswer::Held { remaining: self.lease };
        let answers = events.iter().map(|event| {
            let said = said.entry(event.as_uuid()).or_insert(held);
            // A second copy in the same batch counts as held.
            let later = if matches!(said, LeaseAnswer::Won(_)) { held } else { *said };
            std::mem::replace(said, later)
        });
        Ok(answers.collect())
    }

    /// Writes all at once, or each alone if the database refuses that. Returns whether each was written.
    async fn write(&self, what: Write, leases: &[Lease]) -> Vec<Result<bool, Unsettled>> {
        let error = match self.written(what, leases).await {
            Ok(written) => return written.into_iter().map(Ok).collect(),
            Err(error) => unsettled(&error),
        };
        if !error.is_refused() || leases.len() == 1 {
            return leases.iter().map(|_| Err(error.clone())).collect();
        }
        let mut answers = Vec::new();
        for one in leases.chunks(1) {
            let written = self.written(what, one).await;
            answers.push(written.map(|one| one.contains(&true)).map_err(|error| unsettled(&error)));
        }
        answers
    }

    async fn written(&self, what: Write, leases: &[Lease]) -> Result<Vec<bool>, sqlx::Error> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, tokens): (Vec<Uuid>, Vec<i64>) =
            leases.iter().map(|lease| (lease.event.as_uuid(), lease.token)).unzip();
        let write = match what {
            Write::Receipts => "select outbox.record($1, $2, $3, $4)",
            Write::Rows => "select outbox.record_rows($1, $2, $3, $4)",
            Write::GivenBack => "select outbox.release($1, $2, $3)",
        };
        let mut write = sqlx::query_scalar(write).bind(self.rpc()).bind(ids).bind(&tokens);
        write = match what {
            Write::Receipts => write.bind(self.open.closed_by(tokens.iter().copied())),
            Write::Rows => write.bind(self.watched.claims_from()),
            Write::GivenBack => write,
        };
        let places: Vec<i64> = self.connections.run(async |conn| write.fetch_all(conn).await).await?;
        let at = |place: i64| usize::try_from(place.unsigned_abs()).ok()?.checked_sub(1);
        let mut written = vec![false; leases.len()];
        for at in places.iter().filter_map(|place| at(*place)).filter(|at| *at < leases.len()) {
            written[at] = true;
        }
        // The claims of negative places are closed.
        let closed = places.iter().filter(|place| **place < 0).filter_map(|place| at(*place));
        self.open.forget(closed.filter_map(|at| tokens.get(at).copied()));
        Ok(written)
    }
}

/// The kinds of writes about leases.
#[derive(Debug, Clone, Copy)]
enum Write {
    /// Successes under claims that are still open.
    Receipts,
    /// All other successes. One write has no event twice.
    Rows,
    GivenBack,
}

impl Dedup for PostgresDedup {
    async fn lease(&self, events: &[EventId]) -> Result<Vec<LeaseAnswer>, DedupError> {
        self.lease_all(events).await.map_err(DedupError::new)
    }

    async fn complete(&self, leases: &[Lease]) -> Vec<Result<Recorded, Unsettled>> {
        let mut done: HashMap<EventId, Result<bool, Unsettled>> = HashMap::new();
        // Two leases of one event may both have succeeded: one record is enough.
        let mut note = |lease: &Lease, written: Result<bool, Unsettled>| {
            if !matches!(done.get(&lease.event), Some(Ok(true))) {
                done.insert(lease.event, written);
            }
        };
        let mut rows = Vec::new();
        for (lease, written) in leases.iter().zip(self.write(Write::Receipts, leases).await) {
            if written == Ok(false) {
                rows.push(*lease);
            } else {
                note(lease, written);
            }
        }
        for leases in rounds(&rows) {
            for (lease, written) in leases.iter().zip(self.write(Write::Rows, &leases).await) {
                note(lease, written);
            }
        }
        let recorded = |lease: &Lease| match done.get(&lease.event) {
            Some(Ok(true)) => Ok(Recorded::Written),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(false)) | None => Ok(Recorded::Lost),
        };
        leases.iter().map(recorded).collect()
    }

    /// The queue's own tables hold the result of the call.
    async fn release(&self, released: &[Released]) -> Vec<Result<(), Unsettled>> {
        let leases: Vec<Lease> = released.iter().map(|one| one.lease).collect();
        let answers = self.write(Write::GivenBack, &leases).await;
        answers.into_iter().map(|answer| answer.map(|_| ())).collect()
    }
}

/// After an outage both copies of a message may have succeeded, and one statement can't touch a key twice.
fn rounds(leases: &[Lease]) -> Vec<Vec<Lease>> {
    let (mut rounds, mut times) = (Vec::<Vec<Lease>>::new(), HashMap::<EventId, usize>::new());
    for lease in leases {
        let time = times.entry(lease.event).or_default();
        if rounds.len() == *time {
            rounds.push(Vec::new());
        }
        rounds[*time].push(*lease);
        *time += 1;
    }
    rounds
}
