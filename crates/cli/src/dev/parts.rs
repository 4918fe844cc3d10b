//! Relay and worker within this process. When a file changes, new ones take their place.

use std::sync::Arc;
use std::time::Duration;

use outbox_postgres::{PostgresBus, Source};
use outbox_relay::bus::Bus;
use outbox_runtime::{Halted, Standing, Started, Tracer, process_name};
use outbox_worker::Pace;
use tokio::task::JoinHandle;

use super::show::Show;
use super::watched::Watched;
use super::wiring::Wiring;

/// No developer waits longer for an event.
const PACE: Pace =
    Pace { wait_max: Some(Duration::from_secs(1)), absent_wait: Some(Duration::from_millis(300)) };
const VISIBILITY: Duration = Duration::from_secs(30);
const PAGE_MAX: usize = 1000;
const RETENTION: Duration = Duration::from_secs(24 * 3600);
const FALLBACK: Duration = Duration::from_secs(1);
/// The relay that takes the place of another one begins when that one has ended.
const STEPPED_DOWN_WITHIN: Duration = Duration::from_secs(2);
/// At the end, calls under way get this time, and then this time again to be given back.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// A shorter trouble with the database is normal, as at the start.
const HALTED_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Parts {
    source: Source,
    show: Arc<Show>,
    now: Pair,
    /// Workers of older files, until their last calls have ended.
    former: Vec<Pair>,
}

#[derive(Debug)]
struct Pair {
    started: Started,
    /// `None` once it was waited for: a task can't be waited for twice.
    relay: Option<JoinHandle<()>>,
    worker: JoinHandle<()>,
}

impl Parts {
    pub(super) fn start(source: Source, wiring: &Wiring, show: Arc<Show>) -> Self {
        let now = Pair::start(&source, wiring, &show);
        Self { source, show, now, former: Vec::new() }
    }

    /// The old worker receives nothing more, and finishes its calls.
    pub(super) async fn replace(&mut self, wiring: &Wiring) {
        self.now.started.stop.cancel();
        if let Some(relay) = self.now.relay.take() {
            let _ = tokio::time::timeout(STEPPED_DOWN_WITHIN, relay).await;
        }
        let next = Pair::start(&self.source, wiring, &self.show);
        self.former.push(std::mem::replace(&mut self.now, next));
        self.former.retain(|pair| !pair.worker.is_finished());
    }

    /// What does not work with the database, and since when.
    pub(super) fn halted(&self) -> Vec<Halted> {
        self.now.started.readiness.halted(HALTED_AFTER)
    }

    pub(super) async fn stop(self) {
        let pairs: Vec<Pair> = self.former.into_iter().chain([self.now]).collect();
        for pair in &pairs {
            pair.started.stop.cancel();
        }
        let give_up: Vec<_> = pairs.iter().map(|pair| pair.started.give_up.clone()).collect();
        let mut ended = std::pin::pin!(async {
            for pair in pairs {
                for task in pair.relay.into_iter().chain([pair.worker]) {
                    let _ = task.await;
                }
            }
        });
        if tokio::time::timeout(ENDED_WITHIN, &mut ended).await.is_err() {
            give_up.iter().for_each(|give_up| give_up.cancel());
            let _ = tokio::time::timeout(ENDED_WITHIN, ended).await;
        }
    }
}

impl Pair {
    fn start(source: &Source, wiring: &Wiring, show: &Arc<Show>) -> Self {
        let started = Started::default();
        let relay = Some(tokio::spawn(relay(source.clone(), wiring, &started)));
        let client = Watched {
            client: wiring.client.clone(),
            router: Arc::new(wiring.router.clone()),
            services: Arc::new(wiring.services.clone()),
            show: Arc::clone(show),
        };
        let (source, router, shared) = (source.clone(), wiring.router.clone(), started.clone());
        let worker = tokio::spawn(async move {
            // At its end a worker gives back what its name has claimed, so each has its own.
            let settings = outbox_worker::postgres::Settings {
                name: process_name(),
                visibility: VISIBILITY,
                pace: PACE,
            };
            let standing = Standing::alone(&shared.readiness, "delivering", source.name());
            outbox_worker::postgres::run(&source, &router, &client, &settings, &standing, &shared).await;
        });
        Self { started, relay, worker }
    }
}

fn relay(source: Source, wiring: &Wiring, started: &Started) -> impl Future<Output = ()> + use<> {
    let settings = outbox_relay::relay::Settings {
        name: process_name(),
        page_max: PAGE_MAX,
        retention: RETENTION,
        fallback: FALLBACK,
        tracer: Tracer::default(),
        router: None,
        address: None,
    };
    let bus = Bus::from(PostgresBus::new(source.name(), wiring.router.clone()));
    let standing = Standing::alone(&started.readiness, "relaying", source.name());
    outbox_relay::relay::run(source, bus, settings, standing, started.stop.clone())
}
