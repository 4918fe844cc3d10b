//! The deliveries under way: their messages are kept hidden from other workers for as long as this one lives.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::Chain;
use tokio::time::Instant;

use crate::meter::Meter;
use crate::queue::Queue;

/// The receipts of deliveries under way, so that their visibility can be extended.
#[derive(Debug)]
pub(crate) struct Flight<R>(Arc<FlightList<R>>);

#[derive(Debug)]
struct FlightList<R> {
    next: AtomicU64,
    receipts: Mutex<HashMap<u64, (Instant, R)>>,
}

/// A place in the list, given up when dropped.
#[derive(Debug)]
pub(crate) struct InFlight<R> {
    flight: Flight<R>,
    id: u64,
}

impl<R> Default for Flight<R> {
    fn default() -> Self {
        Self(Arc::new(FlightList { next: AtomicU64::new(0), receipts: Mutex::new(HashMap::new()) }))
    }
}

impl<R> Clone for Flight<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Clone> Flight<R> {
    pub(crate) fn board(&self, receipt: R) -> InFlight<R> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.receipts.lock().expect("no panic while held").insert(id, (Instant::now(), receipt));
        InFlight { flight: self.clone(), id }
    }

    /// Those that have been under way for at least this long.
    fn older_than(&self, age: Duration) -> Vec<R> {
        let receipts = self.0.receipts.lock().expect("no panic while held");
        receipts
            .values()
            .filter(|(since, _)| since.elapsed() >= age)
            .map(|(_, receipt)| receipt.clone())
            .collect()
    }
}

impl<R> Drop for InFlight<R> {
    fn drop(&mut self) {
        self.flight.0.receipts.lock().expect("no panic while held").remove(&self.id);
    }
}

/// Keeps what is under way hidden from others, until it is aborted.
pub(crate) async fn extend<Q: Queue>(meter: Meter, queue: Arc<Q>, flight: Flight<Q::Receipt>) {
    let every = queue.limits().visibility / 3;
    loop {
        tokio::time::sleep(every).await;
        let receipts = flight.older_than(every / 2);
        if !receipts.is_empty()
            && let Err(error) = queue.extend(&receipts).await
        {
            meter.failed("extend");
            tracing::warn!(lane = meter.name(), error = %Chain(&error), deliveries = receipts.len(), "failed to extend their visibility");
        }
    }
}
