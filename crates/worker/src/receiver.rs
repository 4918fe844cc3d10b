//! Receiving: one receiver keeps watch over its queue, and others help it for as long as it finds full batches. So an idle
//! queue costs one long poll at a time, and a busy one is not bound to one request's round trip.

mod under_way;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::{Chain, Panicked, Part, caught};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ask::{Ask, FailedSlots, ask};
use crate::breaker::{Gate, Probe};
use crate::dedup::{Claim, Dedup};
use crate::fate::{Fate, Why};
use crate::flight::Flight;
use crate::lane::{Lane, Stop};
use crate::queue::{Delivery, Queue, QueueError, Wanted};
use crate::rate::Rate;
use crate::rpc::RpcClient;
use crate::settler::Decided;
use crate::verdict::{Verdict, waits_in_the_crowd};
use under_way::{Again, Failed, Probing};

/// Each may find nothing at the end of a burst, and is paid for. Four receive thousands of messages a second.
const HELPERS_MAX: usize = 3;
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A receive that takes so long waits for messages.
const QUIET: Duration = Duration::from_secs(5);
/// How long nothing is received after the dedup record could not be asked.
const BLIND_MIN: Duration = Duration::from_millis(500);
const BLIND_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Receiver<Q: Queue, D, C> {
    lane: Arc<Lane<Q, D, C>>,
    /// As many calls as may run, and whose turn it is to gather them: of two who gather, neither would get a batch.
    slots: Arc<(Mutex<()>, Arc<Semaphore>)>,
    /// How many batches in a row were full. Who helps looks at it.
    full: Arc<watch::Sender<usize>>,
    failed: Arc<Failed>,
    flight: Flight<Q::Receipt>,
    decided: mpsc::Sender<Decided<Q::Receipt>>,
    part: Part,
    stop: Stop,
    calls: JoinSet<()>,
}

impl<Q: Queue, D: Dedup, C: RpcClient> Receiver<Q, D, C> {
    pub(crate) fn new(
        lane: &Arc<Lane<Q, D, C>>,
        flight: &Flight<Q::Receipt>,
        decided: mpsc::Sender<Decided<Q::Receipt>>,
        part: Part,
        stop: Stop,
    ) -> Self {
        Self {
            lane: Arc::clone(lane),
            slots: Arc::new((Mutex::new(()), Arc::new(Semaphore::new(lane.policy.concurrency)))),
            full: Arc::new(watch::Sender::new(0)),
            failed: Arc::default(),
            flight: flight.clone(),
            decided,
            part,
            stop,
            calls: JoinSet::new(),
        }
    }

    /// Receives until the stop, and returns when every call has ended.
    ///
    /// # Errors
    ///
    /// If a helper panicked.
    pub(crate) async fn run(self) -> Result<(), Panicked> {
        // One batch of slots stays for whoever keeps watch. A rate is kept by one alone.
        let helpers = match self.lane.policy.rate_per_second {
            Some(_) => 0,
            None => {
                let batches = self.lane.policy.concurrency / self.lane.queue.limits().batch_max.max(1);
                batches.saturating_sub(1).min(HELPERS_MAX)
            }
        };
        let mut helping = JoinSet::new();
        for nth in 1..=helpers {
            helping.spawn(caught(self.another().help(nth)));
        }
        let mut watching = std::pin::pin!(self.keep_watch());
        loop {
            tokio::select! {
                () = &mut watching => break,
                Some(helped) = helping.join_next() => helped.unwrap_or(Ok(()))?,
            }
        }
        while let Some(helped) = helping.join_next().await {
            helped.unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    fn another(&self) -> Self {
        Self {
            lane: Arc::clone(&self.lane),
            slots: Arc::clone(&self.slots),
            full: Arc::clone(&self.full),
            failed: Arc::clone(&self.failed),
            flight: self.flight.clone(),
            decided: self.decided.clone(),
            part: self.part.clone(),
            stop: self.stop.clone(),
            calls: JoinSet::new(),
        }
    }

    async fn keep_watch(mut self) {
        let stop = &self.stop.stop.clone();
        let (mut wait, mut blind) = (RETRY_MIN, BLIND_MIN);
        let mut rate = self.lane.policy.rate_per_second.map(|rate| Rate::new(rate, Instant::now()));
        while let Some(mut permits) = self.free_slots(stop).await {
            while self.calls.try_join_next().is_some() {}
            let ask = match self.ask(permits.len(), &mut rate) {
                Ok(ask) => ask,
                Err(until) => {
                    drop(permits);
                    self.wait(until, stop).await;
                    continue;
                }
            };
            let probing = ask.probe.map(|probe| self.probing(probe));
            permits.truncate(ask.most);
            match self.receive(&ask, stop).await {
                Ok(deliveries) => {
                    wait = RETRY_MIN;
                    if let Some(rate) = &mut rate {
                        rate.began(deliveries.len());
                    }
                    if self.start(deliveries, permits, &ask, probing).await {
                        blind = BLIND_MIN;
                    } else {
                        // A queue may count every receive as an attempt: what can't be called is better left in it.
                        pause(blind, stop).await;
                        blind = (blind * 2).min(BLIND_MAX);
                    }
                }
                Err(error) => {
                    self.failed(&error, wait);
                    pause(wait, stop).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
        while self.calls.join_next().await.is_some() {}
    }

    /// The nth helper begins after as many full batches.
    async fn help(mut self, nth: usize) {
        let stop = &self.stop.stop.clone();
        let mut full = self.full.subscribe();
        loop {
            let wanted = tokio::select! {
                wanted = full.wait_for(|full| *full >= nth) => wanted.is_ok(),
                () = stop.cancelled() => false,
            };
            if !wanted {
                break;
            }
            let Some(permits) = self.free_slots(stop).await else { break };
            while self.calls.try_join_next().is_some() {}
            // Whether a server is back, and what there is of failures, one alone finds out.
            let is_closed = self.lane.is_closed();
            let ask = match ask(Gate::All, permits.len(), self.failed_slots(), Instant::now()) {
                Ok(ask) if is_closed && !self.is_restricted(&ask, permits.len()) => ask,
                _ => {
                    self.full.send_replace(0);
                    continue;
                }
            };
            match self.receive(&ask, stop).await {
                Ok(deliveries) => {
                    if !self.start(deliveries, permits, &ask, None).await {
                        self.full.send_replace(0);
                    }
                }
                Err(error) => {
                    self.failed(&error, Duration::ZERO);
                    self.full.send_replace(0);
                }
            }
        }
        while self.calls.join_next().await.is_some() {}
    }

    fn failed(&self, error: &QueueError, retry_in: Duration) {
        self.lane.meter.failed("receive");
        self.part.waits(format!("not receiving: {}", Chain(error)));
        tracing::warn!(rpc = %self.lane.rpc, error = %Chain(error), retry_in_seconds = retry_in.as_secs_f64(), "not receiving");
    }

    /// Waits until at least one call may start, and a little longer for as many as one request receives. `None` at
    /// `stop`.
    async fn free_slots(&self, stop: &CancellationToken) -> Option<Vec<OwnedSemaphorePermit>> {
        let limits = self.lane.queue.limits();
        let (turn, slots) = &*self.slots;
        let _mine = turn.lock().await;
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            permit = Arc::clone(slots).acquire_owned() => permit.ok()?,
        };
        let mut permits = vec![first];
        let wanted = limits.batch_max.min(self.lane.policy.concurrency);
        let until = Instant::now() + limits.linger;
        while permits.len() < wanted {
            let more = match Arc::clone(slots).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) if limits.linger.is_zero() => None,
                Err(_) => match tokio::time::timeout_at(until, Arc::clone(slots).acquire_owned()).await {
                    Ok(permit) => permit.ok(),
                    Err(_) => None,
                },
            };
            let Some(permit) = more else { break };
            permits.push(permit);
        }
        Some(permits)
    }

    /// What to ask the queue for; or until when for nothing.
    fn ask(&self, free: usize, rate: &mut Option<Rate>) -> Result<Ask, Option<Instant>> {
        let now = Instant::now();
        let calls = rate.as_mut().map_or(Ok(free), |rate| rate.allowed(now));
        let free = free.min(calls.map_err(|wait| Some(now + wait))?);
        let gate = {
            let mut breaker = self.lane.breaker.lock().expect("no panic while held");
            let gate = breaker.gate(now);
            self.lane.meter.breaker(&breaker);
            gate
        };
        ask(gate, free, self.failed_slots(), now)
    }

    fn failed_slots(&self) -> FailedSlots {
        let all = FailedSlots::of(self.lane.policy.concurrency);
        FailedSlots {
            free: all.saturating_sub(self.failed.under_way.load(Ordering::Relaxed)),
            found: self.failed.found.load(Ordering::Relaxed),
            single: self.lane.policy.concurrency == 1,
            chooses: self.lane.queue.limits().chooses,
        }
    }

    /// Whether more could be received if something that is under way ended.
    fn is_restricted(&self, ask: &Ask, free: usize) -> bool {
        self.lane.queue.limits().chooses && (!ask.failed || ask.most < free)
    }

    fn probing(&self, probe: Probe) -> Probing<Q, D, C> {
        Probing::begins(&self.lane, &self.failed, probe)
    }

    /// Until then, until the breaker may have changed, or until the stop.
    async fn wait(&self, until: Option<Instant>, stop: &CancellationToken) {
        tokio::select! {
            () = at(until) => {}
            () = self.failed.loosened.notified() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn receive(
        &self,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<Q::Receipt>>, QueueError> {
        // A request to the queue ends by a token, and not by being dropped: it may have received something.
        let enough = stop.child_token();
        let is_restricted = self.lane.queue.limits().chooses && (!ask.failed || ask.probe.is_some());
        let receiving = self.lane.queue.receive(Wanted { most: ask.most, failed: ask.failed }, &enough);
        tokio::pin!(receiving);
        let quiet = tokio::time::sleep(QUIET);
        tokio::pin!(quiet);
        let mut is_quiet = false;
        let received = loop {
            tokio::select! {
                received = &mut receiving => break received,
                () = self.failed.loosened.notified(), if is_restricted && !enough.is_cancelled() => enough.cancel(),
                () = at(ask.until), if is_restricted && !enough.is_cancelled() => enough.cancel(),
                () = &mut quiet, if !is_quiet => {
                    // No error and no message: there is nothing to do.
                    self.part.moves();
                    is_quiet = true;
                }
            }
        };
        if let Ok(deliveries) = &received {
            let is_full = deliveries.len() == self.lane.queue.limits().batch_max;
            self.full.send_modify(|full| *full = if is_full { full.saturating_add(1) } else { 0 });
            let found = self.failed_slots().finds(ask, deliveries.iter().any(has_failed));
            self.failed.found.store(found, Ordering::Relaxed);
        }
        received
    }

    /// Claims a batch in the dedup record and starts a call for each delivery that is ours. No more is ever received
    /// than can start at once. `false` if the record could not be asked.
    async fn start(
        &mut self,
        deliveries: Vec<Delivery<Q::Receipt>>,
        permits: Vec<OwnedSemaphorePermit>,
        ask: &Ask,
        mut probing: Option<Probing<Q, D, C>>,
    ) -> bool {
        let mut room = ask.failed_most;
        let (deliveries, crowd): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(|delivery| {
            let fits = !has_failed(delivery) || room > 0;
            room -= usize::from(fits && has_failed(delivery));
            fits
        });
        self.put_back(crowd).await;
        let leased_since =
            deliveries.iter().filter_map(|delivery| delivery.lease).map(|(_, since)| since).min();
        let claimed_at = leased_since.unwrap_or_else(Instant::now);
        let fresh_until = claimed_at + self.lane.queue.limits().visibility / 2;
        let (claims, asked) = self.lane.claim(&deliveries, fresh_until, &self.part, &self.stop.stop).await;
        for ((mut delivery, claim), permit) in deliveries.into_iter().zip(claims).zip(permits) {
            if let Some(Claim::WonAfter(_, made)) = claim {
                delivery.attempt = made.saturating_add(1);
            }
            let in_flight = self.flight.board(delivery.receipt.clone());
            let (lane, decided, stop) = (Arc::clone(&self.lane), self.decided.clone(), self.stop.clone());
            let mut probing = probing.take();
            let again = has_failed(&delivery).then(|| Again::begins(&self.failed));
            let failed = Arc::clone(&self.failed);
            self.calls.spawn(async move {
                let is_probe = probing.as_mut().map(|probing| probing.called = true).is_some();
                let was_closed = lane.is_closed();
                let (fate, lease) = lane.take(&delivery, claim, claimed_at, is_probe, &stop).await;
                // The next may go before this is recorded.
                drop((probing, again));
                if !was_closed && lane.is_closed() {
                    failed.loosened.notify_one();
                }
                lane.meter.delivered(&fate);
                let succeeded = fate == Fate::Decided(Verdict::Done);
                let lease = lease.map(|lease| (lease, succeeded));
                if let Some((lease, true)) = lease {
                    lane.unrecorded.succeeded(lease.event);
                }
                let settlement = fate.settlement();
                let Delivery { receipt, attempt, .. } = delivery;
                // The settler outlives every call.
                let _ = decided.send(Decided { receipt, attempt, settlement, lease, in_flight }).await;
                drop(permit);
            });
        }
        asked
    }

    /// What there is no slot for among those that failed before.
    async fn put_back(&self, crowd: Vec<Delivery<Q::Receipt>>) {
        for Delivery { receipt, attempt, .. } in crowd {
            let after = waits_in_the_crowd(attempt, &self.lane.policy, self.lane.queue.limits().chooses);
            let fate = Fate::Postponed(after, Why::Crowded);
            self.lane.meter.delivered(&fate);
            let in_flight = self.flight.board(receipt.clone());
            let settlement = fate.settlement();
            let _ = self.decided.send(Decided { receipt, attempt, settlement, lease: None, in_flight }).await;
        }
    }
}

fn has_failed<R>(delivery: &Delivery<R>) -> bool {
    delivery.attempt > 1
}

async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

async fn pause(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = stop.cancelled() => {}
    }
}
