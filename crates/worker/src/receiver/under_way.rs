//! What is under way, as far as it decides what may be received: it is over when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::breaker::Probe;
use crate::lane::Lane;

/// What is under way of what has failed before.
#[derive(Debug, Default)]
pub(super) struct Failed {
    pub(super) under_way: AtomicUsize,
    pub(super) found: AtomicBool,
    /// Rung when more may be received than before. A ring that nobody waits for is kept for the next who does.
    pub(super) loosened: Notify,
}

/// The one delivery that shows whether things are better, until it was called; or that none came.
pub(super) struct Probing<Q, D, C> {
    lane: Arc<Lane<Q, D, C>>,
    failed: Arc<Failed>,
    probe: Probe,
    pub(super) called: bool,
}

impl<Q, D, C> Probing<Q, D, C> {
    pub(super) fn begins(lane: &Arc<Lane<Q, D, C>>, failed: &Arc<Failed>, probe: Probe) -> Self {
        Self { lane: Arc::clone(lane), failed: Arc::clone(failed), probe, called: false }
    }
}

impl<Q, D, C> Drop for Probing<Q, D, C> {
    fn drop(&mut self) {
        let mut breaker = self.lane.breaker.lock().expect("no panic while held");
        breaker.probed(self.probe, self.called, Instant::now());
        self.lane.meter.breaker(&breaker);
        drop(breaker);
        if self.called {
            self.failed.loosened.notify_one();
        }
    }
}

/// One that failed before is under way, until this is dropped.
pub(super) struct Again(Arc<Failed>);

impl Again {
    pub(super) fn begins(failed: &Arc<Failed>) -> Self {
        failed.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(failed))
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.loosened.notify_one();
    }
}
