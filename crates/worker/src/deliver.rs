//! One delivery that was read and leased: whether it may be called, the call, and what becomes of it.

use std::time::Duration;

use chrono::Utc;
use outbox_event::{Envelope, Message, MessageError};
use outbox_runtime::{Role, Span, caught};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::breaker::Answer;
use crate::codes::{Says, says};
use crate::decide::{Attempt, decide, exhausted, held, panicked};
use crate::lease::Leased;
use crate::rpc::{Call, REPLAY, RpcClient};
use crate::subscriber::Subscriber;
use outbox_transport::{Again, Delivery, Lease, LeaseAnswer, Limits, Outcome};

/// If the dedup record does not answer, nothing is called and every delivery comes back.
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);
const UNKNOWN: &str = "not called: another worker may have called, or may be calling";
/// No lease lasts longer; a record could hold any time.
const HELD_MAX: Duration = Duration::from_secs(24 * 3600);

/// The outcome of a delivery, and the lease to record or give back.
pub(crate) type Decision = (Outcome, Option<Lease>);

pub(crate) struct Deliverer<C> {
    pub(crate) subscriber: Subscriber<C>,
    pub(crate) limits: Limits,
    pub(crate) aside: Aside,
    /// When nothing new may begin.
    pub(crate) stop: CancellationToken,
    /// When nothing may be waited for.
    pub(crate) give_up: CancellationToken,
}

/// A restart of a server takes some attempts. What fails more often needs a look.
const USUAL_FAILURES: u32 = 3;

impl<C: RpcClient + Clone> Deliverer<C> {
    /// One delivery, until its end or an interruption. `probe`: the breaker let it through as its probe.
    pub(crate) async fn deliver<R>(&self, leased: &Leased<R>, probe: bool) -> Decision {
        if self.stop.is_cancelled() {
            let text = "not called: its worker was stopped";
            return (postponed(Duration::ZERO, "stopping", text), leased.lease());
        }
        tokio::select! {
            biased;
            delivered = caught(self.steps(leased, probe)) => delivered.map_or_else(
                |panic| {
                    let attempt = self.attempt(&leased.delivery);
                    tracing::error!(rpc = %self.subscriber.rpc, attempt = attempt.number, error = %panic, "failed to deliver: this is a bug");
                    (panicked(attempt, &self.subscriber.policy, fastrand::f64()), leased.lease())
                },
                |(Ok(decision) | Err(decision))| decision,
            ),
            // Its lease is not given back: the call may have its effect for as long as the lease lasts.
            () = self.give_up.cancelled() => {
                let lasts = (leased.asked_at + self.subscriber.lease).saturating_duration_since(Instant::now());
                self.subscriber.tally.cut();
                let text = "its worker was stopped while it called, and did not hear the answer";
                (Outcome::retry(Again::Failed, lasts, "worker_stopped", text), None)
            }
        }
    }

    /// `Err` is the decision without a call.
    async fn steps<R>(&self, leased: &Leased<R>, probe: bool) -> Result<Decision, Decision> {
        let event = self.addressed(&leased.message).map_err(|dead| (dead, leased.lease()))?;
        let lease = self.lease(leased, event)?;
        let attempt = self.attempt(&leased.delivery);
        if let Some(dead) = exhausted(attempt.number, &self.subscriber.policy) {
            return Err((dead, Some(lease)));
        }
        let outcome = self.call(event.borrowed(), attempt, probe).await;
        Ok((outcome, Some(lease)))
    }

    /// The event of a message that can be read and is meant for this RPC.
    fn addressed<'m>(
        &self,
        message: &'m Result<Message<'static>, MessageError>,
    ) -> Result<&'m Envelope<'static>, Outcome> {
        let rpc = &self.subscriber.rpc;
        let (code, reason) = match message {
            Ok(message) if message.rpc == rpc.as_str() => return Ok(&message.event),
            Ok(message) => {
                let addressee: String = message.rpc.chars().take(200).collect();
                ("wrong_queue", format!("it is addressed to {addressee:?}, and this is the queue of {rpc}"))
            }
            Err(error) => ("malformed_message", error.to_string()),
        };
        tracing::error!(%rpc, code, reason, "dead-lettered without a call");
        Err(Outcome::Dead { code, reason })
    }

    /// The lease, if it is ours and still good, and no call was made or decided about before. A replay is called again,
    /// whatever became of the last call.
    fn lease<R>(&self, leased: &Leased<R>, event: &Envelope<'_>) -> Result<Lease, Decision> {
        let unrecorded = &self.subscriber.unrecorded;
        let lease = match leased.answer {
            None => return Err((postponed(UNKNOWN_WAIT, "dedup_unavailable", UNKNOWN), None)),
            Some(LeaseAnswer::Done) => {
                unrecorded.recorded(event.id);
                return Err((Outcome::Duplicate, None));
            }
            Some(LeaseAnswer::Early { remaining }) => {
                let text = "not called: its server asked for a longer wait";
                return Err((postponed(remaining, "early", text), None));
            }
            Some(LeaseAnswer::Held { remaining }) => {
                return Err((postponed(remaining.min(HELD_MAX), "held", UNKNOWN), None));
            }
            Some(LeaseAnswer::Won(lease) | LeaseAnswer::WonAfter(lease, _)) => lease,
        };
        let is_replay = event.headers.contains_key(REPLAY);
        // The database was away for longer than the lease, and does not have this worker's success yet.
        if !is_replay && unrecorded.knows(lease.event, Instant::now()) {
            return Err((Outcome::Done, Some(lease)));
        }
        // The process stood still since it asked: another worker may have the lease by now, and have called.
        if Instant::now() >= leased.fresh_until {
            return Err((postponed(UNKNOWN_WAIT, "stale_lease", UNKNOWN), None));
        }
        match self.aside.decided(lease.event).filter(|_| !is_replay) {
            Some(set_aside) => Err((set_aside, Some(lease))),
            None => Ok(lease),
        }
    }

    async fn call(&self, mut event: Envelope<'_>, attempt: Attempt, probe: bool) -> Outcome {
        let Subscriber { rpc, policy, pace, metrics, calls, .. } = &self.subscriber;
        let mut span = self.span(&mut event);
        let call = Call { rpc, event: &event, attempt: attempt.number, timeout: policy.timeout };
        let client = self.subscriber.client.get();
        let began = Instant::now();
        let under_way = (metrics.call_begins(), calls.begins(began));
        let reply = client.call(&call).await;
        drop(under_way);
        let code = reply.as_ref().map_or_else(|error| error.code.as_str(), |()| "ok");
        let took = began.elapsed();
        metrics.call_ended(code, took);
        if self.subscriber.stopping.is_cancelled() {
            self.subscriber.tally.finished();
        }
        calls.ended(took, reply.as_ref().err(), began + took);
        if let Err(error) = &reply {
            span.fail(error.code.as_str(), &error.message);
        }
        drop(span);
        let says = reply.as_ref().map_or_else(says, |()| Says::Succeeds);
        self.subscriber.duty.notes(|work, now| work.called(says, now));
        let answer = Answer { event: event.id, reply: &reply, began, probe };
        let outcome = pace.absent(&reply).unwrap_or_else(|| pace.limited(self.decide(answer, attempt)));
        self.tell(&event, attempt.number, &outcome);
        client.became(&call, &outcome, took);
        outcome
    }

    fn decide(&self, answer: Answer<'_>, attempt: Attempt) -> Outcome {
        let Subscriber { policy, circuit, .. } = &self.subscriber;
        // The queue would soon lose this message, so it is not held: the dead-letter queue keeps it.
        let is_held = !(attempt.last_chance && answer.reply.is_err()) && circuit.heard(answer);
        match answer.reply {
            Err(error) if is_held => held(error, attempt, policy, fastrand::f64()),
            reply => decide(reply, attempt, policy, fastrand::f64()),
        }
    }

    fn attempt<R>(&self, delivery: &Delivery<R>) -> Attempt {
        let age = (Utc::now() - delivery.enqueued_at).to_std().unwrap_or_default();
        Attempt::new(delivery.attempt, age, self.limits.keeps)
    }

    /// The parent of the RPC's span is this one, and not the publisher's.
    fn span(&self, event: &mut Envelope<'_>) -> Span {
        if !self.subscriber.tracer.is_on() {
            return Span::default();
        }
        let attributes = [
            ("messaging.system", "outbox".to_owned()),
            ("messaging.message.id", event.id.to_string()),
            ("outbox.event", event.name.to_string()),
        ];
        let name = format!("deliver {}", self.subscriber.rpc);
        let span = self.subscriber.tracer.start(name, Role::Consumer, &event.headers, attributes);
        span.continue_in(&mut event.headers);
        span
    }

    fn tell(&self, event: &Envelope<'_>, attempt: u32, outcome: &Outcome) {
        let Subscriber { rpc, metrics, .. } = &self.subscriber;
        match outcome {
            Outcome::Done | Outcome::Duplicate => {
                tracing::debug!(%rpc, event_id = %event.id, attempt, "done");
                metrics.done(event.occurred_at);
            }
            Outcome::Retry { again, after, code, error } => {
                let failed = if *again == Again::Held { "held" } else { "failed" };
                let after_seconds = after.as_secs_f64();
                if attempt > USUAL_FAILURES {
                    tracing::warn!(%rpc, event_id = %event.id, attempt, code, error, after_seconds, "{failed}: trying again");
                } else {
                    tracing::info!(%rpc, event_id = %event.id, attempt, code, error, after_seconds, "{failed}: trying again");
                }
                return;
            }
            Outcome::Dead { code, reason } | Outcome::SetAside { code, reason } => {
                tracing::error!(%rpc, event_id = %event.id, attempt, code, reason, "dead-lettered");
            }
        }
        metrics.ended(attempt);
    }
}

fn postponed(after: Duration, code: &'static str, text: &str) -> Outcome {
    Outcome::retry(Again::Postponed, after, code, text)
}
