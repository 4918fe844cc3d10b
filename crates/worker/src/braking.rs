//! Follows what operators set, in the consumers of this worker. `brake.rs` says what it means.

use std::time::Duration;

use outbox_event_router::Policy;
use outbox_runtime::Chain;
use outbox_transport::{Braked, Brakes};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::brake::Orders;
use crate::metrics::Metrics;
use crate::plan::Current;

/// `outbox pause` says that workers follow within 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// The part of that after which a look may follow another statement.
const NEARLY: f64 = 0.6;
/// Before the first delivery. After that the worker delivers without knowing, and reads it later.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// The orders for one RPC, shared by its consumers and by the task that reads them.
#[derive(Debug, Clone)]
pub(crate) struct Braking {
    /// A consumer that finishes its calls follows the newest one, too: it shares its slots with the next consumer.
    policy: Current<Policy>,
    orders: watch::Sender<Orders>,
    metrics: Metrics,
}

impl Braking {
    pub(crate) fn new(policy: Policy, metrics: &Metrics) -> Self {
        let (policy, orders) = (Current::new(policy), watch::Sender::default());
        let braking = Self { policy, orders, metrics: metrics.clone() };
        braking.shows(Instant::now());
        braking
    }

    /// From now on the RPC has another policy.
    pub(crate) fn under(&self, policy: Policy) {
        self.policy.set(policy);
        self.nudge();
    }

    /// Wakes every consumer of the RPC: the state that they share has changed.
    pub(crate) fn nudge(&self) {
        self.orders.send_modify(|_| ());
    }

    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.orders.borrow().paused_until(now)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_until(Instant::now()).is_some()
    }

    pub(crate) fn is_limited(&self, now: Instant) -> bool {
        self.orders.borrow().is_limited(now)
    }

    /// The concurrency in event_router.yaml, whatever limit is set.
    pub(crate) fn of_policy(&self) -> usize {
        self.policy.get().concurrency
    }

    pub(crate) fn concurrency(&self, now: Instant) -> usize {
        let policy = self.policy.get();
        self.orders.borrow().concurrency(&policy, now)
    }

    pub(crate) fn rate(&self, now: Instant) -> Option<u32> {
        let policy = self.policy.get();
        self.orders.borrow().rate(&policy, now)
    }

    /// Returns once a request for so many messages is too much: the RPC is paused, or has another limit.
    pub(crate) async fn tightened(&self, most: usize) {
        let rate = self.rate(Instant::now());
        let is_tighter = |orders: &Orders| {
            let (policy, now) = (self.policy.get(), Instant::now());
            let is_paused = orders.paused_until(now).is_some();
            is_paused || orders.concurrency(&policy, now) < most || orders.rate(&policy, now) != rate
        };
        // It can't fail, because `self` has the sender.
        let _ = self.orders.subscribe().wait_for(is_tighter).await;
    }

    /// Returns when the orders or the policy have changed, when a consumer was nudged, or when an order ends. A change since the
    /// last return counts, too.
    pub(crate) async fn changes(&self, seen: &mut watch::Receiver<Orders>) {
        let ends = seen.borrow().ends(Instant::now());
        tokio::select! {
            _ = seen.changed() => {}
            () = tokio::time::sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => {}
        }
    }

    pub(crate) fn seen(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    pub(crate) fn set(&self, all: &[Braked], now: Instant) {
        let orders = Orders::of(&self.metrics.rpc, all, now);
        let was_paused = self.paused_until(now).is_some();
        let has_changed = self.orders.send_if_modified(|before| {
            let differs = !before.are_like(&orders, now);
            if differs {
                *before = orders;
            }
            differs
        });
        if has_changed {
            self.tell(was_paused, now);
        }
    }

    fn tell(&self, was_paused: bool, now: Instant) {
        let rpc = &self.metrics.rpc;
        match self.paused_until(now) {
            Some(until) => {
                let seconds = until.saturating_duration_since(now).as_secs_f64();
                tracing::warn!(%rpc, seconds, "paused by an operator: calling nothing until then, or until `outbox resume`");
            }
            None if was_paused => tracing::info!(%rpc, "no longer paused: calling again"),
            None => {
                let (concurrency, rate) = (self.concurrency(now), self.rate(now));
                tracing::warn!(%rpc, concurrency, rate_per_second = rate, "an operator changed or cleared its limits: these hold now");
            }
        }
    }

    /// In the metrics.
    pub(crate) fn shows(&self, now: Instant) {
        self.metrics.braked(self.paused_until(now).is_some(), self.is_limited(now));
    }
}

/// Reads the orders before anything is delivered. `take` gets them for the RPCs that are served; `None` if they can't be read.
pub(crate) async fn first_look(store: &impl Brakes, take: impl FnOnce(Option<Vec<Braked>>)) {
    let look = Box::pin(store.brakes());
    let read = match tokio::time::timeout(FIRST_WITHIN, look).await {
        Ok(Ok(all)) => Some(all),
        Ok(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "failed to read pauses and limits: delivering without, until they can be read");
            None
        }
        Err(_) => {
            tracing::warn!(
                "failed to read pauses and limits in time: delivering without, until they can be read"
            );
            None
        }
    };
    take(read);
}

/// It may come a little earlier, if that is cheap.
async fn next_look(store: &impl Brakes) {
    let nearly = Instant::now() + LOOK_EVERY.mul_f64(NEARLY);
    let convenient = async {
        tokio::time::sleep_until(nearly).await;
        store.convenient().await;
    };
    let _ = tokio::time::timeout(LOOK_EVERY, convenient).await;
}

/// Reads the orders again and again until `stop`. While that fails, the last ones hold until their ends. `take` is as in
/// [`first_look`].
pub(crate) async fn follow(
    store: &impl Brakes,
    take: impl Fn(Option<Vec<Braked>>),
    stop: &CancellationToken,
) {
    let mut had_failed = false;
    while stop.run_until_cancelled(next_look(store)).await.is_some() {
        let Some(read) = stop.run_until_cancelled(Box::pin(store.brakes())).await else { return };
        match &read {
            Ok(_) if had_failed => tracing::info!("read pauses and limits again"),
            Err(error) if !had_failed => {
                tracing::warn!(error = %Chain(error), "failed to read pauses and limits: the last ones hold until they end");
            }
            Ok(_) | Err(_) => {}
        }
        had_failed = read.is_err();
        take(read.ok());
    }
}
