//! The report of this worker, in one database or in the table on AWS.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event_router::Router;
use outbox_runtime::{Halted, Readiness};
use outbox_transport::process::{self, FiveMinutes, Process, Report, RpcReport, Shows, Waits, shortened};
use tokio::time::Instant;

use crate::breaker::Standing;
use crate::duty::Role;
use crate::plan::Plans;
use crate::rpc::{RpcClient, Serves};
use crate::served::Served;
use crate::subscriber::Subscriber;

/// A shorter wait is normal.
const HALTED_AFTER: Duration = Duration::from_secs(3);

/// Looks at the consumers of this worker again and again.
pub(crate) struct Look<'a, C> {
    pub(crate) process: Process,
    pub(crate) readiness: &'a Readiness,
    /// The database whose parts are reported. `None` for all parts.
    pub(crate) source: Option<&'a str>,
    pub(crate) served: &'a Served<C>,
    pub(crate) plans: Plans<C>,
    /// RPCs whose service has no address, and the service.
    pub(crate) unaddressed: Vec<(String, String)>,
    /// Since when each breaker is in its state.
    pub(crate) since: BTreeMap<String, (process::Breaker, DateTime<Utc>)>,
    /// What the last look found.
    pub(crate) news: Option<u64>,
}

impl<C: RpcClient + Clone> Look<'_, C> {
    fn follow(&mut self) {
        if self.process.router.is_none() || self.plans.has_changed().unwrap_or(false) {
            let plan = self.plans.borrow_and_update();
            self.process = self.process.clone().routed_by(&plan.router);
            self.unaddressed = unaddressed(&plan.router, &plan.client);
        }
    }

    fn halted(&self) -> Vec<Halted> {
        self.readiness.halted_of(self.source, HALTED_AFTER)
    }

    fn notes_breakers(&mut self) {
        let served = self.served.lock();
        self.since.retain(|rpc, _| served.iter().any(|subscriber| subscriber.rpc.as_str() == rpc));
        for subscriber in served.iter() {
            let (breaker, _) = standing(subscriber);
            let since = self.since.entry(subscriber.rpc.to_string()).or_insert((breaker, Utc::now()));
            if since.0 != breaker {
                *since = (breaker, Utc::now());
            }
        }
    }
}

impl<C: RpcClient + Clone> Shows for Look<'_, C> {
    /// A worker may have thousands of consumers. So this makes no reports of them.
    fn news(&mut self) -> u64 {
        self.follow();
        let mut news = DefaultHasher::new();
        (self.readiness.is_ready(self.source), &self.process.router, &self.unaddressed).hash(&mut news);
        for halted in self.halted() {
            halted.part.hash(&mut news);
        }
        let (served, now) = (self.served.lock(), Instant::now());
        served.len().hash(&mut news);
        let states = served.iter().map(|subscriber| (subscriber.rpc.as_str(), state(subscriber, now)));
        states.filter(|(_, state)| *state != Default::default()).for_each(|news_of| news_of.hash(&mut news));
        drop(served);
        let news = news.finish();
        if self.news.replace(news) != Some(news) {
            self.notes_breakers();
        }
        news
    }

    fn now(&mut self) -> Process {
        self.follow();
        let served = self.served.lock();
        let rpcs = served.iter().map(|subscriber| {
            let rpc = of_rpc(subscriber, Instant::now());
            let known = self.since.get(&rpc.rpc).filter(|since| since.0 == rpc.breaker);
            RpcReport { breaker_since: Some(known.map_or_else(Utc::now, |since| since.1)), ..rpc }
        });
        // Its consumer may still have to follow the plan.
        let is_served = |rpc: &str| served.iter().any(|subscriber| subscriber.rpc.as_str() == rpc);
        let waiting = self.unaddressed.iter().filter(|(rpc, _)| !is_served(rpc));
        let unaddressed = waiting.map(|(rpc, service)| RpcReport {
            rpc: rpc.clone(),
            unaddressed: Some(service.clone()),
            ..RpcReport::default()
        });
        let rpcs = rpcs.chain(unaddressed).collect();
        drop(served);
        let waits = self.halted().into_iter().map(|halted| Waits {
            part: halted.part,
            reason: shortened(&halted.reason),
            seconds: halted.seconds,
        });
        let ready = self.readiness.is_ready(self.source);
        let report = Report { ready, waits: waits.collect(), rpcs, ..Report::default() };
        Process { report, ..self.process.clone() }
    }
}

/// The RPCs whose queues wait, because nothing says where their service is.
fn unaddressed(router: &Router, client: &impl RpcClient) -> Vec<(String, String)> {
    let waits = router.rpcs().filter(|(rpc, _)| client.serves(rpc) == Serves::Unaddressed);
    waits.map(|(rpc, _)| (rpc.to_string(), router.called(rpc).service().to_owned())).collect()
}

fn standing<C>(subscriber: &Subscriber<C>) -> (process::Breaker, Option<String>) {
    match subscriber.circuit.standing() {
        Standing::Closed => (process::Breaker::Closed, None),
        Standing::Doubted => (process::Breaker::Doubted, None),
        Standing::Away => (process::Breaker::Away, None),
        Standing::Held(reason) => (process::Breaker::Held, Some(reason.to_string())),
    }
}

/// What of an RPC's report is news: its breaker, and whether it is paused, limited, or stands.
fn state<C>(subscriber: &Subscriber<C>, now: Instant) -> (process::Breaker, [bool; 3]) {
    let (paused, limited) =
        (subscriber.braking.paused_until(now).is_some(), subscriber.braking.is_limited(now));
    let is_full = subscriber.calls.under_way() >= subscriber.braking.concurrency(now);
    (standing(subscriber).0, [paused, limited, is_full && of_rpc(subscriber, now).stands()])
}

fn of_rpc<C>(subscriber: &Subscriber<C>, now: Instant) -> RpcReport {
    let look = subscriber.calls.look(now);
    let (breaker, held) = standing(subscriber);
    let measured = subscriber.metrics.measured();
    RpcReport {
        rpc: subscriber.rpc.to_string(),
        breaker,
        breaker_since: None,
        held,
        paused: subscriber.braking.paused_until(now).is_some(),
        limited: subscriber.braking.is_limited(now),
        last_error: look.error,
        failed_in_row: look.failed_in_row,
        succeeded_at: look.succeeded_at,
        fails_often: look.fails_often,
        calls: look.under_way,
        calls_max: subscriber.braking.concurrency(now),
        minute: look.minute,
        five_minutes: Some(FiveMinutes {
            grows_per_second: measured.backlog.grows(now),
            ..look.five_minutes
        }),
        duty: match subscriber.duty.role() {
            Role::Rest => process::Duty::Rest,
            Role::Help => process::Duty::Help,
            Role::Watch => process::Duty::Watch,
        },
        oldest_at: measured.oldest,
        set_aside: measured.set_aside,
        unaddressed: None,
    }
}
