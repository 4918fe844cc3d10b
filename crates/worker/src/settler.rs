//! Verdicts -> records, in batches: while one batch is being written the next one gathers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use event_router::Rpc;
use runtime::{Chain, Part};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dedup::{Dedup, Lease, Released};
use crate::flight::InFlight;
use crate::meter::Meter;
use crate::queue::{Limits, Queue, Settlement};
use crate::unrecorded::Unrecorded;

const BATCH_MAX: usize = 500;
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Shorter than the bell's poll: a database that is back should hear of our successes before it hands their messages out
/// again.
const RETRY_MAX: Duration = Duration::from_millis(500);
/// For a message whose lease was lost: by then the record shows what whoever has it now made of it.
const LOST_LEASE_WAIT: Duration = Duration::from_secs(1);

/// A delivery whose fate is decided.
pub(crate) struct Decided<R> {
    pub(crate) receipt: R,
    pub(crate) attempt: u32,
    pub(crate) settlement: Settlement,
    /// What it holds of the dedup record, and whether the RPC succeeded.
    pub(crate) lease: Option<(Lease, bool)>,
    /// Dropped when the delivery is settled: until then its visibility is extended.
    pub(crate) in_flight: InFlight<R>,
}

/// Writes what was decided until every sender is gone. A database that is away is waited for: a call that succeeded
/// must be recorded before its message leaves the queue.
pub(crate) async fn run<Q: Queue, D: Dedup>(
    rpc: Rpc,
    meter: Meter,
    part: Part,
    queue: Arc<Q>,
    dedup: Arc<D>,
    unrecorded: Unrecorded,
    mut decided: mpsc::Receiver<Decided<Q::Receipt>>,
) {
    part.moves();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while gather(&mut decided, &mut batch, queue.limits()).await > 0 {
        let done: Vec<Lease> =
            batch.iter().filter_map(|one| one.lease).filter(|lease| lease.1).map(|lease| lease.0).collect();
        let lost: HashSet<Lease> = if done.is_empty() {
            HashSet::new()
        } else {
            let lost = persist(&rpc, &meter, &part, || dedup.complete(&done)).await;
            let lost = HashSet::from_iter(lost);
            unrecorded.recorded(done.iter().filter(|lease| !lost.contains(lease)).map(|lease| lease.event));
            unrecorded.lost(lost.iter().map(|lease| lease.event), Instant::now());
            lost
        };
        let failed: Vec<Released> = batch.iter().filter_map(released).collect();
        if !failed.is_empty() {
            persist(&rpc, &meter, &part, || dedup.release(&failed)).await;
        }
        let (settled, in_flight): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|one| {
                let lost = one.lease.is_some_and(|(lease, succeeded)| succeeded && lost.contains(&lease));
                let settlement = if lost { lost_lease(&meter) } else { one.settlement };
                ((one.receipt, settlement), one.in_flight)
            })
            .unzip();
        persist(&rpc, &meter, &part, || queue.settle(&settled)).await;
        drop(in_flight);
    }
}

/// What the record is told of a call that did not succeed.
fn released<R>(one: &Decided<R>) -> Option<Released<'_>> {
    let (lease, false) = one.lease? else { return None };
    let (dead, code, error) = match &one.settlement {
        Settlement::Dead { code, reason } => (true, code, reason),
        Settlement::Retry { code, error, .. } => (false, code, error),
        Settlement::Ack => return None,
    };
    Some(Released { lease, attempt: one.attempt, dead, code, error })
}

/// Waits for something that was decided, and a little longer for as much as one request settles. 0 when nothing more comes.
async fn gather<R>(
    decided: &mut mpsc::Receiver<Decided<R>>,
    batch: &mut Vec<Decided<R>>,
    limits: Limits,
) -> usize {
    let received = decided.recv_many(batch, BATCH_MAX).await;
    let until = Instant::now() + limits.linger;
    while (1..limits.batch_max).contains(&batch.len()) && !limits.linger.is_zero() {
        match tokio::time::timeout_at(until, decided.recv()).await {
            Ok(Some(one)) => batch.push(one),
            Ok(None) | Err(_) => break,
        }
    }
    received
}

fn lost_lease(meter: &Meter) -> Settlement {
    meter.lost_lease();
    Settlement::Retry {
        after: LOST_LEASE_WAIT,
        counted: false,
        code: "lost_lease".to_owned(),
        error: "the call outlived its lease: another worker may have called too".to_owned(),
    }
}

async fn persist<T, E: std::error::Error + 'static, F: Future<Output = Result<T, E>>>(
    rpc: &Rpc,
    meter: &Meter,
    part: &Part,
    mut write: impl FnMut() -> F,
) -> T {
    let mut wait = RETRY_MIN;
    loop {
        match write().await {
            Ok(written) => {
                part.moves();
                return written;
            }
            Err(error) => {
                meter.failed("record");
                part.waits(format!("failed to record what was decided: {}", Chain(&error)));
                tracing::warn!(%rpc, error = %Chain(&error), retry_in_seconds = wait.as_secs_f64(), "failed to record what was decided");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
    }
}
