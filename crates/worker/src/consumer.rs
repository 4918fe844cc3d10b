//! One RPC's consumer. Consumers share only the database's connections, so a slow or dead RPC affects only its own consumer.
//!
//! The life of a delivery: **receive** a batch, as large as slots, rate and circuit breaker allow (`receive.rs`).
//! Read each message once, and **lease** its event in the dedup record: the right to call it (`lease.rs`). **Call** the RPC for
//! each event whose lease is ours, and **decide** by the answer what becomes of it, one [`Outcome`] (`deliver.rs`,
//! `decide.rs`).
//! **Settle** it: record a success or give the lease back, and only then settle it in the queue (`settle.rs`).
//!
//! A worker may die between any two of these steps:
//!
//! | it dies after | what becomes of the delivery |
//! |---|---|
//! | receive | its message comes back when its visibility ends |
//! | lease | it comes back, and is called once the lease has ended |
//! | call | it is called again once the lease has ended: its RPC must tolerate that |
//! | decide | the same: nothing is written yet |
//! | settle, in the record | a success comes back and is found done: no call. A failure is called again |
//! | settle, in the queue | nothing is left to do |

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use outbox_runtime::{Finished, Panicked, apart, caught};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::decide::crowded_wait;
use crate::deliver::Deliverer;
use crate::in_flight::{InFlight, Tracked};
use crate::lease::Leasing;
use crate::receive::Receiver;
use crate::rpc::RpcClient;
use crate::settle::{Decided, Settler};
use crate::slots::Slots;
use crate::subscriber::Subscriber;
use outbox_transport::{Again, Dedup, Delivery, Lease, Outcome, Queue};

/// At a stop, the outcomes of the last calls are recorded within this time, or not at all.
const RECORDED_WITHIN: Duration = Duration::from_secs(8);
/// Unfinished deliveries are given back within this time.
const GIVEN_BACK_WITHIN: Duration = Duration::from_millis(1500);

#[derive(Debug)]
pub struct Consumer<Q, D, C> {
    subscriber: Subscriber<C>,
    queue: Arc<Q>,
    dedup: Arc<D>,
    /// When all consumers of the source end, if that is not its own stop.
    ending: Option<CancellationToken>,
}

/// The stages through which a consumer's deliveries pass.
struct Stages<R, D, C> {
    leasing: Leasing<D>,
    deliverer: Deliverer<C>,
    in_flight: Arc<InFlight<R>>,
    settle: mpsc::Sender<Decided<R>>,
}

impl<R: Clone + Send + Sync + 'static, D: Dedup, C: RpcClient + Clone> Stages<R, D, C> {
    /// Runs every delivery until the stop. Returns when every call has ended.
    async fn run<Q: Queue<Receipt = R>>(self: Arc<Self>, mut receiver: Receiver<Q>) {
        let mut calls = JoinSet::new();
        while let Some(received) = receiver.next().await {
            for delivery in received.crowded_out {
                self.put_back(delivery).await;
            }
            let (batch, could_ask) = self.leasing.lease(received.deliveries).await;
            while calls.try_join_next().is_some() {}
            for (leased, mut slot) in batch.into_iter().zip(received.slots) {
                slot.takes(&leased.delivery);
                let tracked = self.in_flight.track(leased.delivery.receipt.clone());
                let stages = Arc::clone(&self);
                calls.spawn(async move {
                    let is_probe = slot.begins();
                    let (outcome, lease) = stages.deliverer.deliver(&leased, is_probe).await;
                    slot.ends();
                    stages.settle(leased.delivery, outcome, lease, tracked).await;
                });
            }
            receiver.asked(could_ask).await;
        }
        while calls.join_next().await.is_some() {}
    }

    /// For a delivery that has failed before, and for which no such slot is free.
    async fn put_back(&self, delivery: Delivery<R>) {
        let Deliverer { subscriber, limits, .. } = &self.deliverer;
        let after = crowded_wait(delivery.attempt, &subscriber.policy, limits.chooses);
        let tracked = self.in_flight.track(delivery.receipt.clone());
        let text = "not called: others that have failed, too, take all slots there are for them";
        let outcome = Outcome::retry(Again::Postponed, after, "crowded", text);
        self.settle(delivery, outcome, None, tracked).await;
    }

    async fn settle(
        &self,
        delivery: Delivery<R>,
        outcome: Outcome,
        lease: Option<Lease>,
        tracked: Tracked<R>,
    ) {
        let Subscriber { metrics, unrecorded, calls, .. } = &self.deliverer.subscriber;
        metrics.delivered(&outcome, delivery.attempt);
        calls.decided(&outcome, Instant::now());
        if let Some(lease) = &lease {
            calls.settled(lease.event, delivery.attempt, &outcome);
        }
        if let (Outcome::Done, Some(lease)) = (&outcome, lease) {
            unrecorded.succeeded(lease.event);
        }
        let Delivery { receipt, attempt, .. } = delivery;
        // The settler outlives every call.
        let _ = self.settle.send(Decided { receipt, attempt, outcome, lease, tracked }).await;
    }
}

impl<Q: Queue, D: Dedup, C: RpcClient + Clone> Consumer<Q, D, C> {
    pub fn new(subscriber: &Subscriber<C>, queue: Arc<Q>, dedup: D) -> Self {
        Self { subscriber: subscriber.clone(), queue, dedup: Arc::new(dedup), ending: None }
    }

    /// A consumer that ends before the others has time to record its outcomes, until the others end, too.
    #[must_use]
    pub(crate) fn ending(self, ending: &CancellationToken) -> Self {
        Self { ending: Some(ending.clone()), ..self }
    }

    /// Delivers until `stop`, then finishes the calls under way and records their outcomes. At `give_up` unfinished deliveries
    /// are given back instead. After a panic, deliveries under way come back when their visibility ends.
    pub async fn run(
        self,
        stop: &CancellationToken,
        give_up: &CancellationToken,
    ) -> Result<Finished, Panicked> {
        let Self { subscriber, queue, dedup, ending } = self;
        let ending = ending.as_ref().unwrap_or(stop);
        let [part, records] = subscriber.parts().map(|name| subscriber.readiness.part(name));
        let Subscriber { policy, unrecorded, room, circuit, braking, duty, metrics, .. } = subscriber.clone();
        let (limits, aside, in_flight) = (queue.limits(), Aside::default(), Arc::<InFlight<_>>::default());
        let (decided, decisions) = mpsc::channel(2 * policy.concurrency);
        part.moves();
        // The consumer before this one may have panicked: show its state. What it has not recorded may still be recorded, if it
        // was replaced and finishes its calls: see `Unrecorded::orphaned`.
        circuit.with(|_| ());

        let settler = Settler {
            metrics: metrics.clone(),
            part: records.clone(),
            queue: Arc::clone(&queue),
            dedup: Arc::clone(&dedup),
            unrecorded,
            aside: aside.clone(),
        };
        let slots = Arc::new(Slots::new(limits, circuit, braking, room));
        let receiver = Receiver::new(&queue, &slots, duty, &metrics, &part, stop);
        let visibility = limits.visibility;
        let leasing =
            Leasing { dedup, visibility, metrics: metrics.clone(), part: part.clone(), stop: stop.clone() };
        let deliverer = Deliverer { subscriber, limits, aside, stop: stop.clone(), give_up: give_up.clone() };
        // The settler goes on until this is dropped, too, so it never ends before the calls.
        let open = decided.clone();
        let stages = Arc::new(Stages { leasing, deliverer, in_flight: in_flight.clone(), settle: decided });

        let mut following = pin!(slots.follow(&metrics));
        let mut settling = pin!(apart(settler.run(decisions)));
        let mut extending = pin!(apart(in_flight.extend(metrics.clone(), queue)));
        let mut delivering = pin!(caught(deliver(stages, receiver, policy.concurrency)));
        let delivered = tokio::select! {
            delivered = &mut delivering => delivered.flatten(),
            Err(panicked) = &mut settling => return Err(panicked),
            Err(panicked) = &mut extending => return Err(panicked),
            never = &mut following => match never {},
            () = given_up(give_up) => return Ok(Finished::NotAll),
        };
        let finished = if give_up.is_cancelled() { Finished::NotAll } else { Finished::All };
        drop(open);
        let settled = tokio::select! {
            settled = &mut settling => settled.map(|settled| finished.and(settled)),
            Err(panicked) = &mut extending => Err(panicked),
            () = out_of_time(ending) => Ok(Finished::NotAll),
            () = given_up(give_up) => Ok(Finished::NotAll),
        };
        delivered?;
        // A consumer that ends before the others has a successor, whose parts these are; or else see `Subscriber::ends`.
        if ending.is_cancelled() {
            part.ends();
            records.ends();
        }
        settled
    }
}

/// One receiver watches the queue, and helpers receive beside it.
async fn deliver<Q: Queue, D: Dedup, C: RpcClient + Clone>(
    stages: Arc<Stages<Q::Receipt, D, C>>,
    receiver: Receiver<Q>,
    concurrency: usize,
) -> Result<(), Panicked> {
    let mut helping = JoinSet::new();
    for helper in receiver.helpers(concurrency) {
        helping.spawn(caught(Arc::clone(&stages).run(helper)));
    }
    let mut watching = pin!(stages.run(receiver));
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

/// Returns when the time to record is over.
async fn out_of_time(ending: &CancellationToken) {
    ending.cancelled().await;
    tokio::time::sleep(RECORDED_WITHIN).await;
}

/// Returns when the time to give back is over.
async fn given_up(give_up: &CancellationToken) {
    give_up.cancelled().await;
    tokio::time::sleep(GIVEN_BACK_WITHIN).await;
}
