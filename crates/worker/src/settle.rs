//! Settling: outcomes are recorded and then settled, in batches. While one batch is written, the next one gathers.
//!
//! Each delivery is settled by itself. A write to a server that is away is soon tried again. A refused delivery is set aside,
//! and its neighbours go on.

mod round;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use outbox_runtime::{Finished, Part};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::aside::Aside;
use crate::in_flight::Tracked;
use crate::metrics::Metrics;
use crate::unrecorded::Unrecorded;
use outbox_transport::{Dedup, Lease, Limits, Outcome, Queue};

/// So many are settled at once, and no more wait here: further calls wait.
const BATCH_MAX: usize = 500;
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Shorter than the bell's poll: a database that is back should get our successes before it delivers their messages again.
const RETRY_MAX: Duration = Duration::from_millis(500);
/// A refused record waits until an operator corrects the cause.
const REFUSED_MIN: Duration = Duration::from_secs(1);
const REFUSED_MAX: Duration = Duration::from_secs(30);
/// How often the deliveries that are set aside are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

pub(crate) struct Decided<R> {
    pub(crate) receipt: R,
    pub(crate) attempt: u32,
    pub(crate) outcome: Outcome,
    /// Its lease, which a success completes, and any other outcome gives back.
    pub(crate) lease: Option<Lease>,
    /// Dropped when the delivery is settled. Until then its visibility is extended.
    pub(crate) tracked: Tracked<R>,
}

/// A delivery that is not settled yet.
struct Open<R> {
    decided: Decided<R>,
    /// The dedup record has its outcome.
    recorded: bool,
    /// How often that failed.
    tries: u32,
    refused: bool,
    due: Instant,
}

/// Writes outcomes. A success must be recorded before its message leaves the queue.
pub(crate) struct Settler<Q, D> {
    pub(crate) metrics: Metrics,
    pub(crate) part: Part,
    pub(crate) queue: Arc<Q>,
    pub(crate) dedup: Arc<D>,
    pub(crate) unrecorded: Unrecorded,
    pub(crate) aside: Aside,
}

impl<Q: Queue, D: Dedup> Settler<Q, D> {
    /// Runs until every sender is gone and all is settled. It waits for a server that is away, but not for refused deliveries.
    pub(crate) async fn run(self, mut decided: mpsc::Receiver<Decided<Q::Receipt>>) -> Finished {
        self.part.moves();
        let (mut open, mut finished) = (Vec::<Open<_>>::new(), Finished::All);
        let mut ends = false;
        loop {
            if !gather(&mut decided, &mut open, self.queue.limits(), &self.aside).await {
                if ends && open.iter().any(|one| one.refused) {
                    open.retain(|one| !one.refused);
                    finished = Finished::NotAll;
                }
                if open.is_empty() {
                    self.count();
                    return finished;
                }
                // Refused deliveries are tried once more, and others until their server is back.
                ends = true;
                open.iter_mut().filter(|one| one.refused).for_each(|one| one.due = Instant::now());
            }
            let now = Instant::now();
            let (batch, later): (Vec<_>, Vec<_>) = open.into_iter().partition(|one| one.due <= now);
            open = later;
            if !batch.is_empty() {
                open.extend(self.round(batch).await);
            }
            self.count();
        }
    }

    fn count(&self) {
        self.metrics.set_aside(&self.aside.counts(Instant::now()));
    }
}

impl<R> Open<R> {
    fn new(decided: Decided<R>) -> Self {
        Self { decided, recorded: false, tries: 0, refused: false, due: Instant::now() }
    }

    fn has_succeeded(&self) -> bool {
        self.decided.outcome == Outcome::Done
    }

    fn again(mut self, refused: bool) -> Self {
        let (min, max) = if refused { (REFUSED_MIN, REFUSED_MAX) } else { (RETRY_MIN, RETRY_MAX) };
        self.due = Instant::now() + min.saturating_mul(1 << self.tries.min(10)).min(max);
        self.tries = self.tries.saturating_add(1);
        self.refused = refused;
        self
    }
}

/// Waits for an outcome, and a little longer for as many as one request settles; or until a retry is due. `false` when nothing
/// more can come.
async fn gather<R>(
    decided: &mut mpsc::Receiver<Decided<R>>,
    open: &mut Vec<Open<R>>,
    limits: Limits,
    aside: &Aside,
) -> bool {
    // Deliveries that wait behind refused ones must be taken at the end.
    let room = if decided.is_closed() { BATCH_MAX } else { BATCH_MAX.saturating_sub(open.len()) };
    let now = Instant::now();
    let counted = now + if room == 0 { RETRY_MAX } else { COUNT_EVERY };
    let due = open.iter().map(|one| one.due).min().map_or(counted, |due| due.min(counted));
    let mut batch = Vec::new();
    // At rest there is no timer, because there may be thousands of queues.
    let waits = !open.is_empty() || !aside.is_empty();
    let received = tokio::select! {
        received = decided.recv_many(&mut batch, room), if room > 0 => received,
        () = tokio::time::sleep_until(due), if waits => return true,
    };
    if received == 0 {
        // At the end, only a server that is away is waited for.
        if !open.is_empty() && open.iter().all(|one| !one.refused) {
            tokio::time::sleep_until(due).await;
        }
        return false;
    }
    let until = Instant::now() + limits.linger;
    while batch.len() < limits.batch_max.min(room) && !limits.linger.is_zero() {
        match tokio::time::timeout_at(until, decided.recv()).await {
            Ok(Some(one)) => batch.push(one),
            Ok(None) | Err(_) => break,
        }
    }
    open.extend(batch.into_iter().map(Open::new));
    true
}
