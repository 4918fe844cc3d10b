//! Receiving: one receiver watches its queue, and others help it while batches are full. So an idle queue costs one long
//! poll at a time, and a busy one is not limited to one request's round trip. On AWS an idle queue costs nothing while
//! another worker watches it (`duty.rs`).

mod helper;

use std::sync::Arc;
use std::time::Duration;

use outbox_runtime::{Chain, Part};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ask::Ask;
use crate::duty::{Duty, Role, Work};
use crate::metrics::Metrics;
use crate::rate::Rate;
use crate::slots::{Received, Slots};
use outbox_transport::{Delivery, Queue, QueueError, Wanted};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A receive that takes this long waits for messages.
const QUIET: Duration = Duration::from_secs(5);
/// How long nothing is received after the dedup record did not answer.
const BLIND_MIN: Duration = Duration::from_millis(500);
const BLIND_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Receiver<Q: Queue> {
    queue: Arc<Q>,
    slots: Arc<Slots>,
    duty: Duty,
    /// Whether the last receive of the watching receiver found messages.
    found: bool,
    metrics: Metrics,
    part: Part,
    stop: CancellationToken,
    /// How many batches in a row were full, for the helpers.
    full: watch::Sender<usize>,
    /// The number of a helper; zero is the watching receiver.
    nth: usize,
    /// Only the watching receiver has it. It follows the policy, and what an operator set.
    rate: Option<Rate>,
    /// The next pause after an error, and after the record did not answer.
    wait: Duration,
    blind: Duration,
}

impl<Q: Queue> Receiver<Q> {
    pub(crate) fn new(
        queue: &Arc<Q>,
        slots: &Arc<Slots>,
        duty: Duty,
        metrics: &Metrics,
        part: &Part,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            queue: Arc::clone(queue),
            slots: Arc::clone(slots),
            duty,
            found: false,
            metrics: metrics.clone(),
            part: part.clone(),
            stop: stop.clone(),
            full: watch::Sender::new(0),
            nth: 0,
            rate: None,
            wait: RETRY_MIN,
            blind: BLIND_MIN,
        }
    }

    /// The next batch, which may be empty. `None` at the stop.
    pub(crate) async fn next(&mut self) -> Option<Received<Q::Receipt>> {
        if self.nth > 0 { self.help().await } else { self.keep_watch().await }
    }

    /// Notes whether the dedup record answered for the last batch. If not, receives are useless for a while: a queue may count
    /// each as an attempt, so messages should stay in it.
    pub(crate) async fn asked(&mut self, could_ask: bool) {
        match (could_ask, self.nth) {
            (true, 0) => self.blind = BLIND_MIN,
            (true, _) => {}
            (false, 0) => {
                self.duty.notes(Work::is_away);
                self.pause(self.blind).await;
                self.blind = (self.blind * 2).min(BLIND_MAX);
            }
            (false, _) => _ = self.full.send_replace(0),
        }
    }

    async fn keep_watch(&mut self) -> Option<Received<Q::Receipt>> {
        loop {
            self.rest().await?;
            self.unpaused().await?;
            self.duty.notes(Work::is_crowded);
            let mut permits = self.slots.gather(&self.stop).await?;
            if self.slots.braking.is_paused() {
                continue;
            }
            let now = Instant::now();
            self.rate = Rate::kept(self.rate.take(), self.slots.braking.rate(now), now);
            let ask = match self.slots.ask(permits.len(), &mut self.rate) {
                Ok(ask) => ask,
                Err(until) => {
                    drop(permits);
                    if !self.slots.is_closed() {
                        self.duty.notes(Work::is_away);
                    }
                    self.loosened(until).await;
                    continue;
                }
            };
            let probing = ask.probe.map(|probe| self.slots.probing(probe, &self.stop));
            permits.truncate(ask.most);
            self.duty.notes(if probing.is_some() { Work::is_away } else { Work::asks });
            match self.receive(&ask).await {
                Ok(deliveries) => {
                    self.wait = RETRY_MIN;
                    self.found = !deliveries.is_empty();
                    if probing.is_none() {
                        self.duty.notes(|work, now| work.answered(deliveries.len(), now));
                    }
                    if let Some(rate) = &mut self.rate {
                        rate.began(deliveries.len());
                    }
                    return Some(self.slots.admit(deliveries, permits, &ask, probing));
                }
                Err(error) => {
                    self.found = false;
                    self.duty.notes(Work::is_away);
                    self.failed(&error, self.wait);
                    self.pause(self.wait).await;
                    self.wait = (self.wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Waits while another worker watches the queue. It does not wait after a receive that found messages, or with an open
    /// breaker, which only a call closes. A request under way is never cut off for that, because it may have received
    /// something. Returns `None` at the stop.
    async fn rest(&mut self) -> Option<()> {
        while !self.found && self.duty.role() == Role::Rest && self.slots.is_closed() {
            self.full.send_replace(0);
            self.duty.notes(Work::rests);
            self.part.moves();
            tokio::select! {
                () = self.duty.until(|role| role != Role::Rest) => {}
                () = self.slots.opened.notified() => {}
                () = self.stop.cancelled() => return None,
            }
        }
        Some(())
    }

    /// Waits while an operator's pause lasts. Its messages stay in the queue. Returns `None` at the stop.
    async fn unpaused(&mut self) -> Option<()> {
        while let Some(until) = self.slots.braking.paused_until(Instant::now()) {
            self.full.send_replace(0);
            self.duty.notes(Work::rests);
            self.part.moves();
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.slots.loosened.notified() => {}
                () = self.stop.cancelled() => return None,
            }
        }
        Some(())
    }

    async fn receive(&self, ask: &Ask) -> Result<Vec<Delivery<Q::Receipt>>, QueueError> {
        let limits = self.queue.limits();
        // A request to the queue is ended by a token and not by dropping it, because it may have received something.
        let enough = self.stop.child_token();
        let is_restricted = limits.chooses && (!ask.failed || ask.probe.is_some());
        // Requests are large futures. On the heap, they keep the futures that await them small.
        let mut receiving =
            Box::pin(self.queue.receive(Wanted { most: ask.most, failed: ask.failed }, &enough));
        let (quiet, tightened) = (tokio::time::sleep(QUIET), self.slots.braking.tightened(ask.most));
        tokio::pin!(quiet, tightened);
        let mut is_quiet = false;
        let received = loop {
            tokio::select! {
                received = &mut receiving => break received,
                () = self.slots.loosened.notified(), if is_restricted && !enough.is_cancelled() => enough.cancel(),
                () = &mut tightened, if !enough.is_cancelled() => enough.cancel(),
                () = at(ask.until), if is_restricted && !enough.is_cancelled() => enough.cancel(),
                () = &mut quiet, if !is_quiet => {
                    // There is no error and no message: the queue is empty, or the request hangs.
                    self.part.moves();
                    if self.nth == 0 {
                        self.duty.notes(Work::is_quiet);
                    }
                    is_quiet = true;
                }
            }
        };
        if let Ok(deliveries) = &received {
            let is_full = deliveries.len() == limits.batch_max;
            self.full.send_modify(|full| *full = if is_full { full.saturating_add(1) } else { 0 });
            self.slots.found(ask, deliveries);
        }
        received
    }

    fn failed(&self, error: &QueueError, retry_in: Duration) {
        self.metrics.failed("receive");
        self.part.waits(format!("not receiving: {}", Chain(error)));
        tracing::warn!(rpc = %self.metrics.rpc, error = %Chain(error), retry_in_seconds = retry_in.as_secs_f64(), "not receiving");
    }

    /// Waits until then, until more may be received, or until the stop.
    async fn loosened(&self, until: Option<Instant>) {
        tokio::select! {
            () = at(until) => {}
            () = self.slots.loosened.notified() => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn pause(&self, duration: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(duration)).await;
    }
}

async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}
