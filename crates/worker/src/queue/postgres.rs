use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;
use sqlx::postgres::types::PgInterval;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Delivery, Queue, QueueError, Settlement};

/// Plans are pinned as the relay's are; only `outbox.complete` needs a durable commit, and asks for it itself.
pub const SESSION: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("synchronous_commit", "off"),
];

const DUE_MAX: usize = 1000;

/// The embedded queue. New deliveries come from a log, a batch per claim; those that need another attempt have a row of
/// their own in `outbox.retry`.
#[derive(Debug)]
pub struct PostgresQueue {
    pool: PgPool,
    queue: i32,
    worker: String,
    visibility: Duration,
    ready: Arc<Notify>,
    /// When the retries that this process knows of are due. Bounded: the bell's poll stands behind it.
    due: Mutex<BTreeSet<Instant>>,
    /// How many of a claimed batch are not settled yet. At zero the claim is closed.
    open: Mutex<HashMap<i64, usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    seq: i64,
    claim: i64,
    /// Claimed as part of a batch of the log, not by a row of its own.
    fresh: bool,
}

impl PostgresQueue {
    pub fn new(pool: PgPool, queue: i32, worker: &str, visibility: Duration, ready: Arc<Notify>) -> Self {
        Self {
            pool,
            queue,
            worker: worker.to_owned(),
            visibility,
            ready,
            due: Mutex::new(BTreeSet::new()),
            open: Mutex::new(HashMap::new()),
        }
    }

    async fn claim(&self, max: usize) -> Result<Vec<Delivery<Receipt>>, sqlx::Error> {
        type Row = (i64, i64, bool, String, i32, DateTime<Utc>);
        let rows: Vec<Row> = sqlx::query_as(
            "select seq, claim, fresh, body, attempt, enqueued_at from outbox.receive($1, $2, $3, $4)",
        )
        .bind(self.queue)
        .bind(i32::try_from(max).unwrap_or(i32::MAX))
        .bind(interval(self.visibility))
        .bind(&self.worker)
        .fetch_all(&self.pool)
        .await?;
        let mut open = self.open.lock().expect("no panic while held");
        let deliveries = rows.into_iter().map(|(seq, claim, fresh, body, attempt, enqueued_at)| {
            if fresh {
                *open.entry(claim).or_default() += 1;
            }
            let receipt = Receipt { seq, claim, fresh };
            Delivery { receipt, body, attempt: u32::try_from(attempt).unwrap_or(u32::MAX), enqueued_at }
        });
        Ok(deliveries.collect())
    }

    /// Waits until the bell rings for this queue, a retry is due, or `stop`.
    async fn wait(&self, stop: &CancellationToken) {
        let next = self.due.lock().expect("no panic while held").first().copied();
        tokio::select! {
            () = self.ready.notified() => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                self.due.lock().expect("no panic while held").retain(|due| *due > now);
            }
        }
    }

    fn remember_due(&self, after: Duration) {
        // The database's clock reads a little later than ours did.
        let when = Instant::now() + after + Duration::from_millis(1);
        let mut due = self.due.lock().expect("no panic while held");
        due.insert(when);
        if due.len() > DUE_MAX {
            due.pop_last();
        }
    }

    /// The claims that these settlements leave with nothing open.
    fn closed_by(&self, settled: &[(Receipt, Settlement)]) -> Vec<i64> {
        let open = self.open.lock().expect("no panic while held");
        let mut left: HashMap<i64, usize> = HashMap::new();
        for (receipt, _) in settled.iter().filter(|(receipt, _)| receipt.fresh) {
            if let Some(&of_claim) = open.get(&receipt.claim) {
                let left = left.entry(receipt.claim).or_insert(of_claim);
                *left = left.saturating_sub(1);
            }
        }
        left.into_iter().filter(|&(_, left)| left == 0).map(|(claim, _)| claim).collect()
    }

    /// Only once everything is written: a settlement that failed half-way is tried again as a whole.
    fn count_down(&self, settled: &[(Receipt, Settlement)]) {
        let mut open = self.open.lock().expect("no panic while held");
        for (receipt, _) in settled.iter().filter(|(receipt, _)| receipt.fresh) {
            if let Some(left) = open.get_mut(&receipt.claim) {
                *left = left.saturating_sub(1);
            }
        }
        open.retain(|_, left| *left > 0);
    }
}

impl Queue for PostgresQueue {
    type Receipt = Receipt;

    async fn receive(
        &self,
        max: usize,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        while !stop.is_cancelled() {
            let deliveries = self.claim(max).await?;
            // A batch that is half full or more may not be all there is: whoever asks next should not wait.
            if deliveries.len() >= max.div_ceil(2) {
                self.ready.notify_one();
            }
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            self.wait(stop).await;
        }
        Ok(Vec::new())
    }

    async fn settle(&self, settled: &[(Receipt, Settlement)]) -> Result<(), QueueError> {
        // What is retried or dead is written before its claim is closed: a crash in between means that the claim ends
        // and what it covers is taken up again, but for what stands in these tables already.
        self.retry(settled).await?;
        self.bury(settled).await?;
        let acked: Vec<Receipt> = settled
            .iter()
            .filter(|(receipt, settlement)| !receipt.fresh && *settlement == Settlement::Ack)
            .map(|(receipt, _)| *receipt)
            .collect();
        if !acked.is_empty() {
            let (seqs, claims) = columns(&acked);
            sqlx::query(
                "delete from outbox.retry as r using unnest($1::bigint[], $2::bigint[]) as k (seq, claim)
                 where r.seq = k.seq and r.claim = k.claim",
            )
            .bind(seqs)
            .bind(claims)
            .execute(&self.pool)
            .await?;
        }
        let closed = self.closed_by(settled);
        if !closed.is_empty() {
            sqlx::query("update outbox.claim set until = null where id = any ($1) and until is not null")
                .bind(closed)
                .execute(&self.pool)
                .await?;
        }
        self.count_down(settled);
        Ok(())
    }

    async fn extend(&self, receipts: &[Receipt]) -> Result<(), QueueError> {
        let visibility = interval(self.visibility);
        let (fresh, retried): (Vec<_>, Vec<_>) = receipts.iter().copied().partition(|receipt| receipt.fresh);
        if !fresh.is_empty() {
            sqlx::query("update outbox.claim set until = clock_timestamp() + $2 where id = any ($1) and until is not null")
                .bind(columns(&fresh).1)
                .bind(visibility)
                .execute(&self.pool)
                .await?;
        }
        if !retried.is_empty() {
            let (seqs, claims) = columns(&retried);
            sqlx::query(
                "update outbox.retry as r set due_at = clock_timestamp() + $3
                 from unnest($1::bigint[], $2::bigint[]) as k (seq, claim) where r.seq = k.seq and r.claim = k.claim",
            )
            .bind(seqs)
            .bind(claims)
            .bind(visibility)
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }

    fn visibility(&self) -> Duration {
        self.visibility
    }
}

impl PostgresQueue {
    async fn retry(&self, settled: &[(Receipt, Settlement)]) -> Result<(), sqlx::Error> {
        for (receipt, settlement) in settled {
            let Settlement::Retry { after, counted, code, error } = settlement else { continue };
            // A batch's message gets a row of its own now, unless the claim was lost and somebody else gave it one.
            let statement = if receipt.fresh {
                "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
                 select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, case when $4 then 1 else 0 end,
                        clock_timestamp() + $3, $5, $6
                 from outbox.delivery as d
                 where d.queue = $7 and d.seq = $1
                   and exists (select from outbox.claim as c where c.id = $2 and c.until is not null)
                 on conflict (seq) do nothing"
            } else {
                "update outbox.retry
                 set due_at = clock_timestamp() + $3, claim = null, last_code = $5, last_error = $6,
                     failed_at = clock_timestamp(), attempts = attempts - case when $4 then 0 else 1 end
                 where seq = $1 and claim = $2 and queue = $7"
            };
            sqlx::query(statement)
                .bind(receipt.seq)
                .bind(receipt.claim)
                .bind(interval(*after))
                .bind(counted)
                .bind(code)
                .bind(error)
                .bind(self.queue)
                .execute(&self.pool)
                .await?;
            self.remember_due(*after);
        }
        Ok(())
    }

    async fn bury(&self, settled: &[(Receipt, Settlement)]) -> Result<(), sqlx::Error> {
        for (receipt, settlement) in settled {
            let Settlement::Dead { code, reason } = settlement else { continue };
            let statement = if receipt.fresh {
                "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
                 select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, 1, $3, $4
                 from outbox.delivery as d
                 where d.queue = $5 and d.seq = $1
                   and exists (select from outbox.claim as c where c.id = $2 and c.until is not null)
                 on conflict (seq) do nothing"
            } else {
                "with moved as (
                     delete from outbox.retry where seq = $1 and claim = $2 and queue = $5
                     returning seq, queue, event_id, body, enqueued_at, attempts
                 )
                 insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
                 select seq, queue, event_id, body, enqueued_at, attempts, $3, $4 from moved
                 on conflict (seq) do nothing"
            };
            sqlx::query(statement)
                .bind(receipt.seq)
                .bind(receipt.claim)
                .bind(code)
                .bind(reason)
                .bind(self.queue)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}

fn columns(receipts: &[Receipt]) -> (Vec<i64>, Vec<i64>) {
    receipts.iter().map(|receipt| (receipt.seq, receipt.claim)).unzip()
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
