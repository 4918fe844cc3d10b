//! One RPC that subscribed to events, and the state that outlives its consumers.

use std::time::Duration;

use outbox_event_router::{Policy, Rpc};
use outbox_runtime::{Readiness, Started, Tracer};

use crate::braking::Braking;
use crate::calls::Calls;
use crate::circuit::Circuit;
use crate::duty::Duty;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::unrecorded::Unrecorded;

/// The next consumer keeps the successes of the last one, and the state of its server.
#[derive(Debug, Clone)]
pub struct Subscriber<C> {
    pub(crate) rpc: Rpc,
    pub(crate) policy: Policy,
    pub(crate) pace: Pace,
    pub(crate) client: C,
    /// How long a received message stays hidden from other workers.
    pub(crate) visibility: Duration,
    /// How long a lease lasts: the timeout of a call, and the visibility of its message, which is the time to record it.
    pub(crate) lease: Duration,
    pub(crate) unrecorded: Unrecorded,
    pub(crate) circuit: Circuit,
    pub(crate) braking: Braking,
    pub(crate) calls: Calls,
    pub(crate) duty: Duty,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) tracer: Tracer,
}

impl<C> Subscriber<C> {
    /// `source` is where its queue is: a database's name, or `sqs`. `chooses`: see [`outbox_transport::Limits`].
    pub fn new(
        source: &str,
        (rpc, policy): (&Rpc, &Policy),
        client: C,
        visibility: Duration,
        chooses: bool,
        started: &Started,
    ) -> Self {
        let (metrics, lease) = (Metrics::new(source, rpc), policy.timeout + visibility);
        Self {
            rpc: rpc.clone(),
            policy: *policy,
            pace: Pace::default(),
            client,
            visibility,
            lease,
            unrecorded: Unrecorded::new(lease, visibility),
            circuit: Circuit::new(policy.backoff, chooses, &metrics),
            braking: Braking::new(*policy, &metrics),
            calls: Calls::default(),
            duty: Duty::new(metrics.duty()),
            metrics,
            readiness: started.readiness.clone(),
            tracer: started.tracer.clone(),
        }
    }

    /// With another pace than that of `event_router.yaml`. `chooses`: as for [`Subscriber::new`].
    #[must_use]
    pub fn paced(self, pace: Pace, chooses: bool) -> Self {
        let policy = pace.policy(&self.policy);
        let circuit = Circuit::new(policy.backoff, chooses, &self.metrics);
        Self { policy, pace, circuit, ..self }
    }
}
