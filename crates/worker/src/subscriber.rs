//! One RPC that subscribed to events, and the state that outlives its consumers.

use std::sync::Arc;
use std::time::Duration;

use outbox_event_router::{Policy, Rpc};
use outbox_runtime::{Readiness, Started, Tally, Tracer};
use tokio_util::sync::CancellationToken;

use crate::braking::Braking;
use crate::calls::Calls;
use crate::circuit::Circuit;
use crate::duty::Duty;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::plan::Current;
use crate::room::Room;
use crate::unrecorded::Unrecorded;

/// The next consumer keeps the successes of the last one, and the state of its server.
#[derive(Debug, Clone)]
pub struct Subscriber<C> {
    pub(crate) rpc: Rpc,
    pub(crate) policy: Policy,
    pub(crate) pace: Pace,
    /// A new plan replaces it for the next call.
    pub(crate) client: Current<C>,
    /// How long a received message stays hidden from other workers.
    pub(crate) visibility: Duration,
    /// How long a lease lasts: the timeout of a call, and the visibility of its message, which is the time to record it.
    pub(crate) lease: Duration,
    pub(crate) unrecorded: Unrecorded,
    /// The slots for calls. The consumer before, which may still finish calls, takes from them, too.
    pub(crate) room: Arc<Room>,
    pub(crate) circuit: Circuit,
    pub(crate) braking: Braking,
    pub(crate) calls: Calls,
    pub(crate) duty: Duty,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) tracer: Tracer,
    /// The process stops.
    pub(crate) stopping: CancellationToken,
    pub(crate) tally: Tally,
    chooses: bool,
}

impl<C: Clone> Subscriber<C> {
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
            client: Current::new(client),
            visibility,
            lease,
            unrecorded: Unrecorded::new(lease, visibility),
            room: Arc::default(),
            circuit: Circuit::new(policy.backoff, chooses, &metrics),
            braking: Braking::new(*policy, &metrics),
            calls: Calls::default(),
            duty: Duty::new(metrics.duty()),
            metrics,
            readiness: started.readiness.clone(),
            tracer: started.tracer.clone(),
            stopping: started.stop.clone(),
            tally: started.tally.clone(),
            chooses,
        }
    }

    /// The same RPC under another policy. It keeps what is known of its server, unless the waits of the breaker change.
    pub(crate) fn under(&self, policy: &Policy, client: C) -> Self {
        let lease = policy.timeout + self.visibility;
        self.unrecorded.keeps_for(lease, self.visibility);
        self.braking.under(*policy);
        let circuit = match self.policy.backoff == policy.backoff {
            true => self.circuit.clone(),
            false => self.circuit.waiting(policy.backoff, self.chooses),
        };
        Self { policy: *policy, client: Current::new(client), lease, circuit, ..self.clone() }
    }

    /// The parts of its consumers in `/readyz`: its deliveries, and the records of their outcomes.
    pub(crate) fn parts(&self) -> [String; 2] {
        let name = self.metrics.name();
        let records = format!("{name} records");
        [name, records]
    }

    /// No consumer of the RPC follows the last one: neither metrics nor `/readyz` show it any more.
    pub(crate) fn ends(&self) {
        self.metrics.ends();
        for part in self.parts() {
            self.readiness.forgets(&part);
        }
    }
}
