//! The circuit breaker, which the stages of a consumer share. Every change is shown in metrics and log.

use std::sync::Arc;

use outbox_event_router::Backoff;
use outbox_runtime::Guarded;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::breaker::{Answer, Breaker, Standing};
use crate::codes::{Says, says};
use crate::metrics::Metrics;
use crate::ramp::Ramp;
use crate::rpc::CallError;

#[derive(Debug, Clone)]
pub(crate) struct Circuit {
    breaker: Arc<Guarded<Breaker>>,
    ramp: Arc<Guarded<Ramp>>,
    /// Whether `outbox poison` has a meaning: the RPC is held, or what it refuses is poison.
    asks_poison: watch::Sender<bool>,
    metrics: Metrics,
}

impl Circuit {
    /// `chooses`: see [`outbox_transport::Limits`].
    pub(crate) fn new(backoff: Backoff, chooses: bool, metrics: &Metrics) -> Self {
        let breaker = Arc::new(Guarded::new(Breaker::new(backoff, chooses)));
        let asks_poison = watch::Sender::new(false);
        Self { breaker, ramp: Arc::default(), asks_poison, metrics: metrics.clone() }
    }

    /// The same server, with other waits: the breaker begins anew, and a ramp goes on.
    pub(crate) fn waiting(&self, backoff: Backoff, chooses: bool) -> Self {
        let ramp = Arc::clone(&self.ramp);
        Self { ramp, ..Self::new(backoff, chooses, &self.metrics) }
    }

    /// Changes the breaker, and updates its metrics.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock();
        let changed = change(&mut breaker);
        self.metrics.breaker(&breaker);
        let asks = breaker.held().is_some() || breaker.is_poison(Instant::now());
        self.asks_poison.send_if_modified(|before| std::mem::replace(before, asks) != asks);
        changed
    }

    /// Returns once it is worth asking whether `outbox poison` was used.
    pub(crate) async fn asks_poison(&self) {
        // It can't fail, because `self` has the sender.
        let _ = self.asks_poison.subscribe().wait_for(|asks| *asks).await;
    }

    /// Whether everything may be received.
    pub(crate) fn is_closed(&self) -> bool {
        self.breaker.lock().is_closed()
    }

    /// How many of the `wanted` calls may be under way, after an outage. `policy`: see [`Ramp::allows`].
    pub(crate) fn allows(&self, policy: usize, wanted: usize) -> usize {
        self.ramp.lock().allows(policy, wanted)
    }

    pub(crate) fn standing(&self) -> Standing {
        self.breaker.lock().standing()
    }

    /// Returns whether the delivery is held instead of dead-lettered.
    pub(crate) fn heard(&self, answer: Answer<'_>) -> bool {
        let (before, is_held, now) = self.with(|breaker| {
            let before = breaker.standing();
            let is_held = breaker.heard(answer, Instant::now());
            (before, is_held, breaker.standing())
        });
        // The answer that ends an outage is not part of the ramp.
        match (before == Standing::Away, now == Standing::Away) {
            (true, false) => self.ramp.lock().begins(),
            (false, false) => {
                self.ramp.lock().answered(answer.reply.as_ref().map_or_else(says, |()| Says::Succeeds));
            }
            (_, true) => {}
        }
        if before != now {
            self.tell(&now, answer.reply.as_ref().err());
        }
        is_held
    }

    fn tell(&self, standing: &Standing, error: Option<&CallError>) {
        let (rpc, error) = (&self.metrics.rpc, error.map(tracing::field::display));
        match standing {
            Standing::Closed => tracing::info!(%rpc, "circuit breaker closed: the server answers again"),
            Standing::Away => {
                tracing::warn!(%rpc, error, "circuit breaker open, its server is away: will probe with one delivery at a time");
            }
            Standing::Doubted => {
                tracing::warn!(%rpc, error, "circuit breaker open, different events fail in a row: calling what has not failed yet, and probing with one failed delivery at a time");
            }
            Standing::Held(reason) => {
                tracing::error!(%rpc, %reason, "held, different events are refused alike: dead-lettering nothing until one succeeds; if they are poison, say so with `outbox poison`");
            }
        }
    }
}
