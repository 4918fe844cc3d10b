//! One RPC's lane: receive, claim, call, decide, settle. Lanes share nothing but the database's connections, so a slow
//! or dead RPC is its own lane's trouble.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use event::{Envelope, EventId, Message};
use event_router::{Policy, Rpc};
use runtime::{Chain, Finished, Panicked, Part, Readiness, Role, Span, Tracer, apart, caught};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::breaker::{Answer, Breaker, Standing};
use crate::dedup::{Claim, Dedup, Lease};
use crate::fate::{Fate, Why};
use crate::flight::{self, Flight};
use crate::meter::Meter;
use crate::queue::{Delivery, Queue};
use crate::receiver::Receiver;
use crate::rpc::{Call, CallError, REPLAY, RpcClient};
use crate::settler::Settler;
use crate::unrecorded::Unrecorded;
use crate::verdict::{Attempt, Verdict, exhausted, held, panicked, verdict};

/// When the dedup record can't be asked, nothing is called and everything comes back.
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);

/// After the last call of a lane that is to stop, what became of its calls is recorded within this time, or not at all.
const RECORDED_WITHIN: Duration = Duration::from_secs(8);
/// What was given up is given back within this time.
const GIVEN_BACK_WITHIN: Duration = Duration::from_millis(1500);
/// No lease lasts longer; what stands in the record may be anything.
const HELD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Everything one RPC's deliveries need.
#[derive(Debug)]
pub struct Lane<Q, D, C> {
    pub rpc: Rpc,
    pub policy: Policy,
    pub queue: Arc<Q>,
    pub dedup: Arc<D>,
    pub client: C,
    pub unrecorded: Unrecorded,
    pub aside: Aside,
    /// Outlives the lane: what one knew of its server, the next need not learn.
    pub breaker: Arc<Mutex<Breaker>>,
    pub meter: Meter,
    pub readiness: Readiness,
    pub tracer: Tracer,
}

impl<Q: Queue, D: Dedup, C: RpcClient> Lane<Q, D, C> {
    /// Delivers until `stop`, then finishes the calls under way and records what became of them. At `give_up` what is not
    /// finished is given back instead.
    ///
    /// # Errors
    ///
    /// If something of it panicked. What was under way comes back when its visibility ends.
    pub async fn run(
        self,
        stop: &CancellationToken,
        give_up: &CancellationToken,
    ) -> Result<Finished, Panicked> {
        let lane = Arc::new(self);
        let (decided, decisions) = mpsc::channel(2 * lane.policy.concurrency);
        let flight = Flight::default();
        let part = lane.readiness.part(lane.meter.name());
        let records = lane.readiness.part(format!("{} records", lane.meter.name()));
        part.moves();
        let _room = lane.meter.opens(lane.policy.concurrency);
        lane.meter.breaker(&lane.breaker.lock().expect("no panic while held"));
        // The lane before this one may have panicked.
        lane.unrecorded.orphaned(Instant::now());

        let settler = Settler {
            rpc: lane.rpc.clone(),
            meter: lane.meter.clone(),
            part: records.clone(),
            queue: Arc::clone(&lane.queue),
            dedup: Arc::clone(&lane.dedup),
            unrecorded: lane.unrecorded.clone(),
            aside: lane.aside.clone(),
        };
        let settling = apart(settler.run(decisions));
        let extending = apart(flight::extend(lane.meter.clone(), Arc::clone(&lane.queue), flight.clone()));
        // The settler goes on until this is dropped, too: it never ends before the calls have.
        let line = decided.clone();
        let tokens = Stop { stop: stop.clone(), give_up: give_up.clone() };
        let receiver = Receiver::new(&lane, &flight, decided, part.clone(), tokens);
        let receiving = caught(receiver.run());
        tokio::pin!(settling, extending, receiving);

        let received = tokio::select! {
            received = &mut receiving => received.flatten(),
            Err(panicked) = &mut settling => return Err(panicked),
            Err(panicked) = &mut extending => return Err(panicked),
            () = given_up(give_up) => return Ok(Finished::NotAll),
        };
        let finished = if give_up.is_cancelled() { Finished::NotAll } else { Finished::All };
        drop(line);
        let settled = tokio::select! {
            settled = &mut settling => settled.map(|settled| finished.and(settled)),
            Err(panicked) = &mut extending => Err(panicked),
            () = tokio::time::sleep(RECORDED_WITHIN) => Ok(Finished::NotAll),
            () = given_up(give_up) => Ok(Finished::NotAll),
        };
        received?;
        part.ends();
        records.ends();
        settled
    }

    /// One answer of the dedup record per delivery: none for a body that names no event, and none where the record can't be
    /// asked, or took so long that others may have the leases by now. Whether all that had to be asked was.
    pub(crate) async fn claim(
        &self,
        deliveries: &[Delivery<Q::Receipt>],
        fresh_until: Instant,
        part: &Part,
        stop: &CancellationToken,
    ) -> (Vec<Option<Claim>>, bool) {
        let mut claims: Vec<Option<Claim>> =
            deliveries.iter().map(|delivery| delivery.lease.map(|(lease, _)| Claim::Won(lease))).collect();
        let unknown = claims.iter().zip(deliveries).enumerate().filter(|(_, (claim, _))| claim.is_none());
        let (places, events): (Vec<usize>, Vec<EventId>) =
            unknown.filter_map(|(at, (_, delivery))| Some((at, event_of(&delivery.body)?))).unzip();
        // What came in as the process was told to stop goes back at once.
        if events.is_empty() || stop.is_cancelled() {
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

    /// One delivery, whatever comes in between. `claimed_at` is when its lease was asked for, or before. `probe`: it was let
    /// through to see.
    pub(crate) async fn take(
        &self,
        delivery: &Delivery<Q::Receipt>,
        claim: Option<Claim>,
        claimed_at: Instant,
        probe: bool,
        Stop { stop, give_up }: &Stop,
    ) -> (Fate, Option<Lease>) {
        let lease = claim.and_then(Claim::lease);
        if stop.is_cancelled() {
            return (Fate::Postponed(Duration::ZERO, Why::Stopping), lease);
        }
        let fresh_until = claimed_at + self.queue.limits().visibility / 2;
        tokio::select! {
            biased;
            delivered = caught(self.deliver(delivery, claim, fresh_until, probe)) => delivered.unwrap_or_else(|panic| {
                tracing::error!(rpc = %self.rpc, attempt = delivery.attempt, error = %panic, "failed to deliver: this is a bug");
                let verdict = panicked(self.attempt(delivery), &self.policy, fastrand::f64());
                (Fate::Decided(verdict), lease)
            }),
            // Its lease is not given back: the call may still have its effect.
            () = give_up.cancelled() => {
                let ends = claimed_at + self.policy.timeout + self.queue.limits().visibility;
                (Fate::GivenUp(ends.saturating_duration_since(Instant::now())), None)
            }
        }
    }

    /// One delivery, from its body to what happens to it.
    async fn deliver(
        &self,
        delivery: &Delivery<Q::Receipt>,
        claim: Option<Claim>,
        fresh_until: Instant,
        probe: bool,
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
            None => (Fate::Postponed(UNKNOWN_WAIT, Why::DedupUnavailable), None),
            Some(Claim::Done) => {
                self.unrecorded.recorded([message.event.id]);
                (Fate::Duplicate, None)
            }
            Some(Claim::Early { remaining }) => (Fate::Postponed(remaining, Why::Early), None),
            Some(Claim::Held { remaining }) => (Fate::Postponed(remaining.min(HELD_MAX), Why::Held), None),
            // The database was away for longer than the lease, and does not know yet what we know. A replay that gets this
            // far wants another call.
            Some(Claim::Won(lease) | Claim::WonAfter(lease, _))
                if !message.event.headers.contains_key(REPLAY)
                    && self.unrecorded.knows(lease.event, Instant::now()) =>
            {
                (Fate::Decided(Verdict::Done), Some(lease))
            }
            // The process stood still since it asked: somebody else may have the lease by now, and have called.
            Some(Claim::Won(_) | Claim::WonAfter(..)) if Instant::now() >= fresh_until => {
                (Fate::Postponed(UNKNOWN_WAIT, Why::StaleLease), None)
            }
            Some(Claim::Won(lease) | Claim::WonAfter(lease, _)) => {
                let aside = self.aside.decided(lease.event);
                if let Some((code, reason)) = aside.filter(|_| !message.event.headers.contains_key(REPLAY)) {
                    return (Fate::SetAside(code, reason), Some(lease));
                }
                let verdict = match exhausted(delivery.attempt, &self.policy) {
                    Some(dead) => dead,
                    None => self.call(message.event, self.attempt(delivery), probe).await,
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

    async fn call(&self, mut event: Envelope<'_>, attempt: Attempt, probe: bool) -> Verdict {
        let mut span = self.span(&mut event);
        let call =
            Call { rpc: &self.rpc, event: &event, attempt: attempt.number, timeout: self.policy.timeout };
        let under_way = self.meter.call_begins();
        let began = Instant::now();
        let reply = self.client.call(&call).await;
        drop(under_way);
        let code = reply.as_ref().map_or_else(|error| error.code.as_str(), |()| "ok");
        self.meter.call_ended(code, began.elapsed());
        if let Err(error) = &reply {
            span.fail(error.code.as_str(), &error.message);
        }
        drop(span);
        let is_held = self.heard(Answer { event: event.id, reply: &reply, began, probe }, attempt);
        let random = fastrand::f64();
        let verdict = match &reply {
            Err(error) if is_held => held(error, attempt, &self.policy, random),
            reply => verdict(reply, attempt, &self.policy, random),
        };
        let attempt = attempt.number;
        match &verdict {
            Verdict::Done => tracing::debug!(rpc = %self.rpc, event_id = %event.id, attempt, "done"),
            Verdict::Retry { after, code, error } => {
                tracing::info!(rpc = %self.rpc, event_id = %event.id, attempt, code, error, after_seconds = after.as_secs_f64(), "failed: trying again");
            }
            Verdict::Held { after, code, error } => {
                tracing::info!(rpc = %self.rpc, event_id = %event.id, attempt, code, error, after_seconds = after.as_secs_f64(), "held: trying again");
            }
            Verdict::Dead { code, reason } => {
                tracing::error!(rpc = %self.rpc, event_id = %event.id, attempt, code, reason, "dead-lettered");
            }
        }
        if !matches!(verdict, Verdict::Retry { .. } | Verdict::Held { .. }) {
            self.meter.ended(attempt);
        }
        if verdict == Verdict::Done {
            self.meter.done(event.occurred_at);
        }
        verdict
    }

    /// Whether the delivery is held instead of dead-lettered. What its queue would soon forget waits for nobody: the
    /// dead-letter queue keeps it.
    fn heard(&self, answer: Answer<'_>, attempt: Attempt) -> bool {
        if attempt.last_chance && answer.reply.is_err() {
            return false;
        }
        let mut breaker = self.breaker.lock().expect("no panic while held");
        let before = breaker.standing();
        let is_held = breaker.heard(answer, Instant::now());
        let now = breaker.standing();
        self.meter.breaker(&breaker);
        drop(breaker);
        if before != now {
            self.tell(&now, answer.reply.as_ref().err());
        }
        is_held
    }

    /// Whether everything may be received.
    pub(crate) fn is_closed(&self) -> bool {
        self.breaker.lock().expect("no panic while held").is_closed()
    }

    /// For people who read the log.
    fn tell(&self, standing: &Standing, error: Option<&CallError>) {
        let (rpc, error) = (&self.rpc, error.map(tracing::field::display));
        match standing {
            Standing::Closed => tracing::info!(%rpc, "circuit breaker closed: the server answers again"),
            Standing::Away => {
                tracing::warn!(%rpc, error, "circuit breaker open, its server is away: will probe with one delivery at a time");
            }
            Standing::Doubted => {
                tracing::warn!(%rpc, error, "circuit breaker open, different events fail in a row: what has failed waits, and one at a time is called to see");
            }
            Standing::Held(reason) => {
                tracing::error!(%rpc, %reason, "held, different events are refused alike: dead-lettering nothing until one succeeds; if they are poison, say so with `outbox poison`");
            }
        }
    }
}

/// How a lane is told to stop.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Nothing is begun any more.
    pub(crate) stop: CancellationToken,
    /// Nothing is waited for any longer.
    pub(crate) give_up: CancellationToken,
}

/// Returns when what was given up is given back, or never will be.
async fn given_up(give_up: &CancellationToken) {
    give_up.cancelled().await;
    tokio::time::sleep(GIVEN_BACK_WITHIN).await;
}

fn event_of(body: &str) -> Option<EventId> {
    Message::decode(body).ok().map(|message| message.event.id)
}
