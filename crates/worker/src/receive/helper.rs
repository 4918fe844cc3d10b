//! Helpers receive beside the watching receiver while batches are full.

use std::sync::Arc;
use std::time::Duration;

use super::{BLIND_MIN, RETRY_MIN, Receiver};
use crate::slots::Received;
use outbox_transport::Queue;

/// A helper may find nothing at the end of a burst, and each request costs money. Four receive thousands of messages a second.
const HELPERS_MAX: usize = 3;

impl<Q: Queue> Receiver<Q> {
    /// One batch of slots stays for the watching receiver. While there is a rate, helpers receive nothing.
    pub(crate) fn helpers(&self, concurrency: usize) -> Vec<Self> {
        let batches = concurrency / self.queue.limits().batch_max.max(1);
        (1..=batches.saturating_sub(1).min(HELPERS_MAX)).map(|nth| self.helper(nth)).collect()
    }

    fn helper(&self, nth: usize) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            slots: Arc::clone(&self.slots),
            duty: self.duty.clone(),
            found: false,
            metrics: self.metrics.clone(),
            part: self.part.clone(),
            stop: self.stop.clone(),
            full: self.full.clone(),
            nth,
            rate: None,
            wait: RETRY_MIN,
            blind: BLIND_MIN,
        }
    }

    /// The nth helper begins after n full batches.
    pub(super) async fn help(&mut self) -> Option<Received<Q::Receipt>> {
        let mut full = self.full.subscribe();
        loop {
            let wanted = full.wait_for(|full| *full >= self.nth);
            self.stop.run_until_cancelled(wanted).await?.ok()?;
            let permits = self.slots.gather(&self.stop).await?;
            let Some(ask) = self.slots.ask_for_all(permits.len()) else {
                self.full.send_replace(0);
                continue;
            };
            match self.receive(&ask).await {
                Ok(deliveries) => return Some(self.slots.admit(deliveries, permits, &ask, None)),
                Err(error) => {
                    self.failed(&error, Duration::ZERO);
                    self.full.send_replace(0);
                }
            }
        }
    }
}
