//! One RPC's lane: receive, claim, call, decide, settle. Lanes share nothing but the database's connections, so a slow
//! or dead RPC is its own lane's trouble.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use event::{Envelope, EventId, Message};
use event_router::{Policy, Rpc};
use runtime::{Chain, Part, Readiness, Role, Span, Tracer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::dedup::{Claim, Dedup, Lease};
use crate::fate::Fate;
use crate::flight::{self, Flight};
use crate::meter::Meter;
use crate::queue::{Delivery, Queue};
use crate::receiver::Receiver;
use crate::rpc::{Call, CallError, RpcClient};
use crate::settler::{self, Unrecorded};
use crate::verdict::{Attempt, Verdict, exhausted, verdict};

/// When the dedup record can't be asked, nothing is called and everything comes back.
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);

/// Everything one RPC's deliveries need.
#[derive(Debug)]
pub struct Lane<Q, D, C> {
    pub rpc: Rpc,
    pub policy: Policy,
    pub queue: Arc<Q>,
    pub dedup: Arc<D>,
    pub client: C,
    pub unrecorded: Unrecorded,
    pub breaker: Mutex<Breaker>,
    pub meter: Meter,
    pub readiness: Readiness,
    pub tracer: Tracer,
}

impl<Q: Queue, D: Dedup, C: RpcClient> Lane<Q, D, C> {
    /// Delivers until `stop`, then finishes the calls under way and records what became of them.
    pub async fn run(self, stop: &CancellationToken) {
        let lane = Arc::new(self);
        let (decided, decisions) = mpsc::channel(2 * lane.policy.concurrency);
        let flight = Flight::default();
        let part = lane.readiness.part(lane.meter.name());
        part.moves();
        lane.meter.opens(lane.policy.concurrency);
        lane.meter.breaker(0.0);
        let settler = tokio::spawn(settler::run(
            lane.rpc.clone(),
            lane.meter.clone(),
            lane.readiness.part(format!("{} records", lane.meter.name())),
            Arc::clone(&lane.queue),
            Arc::clone(&lane.dedup),
            lane.unrecorded.clone(),
            decisions,
        ));
        let landed = CancellationToken::new();
        let heartbeat = tokio::spawn(flight::extend(
            lane.meter.clone(),
            Arc::clone(&lane.queue),
            flight.clone(),
            landed.clone(),
        ));

        Receiver::new(&lane, &flight, decided, part).run(stop).await;
        let _ = settler.await;
        landed.cancel();
        let _ = heartbeat.await;
        lane.meter.closes(lane.policy.concurrency);
    }

    /// One answer of the dedup record per delivery: none for a body that names no event, and none where the record can't be
    /// asked, or took so long that others may have the leases by now. Whether all that had to be asked was.
    pub(crate) async fn claim(
        &self,
        deliveries: &[Delivery<Q::Receipt>],
        fresh_until: Instant,
        part: &Part,
    ) -> (Vec<Option<Claim>>, bool) {
        let mut claims: Vec<Option<Claim>> =
            deliveries.iter().map(|delivery| delivery.lease.map(|(lease, _)| Claim::Won(lease))).collect();
        let unknown = claims.iter().zip(deliveries).enumerate().filter(|(_, (claim, _))| claim.is_none());
        let (places, events): (Vec<usize>, Vec<EventId>) =
            unknown.filter_map(|(at, (_, delivery))| Some((at, event_of(&delivery.body)?))).unzip();
        if events.is_empty() {
            part.moves();
            return (claims, true);
        }
        let answers = match self.dedup.claim(&events).await {
            Ok(answers) if Instant::now() < fresh_until => answers,
            Ok(_) => {
                self.meter.failed("claim");
                part.waits("the dedup record answers too late");
                tracing::warn!(rpc = %self.rpc, "not calling: the dedup record answered so late that the leases are old");
                return (claims, false);
            }
            Err(error) => {
                self.meter.failed("claim");
                part.waits(format!("can't ask what was done before: {}", Chain(&error)));
                tracing::warn!(rpc = %self.rpc, error = %Chain(&error), "not calling: can't ask what was done before");
                return (claims, false);
            }
        };
        part.moves();
        for (at, answer) in places.into_iter().zip(answers) {
            claims[at] = Some(answer);
        }
        (claims, true)
    }

    /// One delivery, from its body to what happens to it.
    pub(crate) async fn deliver(
        &self,
        delivery: &Delivery<Q::Receipt>,
        claim: Option<Claim>,
        fresh_until: Instant,
    ) -> (Fate, Option<Lease>) {
        let message = match Message::decode(&delivery.body) {
            Ok(message) if message.rpc == self.rpc.as_str() => message,
            Ok(message) => {
                let addressee: String = message.rpc.chars().take(200).collect();
                let reason =
                    format!("it is addressed to {addressee:?}, and this is the queue of {}", self.rpc);
                return (self.uncallable("wrong_queue", reason), claim.and_then(Claim::lease));
            }
            Err(error) => {
                let fate = self.uncallable("malformed_message", error.to_string());
                return (fate, claim.and_then(Claim::lease));
            }
        };
        match claim {
            None => (Fate::Postponed(UNKNOWN_WAIT, "dedup_unavailable"), None),
            Some(Claim::Done) => {
                self.unrecorded.forget([message.event.id]);
                (Fate::Duplicate, None)
            }
            Some(Claim::Held { remaining }) => (Fate::Postponed(remaining, "held"), None),
            // The database was away for longer than the lease, and does not know yet what we know.
            Some(Claim::Won(lease)) if self.unrecorded.contains(lease.event) => {
                (Fate::Decided(Verdict::Done), Some(lease))
            }
            // The process stood still since it asked: somebody else may have the lease by now, and have called.
            Some(Claim::Won(_)) if Instant::now() >= fresh_until => {
                (Fate::Postponed(UNKNOWN_WAIT, "stale_lease"), None)
            }
            Some(Claim::Won(lease)) => {
                let verdict = match exhausted(delivery.attempt, &self.policy) {
                    Some(dead) => dead,
                    None => self.call(message.event, self.attempt(delivery)).await,
                };
                (Fate::Decided(verdict), Some(lease))
            }
        }
    }

    fn uncallable(&self, code: &'static str, reason: String) -> Fate {
        tracing::error!(rpc = %self.rpc, code, reason, "dead-lettered without a call");
        Fate::Decided(Verdict::Dead { code, reason })
    }

    fn attempt(&self, delivery: &Delivery<Q::Receipt>) -> Attempt {
        let age = (Utc::now() - delivery.enqueued_at).to_std().unwrap_or_default();
        Attempt::new(delivery.attempt, age, self.queue.limits().keeps)
    }

    /// The RPC's caller is this span, not the publisher's.
    fn span(&self, event: &mut Envelope<'_>) -> Span {
        let attributes = [
            ("messaging.system", "outbox".to_owned()),
            ("messaging.message.id", event.id.to_string()),
            ("outbox.event", event.name.to_string()),
        ];
        let span =
            self.tracer.start(format!("deliver {}", self.rpc), Role::Consumer, &event.headers, attributes);
        span.continue_in(&mut event.headers);
        span
    }

    async fn call(&self, mut event: Envelope<'_>, attempt: Attempt) -> Verdict {
        let mut span = self.span(&mut event);
        let call =
            Call { rpc: &self.rpc, event: &event, attempt: attempt.number, timeout: self.policy.timeout };
        self.meter.call_begins();
        let began = Instant::now();
        let reply = self.client.call(&call).await;
        let code = reply.as_ref().map_or_else(|error| error.code.as_str(), |()| "ok");
        self.meter.call_ends(code, began.elapsed());
        if let Err(error) = &reply {
            span.fail(error.code.as_str(), &error.message);
        }
        drop(span);
        self.heard(&reply, attempt);
        let verdict = verdict(&reply, attempt, &self.policy, fastrand::f64());
        let attempt = attempt.number;
        match &verdict {
            Verdict::Done => tracing::debug!(rpc = %self.rpc, event_id = %event.id, attempt, "done"),
            Verdict::Retry { after, code, error } => {
                tracing::info!(rpc = %self.rpc, event_id = %event.id, attempt, code, error, after_seconds = after.as_secs_f64(), "failed: trying again");
            }
            Verdict::Dead { code, reason } => {
                tracing::error!(rpc = %self.rpc, event_id = %event.id, attempt, code, reason, "dead-lettered");
            }
        }
        if !matches!(verdict, Verdict::Retry { .. }) {
            self.meter.ended(attempt);
        }
        if verdict == Verdict::Done {
            self.meter.done(event.occurred_at);
        }
        verdict
    }

    /// What its queue would soon forget does not wait for the server: the dead-letter queue keeps it.
    fn heard(&self, reply: &Result<(), CallError>, attempt: Attempt) {
        if attempt.last_chance && reply.is_err() {
            return;
        }
        let mut breaker = self.breaker.lock().expect("no panic while held");
        let opened = breaker.heard(reply, Instant::now());
        self.meter.breaker(breaker.level());
        if let (Some(wait), Err(error)) = (opened, reply) {
            tracing::warn!(rpc = %self.rpc, error = %error, seconds = wait.as_secs_f64(), "its server is away: receiving nothing, then one to see");
        }
    }
}

impl Claim {
    fn lease(self) -> Option<Lease> {
        match self {
            Claim::Won(lease) => Some(lease),
            Claim::Done | Claim::Held { .. } => None,
        }
    }
}

fn event_of(body: &str) -> Option<EventId> {
    Message::decode(body).ok().map(|message| message.event.id)
}
