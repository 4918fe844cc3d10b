mod bell; // wakes receivers
mod brakes; // pauses and limits of RPCs
mod depth; // measures a queue
mod near; // where most reads begin
mod open; // what is left of a claim
mod settle;
mod watched; // where a read begins

pub use bell::Bell;
pub use brakes::BrakeTable;
pub(crate) use open::Open;
pub use watched::Watched;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event_router::Rpc;
use outbox_runtime::Guarded;
use outbox_transport::{Budget, Delivery, Lease, Limits, Outcome, Queue, QueueError, Unsettled, Wanted};
use sqlx::PgConnection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::near::Read;
use crate::{Connections, PostgresDedup, interval, within};

/// Per statement.
const BATCH_MAX: usize = 500;
const DUE_MAX: usize = 1000;
/// One record and one settlement cover the outcomes of a millisecond or two. While more than half of the slots are taken, one
/// receive is for all that get free in that time.
const LINGER: Duration = Duration::from_millis(2);

/// The queue on Postgres. New deliveries come from a log, a batch per claim. Deliveries that need another attempt have a row in
/// `outbox.retry`.
#[derive(Debug)]
pub struct PostgresQueue {
    connections: Connections,
    watched: Arc<Watched>,
    has_bell: bool,
    worker: String,
    visibility: Duration,
    lease: Duration,
    /// When this process's retries are due. The set is bounded, because the poll of the bell finds the others.
    due: Guarded<BTreeSet<Instant>>,
    /// The record closes claims, too.
    open: Arc<Open>,
    /// A receive that passed over retries has consumed a wake-up, which may have been for them.
    passed_over: AtomicBool,
    /// What of this RPC's failures the history gets.
    history: Guarded<Budget>,
    /// Whether the history refused the last entries.
    history_fails: AtomicBool,
    /// The last measurement found nothing, and nothing was received since.
    measured_empty: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    queue: i32,
    seq: i64,
    /// The claim of its batch; none if it has a row of its own.
    claim: Option<i64>,
    /// Random, so that no token of a batch equals that of another claim.
    token: i64,
}

impl PostgresQueue {
    pub fn new(
        connections: Connections,
        watched: Arc<Watched>,
        worker: &str,
        visibility: Duration,
        lease: Duration,
    ) -> Self {
        // Deliveries may have come before.
        watched.ring();
        Self { has_bell: false, ..Self::watched(connections, watched, worker, visibility, lease) }
    }

    /// As [`PostgresQueue::new`], beside a bell that runs: its looks find what came before. So a queue without messages needs
    /// no connection.
    pub fn watched(
        connections: Connections,
        watched: Arc<Watched>,
        worker: &str,
        visibility: Duration,
        lease: Duration,
    ) -> Self {
        Self {
            connections,
            watched,
            has_bell: true,
            worker: worker.to_owned(),
            visibility,
            lease,
            due: Guarded::new(BTreeSet::new()),
            open: Arc::default(),
            passed_over: AtomicBool::new(false),
            history: Guarded::new(Budget::default()),
            history_fails: AtomicBool::new(false),
            measured_empty: AtomicBool::new(false),
        }
    }

    /// The dedup record of its RPC, which writes receipts for this queue's claims.
    pub fn dedup(&self) -> PostgresDedup {
        let (watched, open) = (Arc::clone(&self.watched), Arc::clone(&self.open));
        PostgresDedup::beside(self.connections.clone(), watched, open, self.lease)
    }

    async fn claim(&self, Wanted { most, failed }: Wanted) -> Result<Vec<Delivery<Receipt>>, sqlx::Error> {
        type Row =
            (i32, i64, Option<i64>, i64, Uuid, String, i32, DateTime<Utc>, bool, Option<DateTime<Utc>>);
        let asked_at = Instant::now();
        let (due_from, is_wide) = if failed { self.watched.due_from(asked_at) } else { (None, false) };
        let receive = sqlx::query_as(
            "select queue, seq, claim, token, event_id, body, attempt, enqueued_at, leased, due_at
             from outbox.receive($1, $2, $3, $4, $5, case when $7 then coalesce($6, '-infinity') else 'infinity' end, $8)",
        )
        .bind(self.watched.rpc.as_str())
        .bind(i32::try_from(most).unwrap_or(i32::MAX))
        .bind(interval(self.visibility))
        .bind(&self.worker)
        .bind(interval(self.lease))
        .bind(due_from)
        .bind(failed)
        .bind(self.watched.claims_from());
        let rows: Vec<Row> = self.connections.run(async |conn| receive.fetch_all(conn).await).await?;
        if failed {
            let is_full = rows.len() >= most;
            let first_due = rows.iter().filter_map(|row| row.9).min();
            self.watched.read(Read { asked_at, is_wide, is_full }, first_due);
        }
        if !rows.is_empty() && self.measured_empty.swap(false, Ordering::Relaxed) {
            self.watched.has_changed();
        }
        // Of two copies of an event in one batch only the first has the lease.
        let mut leases = HashSet::new();
        let deliveries = rows.into_iter().map(
            |(queue, seq, claim, token, event, body, attempt, enqueued_at, leased, _)| {
                if claim.is_some() {
                    self.open.received(token);
                }
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                let lease = (leased && leases.insert(event))
                    .then(|| (Lease { event: event.into(), token }, asked_at));
                Delivery { receipt: Receipt { queue, seq, claim, token }, body, attempt, enqueued_at, lease }
            },
        );
        Ok(deliveries.collect())
    }

    /// Waits for a wake-up, a due retry, or `stop`.
    async fn wait(&self, failed: bool, stop: &CancellationToken) {
        let next = self.due.lock().first().copied().filter(|_| failed);
        tokio::select! {
            () = self.watched.ready.notified() => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                self.due.lock().retain(|due| *due > now);
                self.watched.widen();
            }
        }
    }

    fn remember_due(&self, after: Duration) {
        // The database reads its clock a little later than this process.
        let when = Instant::now() + after + Duration::from_millis(1);
        let mut due = self.due.lock();
        due.insert(when);
        if due.len() > DUE_MAX {
            due.pop_last();
        }
    }

    async fn extend_all(&self, receipts: &[Receipt]) -> Result<(), sqlx::Error> {
        let visibility = interval(self.visibility);
        let ((claims, claim_tokens), (seqs, tokens)) = columns(receipts.iter());
        let mut loan = self.connections.lend().await?;
        if !claims.is_empty() {
            let extend = sqlx::query(
                "update outbox.claim set until = clock_timestamp() + $3
                 where id = any ($1) and token = any ($2) and until is not null",
            );
            within(extend.bind(claims).bind(claim_tokens).bind(visibility).execute(loan.conn())).await?;
        }
        if !seqs.is_empty() {
            let extend = sqlx::query(
                "update outbox.retry set due_at = clock_timestamp() + $3 where seq = any ($1) and token = any ($2)",
            );
            within(extend.bind(seqs).bind(tokens).bind(visibility).execute(loan.conn())).await?;
        }
        loan.give_back();
        Ok(())
    }
}

impl Queue for PostgresQueue {
    type Receipt = Receipt;

    async fn receive(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        // A wake-up that was consumed meanwhile may have been for a retry.
        if !wanted.failed {
            self.passed_over.store(true, Ordering::Relaxed);
        } else if self.passed_over.swap(false, Ordering::Relaxed) {
            self.watched.ring();
        }
        loop {
            self.wait(wanted.failed, stop).await;
            if stop.is_cancelled() {
                // The wake-up may have been for the next request.
                self.watched.ring();
                return Ok(Vec::new());
            }
            let claimed = self.claim(wanted).await;
            // Wake the next receiver if the batch was full or failed: there may be more. Otherwise the queue is empty, and new
            // messages notify.
            if claimed.as_ref().map_or(true, |deliveries| deliveries.len() >= wanted.most) {
                self.watched.ring();
            }
            let deliveries = claimed.map_err(QueueError::new)?;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
    }

    async fn settle(&self, settled: &[(Receipt, Outcome)]) -> Vec<Result<(), Unsettled>> {
        self.settle_each(settled).await
    }

    async fn extend(&self, receipts: &[Receipt]) -> Result<(), QueueError> {
        self.extend_all(receipts).await.map_err(QueueError::new)
    }

    fn limits(&self) -> Limits {
        // The relay's retention dead-letters old messages, so none is lost.
        Limits {
            visibility: self.visibility,
            keeps: Duration::MAX,
            batch_max: BATCH_MAX,
            linger: LINGER,
            charges: false,
            chooses: true,
        }
    }
}

/// Ends the visibility of everything that this worker has claimed and not settled. Returns how many batches.
pub async fn give_back(connections: &Connections, worker: &str) -> Result<u64, sqlx::Error> {
    let release = sqlx::query(
        "update outbox.claim set until = clock_timestamp() where worker = $1 and until is not null",
    )
    .bind(worker);
    let done = connections.run(async |conn| release.execute(conn).await).await?;
    Ok(done.rows_affected())
}

/// The ids of these RPCs' queues. Missing queues are made, because relay and worker may start in either order.
pub async fn ids(
    conn: &mut PgConnection,
    rpcs: impl Iterator<Item = &Rpc>,
) -> Result<HashMap<Rpc, i32>, sqlx::Error> {
    let names: Vec<&str> = rpcs.map(Rpc::as_str).collect();
    sqlx::query("insert into outbox.queue (rpc) select unnest($1::text[]) on conflict do nothing")
        .bind(&names)
        .execute(&mut *conn)
        .await?;
    let ids: Vec<(String, i32)> =
        sqlx::query_as("select rpc, id from outbox.queue where rpc = any ($1::text[])")
            .bind(&names)
            .fetch_all(conn)
            .await?;
    Ok(ids.into_iter().filter_map(|(rpc, id)| Some((Rpc::new(&rpc)?, id))).collect())
}

type Columns = (Vec<i64>, Vec<i64>);

/// The claims of batches with their tokens, and the seqs of retries with theirs.
fn columns<'a>(receipts: impl Iterator<Item = &'a Receipt>) -> (Columns, Columns) {
    let (mut batches, mut rows) = (Columns::default(), Columns::default());
    for receipt in receipts {
        let (column, id) = match receipt.claim {
            Some(claim) => (&mut batches, claim),
            None => (&mut rows, receipt.seq),
        };
        column.0.push(id);
        column.1.push(receipt.token);
    }
    (batches, rows)
}
