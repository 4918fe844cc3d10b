//! The deliveries under way. Their messages stay hidden from other workers as long as this worker lives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outbox_runtime::{Chain, Guarded};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::Metrics;
use outbox_transport::Queue;

/// The receipts of deliveries under way, so that their visibility can be extended.
#[derive(Debug)]
pub(crate) struct InFlight<R> {
    receipts: Guarded<Receipts<R>>,
    /// Notified when there is one again.
    began: Notify,
}

#[derive(Debug)]
struct Receipts<R> {
    next: u64,
    of: HashMap<u64, (Instant, R)>,
}

/// A delivery under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Tracked<R> {
    in_flight: Arc<InFlight<R>>,
    id: u64,
}

impl<R> Default for InFlight<R> {
    fn default() -> Self {
        let receipts = Guarded::new(Receipts { next: 0, of: HashMap::new() });
        Self { receipts, began: Notify::new() }
    }
}

impl<R: Clone> InFlight<R> {
    pub(crate) fn track(self: &Arc<Self>, receipt: R) -> Tracked<R> {
        let mut receipts = self.receipts.lock();
        if receipts.of.is_empty() {
            self.began.notify_one();
        }
        let id = receipts.next;
        receipts.next += 1;
        receipts.of.insert(id, (Instant::now(), receipt));
        Tracked { in_flight: Arc::clone(self), id }
    }

    /// Extends the visibility of deliveries under way, until it is aborted.
    pub(crate) async fn extend<Q: Queue<Receipt = R>>(self: Arc<Self>, metrics: Metrics, queue: Arc<Q>) {
        let every = queue.limits().visibility / 3;
        loop {
            // Without a timer, because there may be thousands of queues at rest.
            while self.is_empty() {
                self.began.notified().await;
            }
            tokio::time::sleep(every).await;
            let receipts = self.older_than(every / 2);
            if !receipts.is_empty()
                && let Err(error) = queue.extend(&receipts).await
            {
                metrics.failed("extend");
                tracing::warn!(consumer = metrics.name(), error = %Chain(&error), deliveries = receipts.len(), "failed to extend their visibility");
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.receipts.lock().of.is_empty()
    }

    /// Deliveries that have been under way for at least this long.
    fn older_than(&self, age: Duration) -> Vec<R> {
        let receipts = self.receipts.lock();
        let old = receipts.of.values().filter(|(since, _)| since.elapsed() >= age);
        old.map(|(_, receipt)| receipt.clone()).collect()
    }
}

impl<R> Drop for Tracked<R> {
    fn drop(&mut self) {
        self.in_flight.receipts.lock().of.remove(&self.id);
    }
}
