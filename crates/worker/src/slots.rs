//! Slots limit the concurrent calls, and what may be received for free ones.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ask::{Ask, FailedSlots, ask};
use crate::braking::Braking;
use crate::breaker::{Gate, Probe};
use crate::circuit::Circuit;
use crate::metrics::Metrics;
use crate::rate::Rate;
use crate::room::Room;
use outbox_transport::{Delivery, Limits};

pub(crate) type Permits = Vec<OwnedSemaphorePermit>;

pub(crate) struct Slots {
    limits: Limits,
    circuit: Circuit,
    pub(crate) braking: Braking,
    room: Arc<Room>,
    /// One task gathers at a time: two at once would both get less than a batch.
    turn: Mutex<()>,
    /// How many deliveries under way have failed before.
    failed: AtomicUsize,
    /// Whether the last request found deliveries that have failed.
    found_failed: AtomicBool,
    /// Notified when more may be received than before. A notification without a waiting task is kept for the next one.
    pub(crate) loosened: Notify,
    /// Notified when a call has opened the breaker.
    pub(crate) opened: Notify,
}

/// A received batch: each delivery with its slot, and those that must go back without one.
pub(crate) struct Received<R> {
    pub(crate) deliveries: Vec<Delivery<R>>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) crowded_out: Vec<Delivery<R>>,
}

impl Slots {
    pub(crate) fn new(limits: Limits, circuit: Circuit, braking: Braking, room: Arc<Room>) -> Self {
        let slots = Self {
            limits,
            circuit,
            braking,
            room,
            turn: Mutex::default(),
            failed: AtomicUsize::default(),
            found_failed: AtomicBool::default(),
            loosened: Notify::new(),
            opened: Notify::new(),
        };
        slots.resize();
        slots
    }

    /// How many calls may be under way now: fewer after an outage, and what an operator set instead of the policy.
    fn wanted(&self) -> usize {
        self.circuit.allows(self.braking.of_policy(), self.braking.concurrency(Instant::now()))
    }

    /// Makes or removes slots, for all consumers that share them.
    pub(crate) fn resize(&self) {
        self.room.resize(|| self.wanted());
    }

    /// A free slot.
    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        self.room.acquire(|| self.wanted()).await
    }

    /// Follows the policy, what operators set, and what another consumer found out, until it is dropped. Every change from this
    /// call on counts, also before the first poll.
    pub(crate) fn follow(&self, metrics: &Metrics) -> impl Future<Output = Infallible> {
        let mut seen = self.braking.seen();
        async move {
            let room = || metrics.opens(self.braking.concurrency(Instant::now()));
            let mut shown = room();
            loop {
                self.braking.changes(&mut seen).await;
                self.resize();
                drop(std::mem::replace(&mut shown, room()));
                self.loosened.notify_one();
                self.opened.notify_one();
            }
        }
    }

    /// Waits until at least one call may start, and a little longer for as many as one request receives. `None` at `stop`.
    pub(crate) async fn gather(&self, stop: &CancellationToken) -> Option<Permits> {
        let _turn = self.turn.lock().await;
        self.resize();
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            permit = self.acquire() => permit?,
        };
        let mut permits = vec![first];
        let wanted = self.limits.batch_max.min(self.wanted());
        // A request for half of the slots is made while the calls of the other half are under way.
        let enough = if self.limits.charges { wanted } else { wanted.div_ceil(2) };
        let until = Instant::now() + self.limits.linger;
        while permits.len() < wanted {
            let more = match self.room.try_acquire(|| self.wanted()) {
                Ok(permit) => permit,
                Err(_) if self.limits.linger.is_zero() || permits.len() >= enough => None,
                Err(_) => tokio::time::timeout_at(until, self.acquire()).await.ok().flatten(),
            };
            let Some(permit) = more else { break };
            permits.push(permit);
        }
        Some(permits)
    }

    /// What to request from the queue; or until when to request nothing.
    pub(crate) fn ask(&self, free: usize, rate: &mut Option<Rate>) -> Result<Ask, Option<Instant>> {
        let now = Instant::now();
        let calls = rate.as_mut().map_or(Ok(free), |rate| rate.allowed(now));
        let free = free.min(calls.map_err(|wait| Some(now + wait))?);
        let gate = self.circuit.with(|breaker| breaker.gate(now));
        ask(gate, free, self.failed_slots(), now)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.circuit.is_closed()
    }

    /// What a helper requests. Only the watching receiver probes a server, and finds out about failures: then a helper requests
    /// nothing.
    pub(crate) fn ask_for_all(&self, free: usize) -> Option<Ask> {
        // Only the watching receiver keeps to a rate.
        if self.braking.is_paused() || self.braking.rate(Instant::now()).is_some() {
            return None;
        }
        let is_closed = self.circuit.is_closed();
        let ask = ask(Gate::All, free, self.failed_slots(), Instant::now()).ok()?;
        // More could be received if a call under way ended.
        let is_restricted = self.limits.chooses && (!ask.failed || ask.most < free);
        (is_closed && !is_restricted).then_some(ask)
    }

    fn failed_slots(&self) -> FailedSlots {
        let all = self.wanted();
        FailedSlots {
            free: FailedSlots::of(all).saturating_sub(self.failed.load(Ordering::Relaxed)),
            found: self.found_failed.load(Ordering::Relaxed),
            single: all == 1,
            chooses: self.limits.chooses,
        }
    }

    /// What a request found decides what the next one is for.
    pub(crate) fn found<R>(&self, asked: &Ask, deliveries: &[Delivery<R>]) {
        let found = self.failed_slots().finds(asked, deliveries.iter().any(has_failed));
        self.found_failed.store(found, Ordering::Relaxed);
    }

    /// `stop`: that of the consumer.
    pub(crate) fn probing(self: &Arc<Self>, probe: Probe, stop: &CancellationToken) -> Probing {
        Probing { slots: Arc::clone(self), probe, called: false, stop: stop.clone() }
    }

    /// Gives each delivery its slot. No more is received than can start at once. But a queue that can't choose may return more
    /// deliveries that have failed than there are slots for.
    pub(crate) fn admit<R>(
        self: &Arc<Self>,
        received: Vec<Delivery<R>>,
        permits: Permits,
        asked: &Ask,
        mut probing: Option<Probing>,
    ) -> Received<R> {
        let mut room = asked.failed_most;
        let (deliveries, crowded_out): (Vec<_>, Vec<_>) = received.into_iter().partition(|delivery| {
            let fits = !has_failed(delivery) || room > 0;
            room -= usize::from(fits && has_failed(delivery));
            fits
        });
        let slot = |permit| {
            let (slots, probing) = (Arc::clone(self), probing.take());
            Slot { slots, probing, again: None, was_closed: true, _permit: permit }
        };
        let slots = permits.into_iter().take(deliveries.len()).map(slot).collect();
        Received { deliveries, slots, crowded_out }
    }
}

fn has_failed<R>(delivery: &Delivery<R>) -> bool {
    delivery.attempt > 1
}

/// The slot of one delivery under way, until this is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    probing: Option<Probing>,
    again: Option<FailedUnderWay>,
    was_closed: bool,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// From here on it is counted, if it has failed before.
    pub(crate) fn takes<R>(&mut self, delivery: &Delivery<R>) {
        self.again = has_failed(delivery).then(|| {
            self.slots.failed.fetch_add(1, Ordering::Relaxed);
            FailedUnderWay(Arc::clone(&self.slots))
        });
    }

    /// Its call may begin. Returns whether it is the probe.
    pub(crate) fn begins(&mut self) -> bool {
        self.was_closed = self.slots.circuit.is_closed();
        self.probing.as_mut().map(|probing| probing.called = true).is_some()
    }

    /// Its call has ended: the next one may begin before this one is recorded.
    pub(crate) fn ends(&mut self) {
        drop((self.probing.take(), self.again.take()));
        self.slots.resize();
        match (self.was_closed, self.slots.circuit.is_closed()) {
            (false, true) => self.slots.loosened.notify_one(),
            (true, false) => self.slots.opened.notify_one(),
            _ => return,
        }
        self.slots.braking.nudge();
    }
}

/// The probe, until it was called, or until it is known that none came.
pub(crate) struct Probing {
    slots: Arc<Slots>,
    probe: Probe,
    called: bool,
    stop: CancellationToken,
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.slots.circuit.with(|breaker| breaker.probed(self.probe, self.called, Instant::now()));
        if self.called {
            self.slots.loosened.notify_one();
        }
        // A receiver whose probe came to no call asks again by itself, and a wake-up would end its next request at once. After
        // its stop, only the next consumer can ask.
        if self.called || self.stop.is_cancelled() {
            self.slots.braking.nudge();
        }
    }
}

/// A delivery that has failed before is under way, until this is dropped.
struct FailedUnderWay(Arc<Slots>);

impl Drop for FailedUnderWay {
    fn drop(&mut self) {
        self.0.failed.fetch_sub(1, Ordering::Relaxed);
        self.0.loosened.notify_one();
    }
}
