//! The RPCs that a worker serves from one source, and how their consumers follow a new plan. Consumers of unchanged RPCs go on.
//! One whose policy changed is replaced: the old consumer receives nothing more and finishes its calls, while the new one
//! begins. Both together run no more calls than the new `concurrency`, or than were under way. A consumer of a removed RPC
//! finishes its calls.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Duration;

use outbox_event_router::{Policy, Router, Rpc};
use outbox_runtime::{Finished, Guarded, Started};
use outbox_transport::Braked;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pace::Pace;
use crate::plan::{Plan, Plans};
use crate::rpc::{RpcClient, Serves};
use crate::subscriber::Subscriber;
use crate::supervise::Stops;

/// The state of each RPC. It outlives consumers and terms.
#[derive(Debug)]
pub(crate) struct Served<C> {
    source: String,
    visibility: Duration,
    pace: Pace,
    chooses: bool,
    started: Started,
    each: Guarded<Vec<Subscriber<C>>>,
    /// What operators set, and when it was read last.
    braked: Guarded<Option<(Vec<Braked>, Instant)>>,
}

/// What a new router means for the consumer of an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Begins,
    Stays,
    IsReplaced,
}

/// Pure: the served RPCs of a new router, each with its policy and what becomes of its consumer. An RPC that is not among them
/// ends. `serves`: an RPC without an address has no consumer.
fn changes<'r>(
    before: &BTreeMap<Rpc, Policy>,
    router: &'r Router,
    pace: Pace,
    serves: impl Fn(&Rpc) -> bool,
) -> Vec<(&'r Rpc, Policy, Change)> {
    let change = |(rpc, policy)| match (before.get(rpc), pace.policy(policy)) {
        (None, policy) => (rpc, policy, Change::Begins),
        (Some(same), policy) if *same == policy => (rpc, policy, Change::Stays),
        (Some(_), policy) => (rpc, policy, Change::IsReplaced),
    };
    router.rpcs().filter(|(rpc, _)| serves(rpc)).map(change).collect()
}

impl<C: RpcClient + Clone> Served<C> {
    /// Serves nothing until it follows a plan. `chooses`: see [`outbox_transport::Limits`].
    pub(crate) fn new(
        source: &str,
        (visibility, pace): (Duration, Pace),
        chooses: bool,
        started: &Started,
    ) -> Self {
        let (source, started) = (source.to_owned(), started.clone());
        let (each, braked) = (Guarded::default(), Guarded::default());
        Self { source, visibility, pace, chooses, started, each, braked }
    }

    /// As [`Served::new`], and follows the newest plan at once.
    pub(crate) fn by(
        plans: &Plans<C>,
        source: &str,
        times: (Duration, Pace),
        chooses: bool,
        started: &Started,
    ) -> Self {
        let served = Self::new(source, times, chooses, started);
        served.follow(&plans.borrow());
        served
    }

    /// Not across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Subscriber<C>>> {
        self.each.lock()
    }

    pub(crate) fn all(&self) -> Vec<Subscriber<C>> {
        self.each.lock().clone()
    }

    pub(crate) fn rpcs(&self) -> Vec<Rpc> {
        self.each.lock().iter().map(|subscriber| subscriber.rpc.clone()).collect()
    }

    /// Returns the RPCs whose consumers go on as they are. All others must end, and begin if they are still served.
    fn follow(&self, plan: &Plan<C>) -> Vec<Rpc> {
        let mut each = self.each.lock();
        let mut former: BTreeMap<Rpc, Subscriber<C>> =
            each.drain(..).map(|subscriber| (subscriber.rpc.clone(), subscriber)).collect();
        let policies = former.iter().map(|(rpc, subscriber)| (rpc.clone(), subscriber.policy)).collect();
        let serves = |rpc: &Rpc| plan.client.serves(rpc) == Serves::Yes;
        let (braked, mut stay) = (self.braked.lock(), Vec::new());
        for (rpc, policy, change) in changes(&policies, &plan.router, self.pace, serves) {
            let client = plan.client.clone();
            each.push(match (change, former.remove(rpc)) {
                (Change::Stays, Some(subscriber)) => {
                    stay.push(rpc.clone());
                    subscriber.client.set(client);
                    subscriber
                }
                (_, Some(subscriber)) => subscriber.under(&policy, client),
                (_, None) => {
                    let rpc = (rpc, &policy);
                    let (source, visibility) = (&self.source, self.visibility);
                    let mut new =
                        Subscriber::new(source, rpc, client, visibility, self.chooses, &self.started);
                    new.pace = self.pace;
                    if let Some((all, read_at)) = &*braked {
                        new.braking.set(all, *read_at);
                    }
                    new
                }
            });
        }
        stay
    }

    /// Takes what operators set, for those that are served now, and for those that a plan brings later. `None` if it could not
    /// be read: what is known holds until its end.
    pub(crate) fn brake(&self, read: Option<Vec<Braked>>) {
        let (each, now) = (self.each.lock(), Instant::now());
        for Subscriber { braking, .. } in each.iter() {
            if let Some(all) = &read {
                braking.set(all, now);
            }
            braking.shows(now);
        }
        if let Some(all) = read {
            *self.braked.lock() = Some((all, now));
        }
    }

    fn serves(&self, rpc: &Rpc) -> bool {
        self.each.lock().iter().any(|subscriber| subscriber.rpc == *rpc)
    }
}

/// Runs a consumer for each RPC until `stop`, and follows each new plan. `begin` runs one until its own stop. `changed` is
/// called after each change of the RPCs that are served.
pub(crate) async fn consumers<C: RpcClient + Clone, F>(
    served: &Served<C>,
    mut plans: Plans<C>,
    (stop, give_up): (&CancellationToken, &CancellationToken),
    begin: impl Fn(Subscriber<C>, Stops) -> F,
    changed: impl Fn(),
) -> Finished
where
    F: Future<Output = Finished> + Send + 'static,
{
    let (mut running, mut all) = (JoinSet::new(), Finished::All);
    let mut stops: BTreeMap<Rpc, CancellationToken> = BTreeMap::new();
    let plan = plans.borrow_and_update().clone();
    served.follow(&plan);
    changed();
    loop {
        for subscriber in served.all() {
            if stops.contains_key(&subscriber.rpc) {
                continue;
            }
            let own = stop.child_token();
            stops.insert(subscriber.rpc.clone(), own.clone());
            let stops = Stops { stop: own, ending: stop.clone(), give_up: give_up.clone() };
            let run = begin(subscriber.clone(), stops);
            running.spawn(async move { (run.await, subscriber) });
        }
        tokio::select! {
            Some(ended) = running.join_next() => {
                let Ok((finished, subscriber)) = ended else {
                    all = Finished::NotAll;
                    continue;
                };
                all = all.and(finished);
                if !served.serves(&subscriber.rpc) {
                    subscriber.ends();
                }
            }
            Ok(()) = plans.changed() => {
                let plan = plans.borrow_and_update().clone();
                let stay = served.follow(&plan);
                let before = stops.len();
                stops.retain(|rpc, own| {
                    let stays = stay.contains(rpc);
                    if !stays {
                        own.cancel();
                    }
                    stays
                });
                let (ended, begin) = (before - stops.len(), served.rpcs().len() - stay.len());
                changed();
                tracing::info!(source = served.source, stay = stay.len(), ended, begin, "the consumers follow event_router.yaml");
            }
            () = stop.cancelled() => break,
        }
    }
    while let Some(ended) = running.join_next().await {
        all = all.and(ended.map_or(Finished::NotAll, |(finished, _)| finished));
    }
    // No consumer is left that could record them, and a later term may call again.
    for Subscriber { unrecorded, .. } in served.all() {
        unrecorded.orphaned(Instant::now());
    }
    all
}
