//! The cost of a dead subscriber for the others: two RPCs on the postgres transport, and one begins to answer `unavailable`,
//! like a proxy without a server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outbox_event_router::Router;
use outbox_postgres::PostgresBus;
use outbox_runtime::{Standing, Started};
use outbox_worker::Pace;
use outbox_worker::postgres::Settings;
use outbox_worker::rpc::{By, Call, CallError, Code, RpcClient};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, number, until};
use crate::pairs::{Pairs, quantile};
use crate::plan::Plan;
use crate::publisher::{Load, now, publish};
use crate::relaying::Relaying;
use crate::result::Result;
use crate::row::{Must, Row};
use crate::wake::{after_commit, all_arrived};

const ROUTER: &str = "
event:
  - name: 'event_well'
    subscriber:
      - id: 'WellService/Take'
  - name: 'event_ill'
    subscriber:
      - id: 'IllService/Take'
";

/// The servers of both RPCs.
#[derive(Debug, Clone, Default)]
struct Servers(Arc<State>);

#[derive(Debug, Default)]
struct State {
    ill: AtomicBool,
    /// The calls of the healthy RPC.
    arrived: Arc<Mutex<HashMap<u64, i64>>>,
    calls: AtomicUsize,
}

impl RpcClient for Servers {
    async fn call(&self, call: &Call<'_>) -> std::result::Result<(), CallError> {
        if call.rpc.service() == "WellService" {
            self.0.calls.fetch_add(1, Ordering::Relaxed);
            if let Some(n) = number(call.event.payload.get()) {
                self.0.arrived.lock().expect("no panic while held").entry(n).or_insert_with(now);
            }
            return Ok(());
        }
        if self.0.ill.load(Ordering::Relaxed) {
            let message = "no healthy upstream".to_owned();
            return Err(CallError { code: Code::Unavailable, message, retry_after: None, by: By::Nobody });
        }
        Ok(())
    }
}

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let (mut p99, mut rate) = (Pairs::default(), Pairs::default());
    let load = Load { per_second: 500.0, connections: 8, lasts: plan.seconds(15, 4) };
    let backlog = plan.count(40_000, 5_000);
    for _ in 0..plan.pairs() {
        let before = others(&database, load, backlog, false).await?;
        let during = others(&database, load, backlog, true).await?;
        p99.push(during.0, before.0);
        rate.push(during.1, before.1);
    }
    let row = |row: Row| row.with("beside", "before it");
    Ok(vec![
        row(Row::of_pairs("dead_target", "ms", &p99))
            .with("events/s", 2.0 * load.per_second)
            .with("quantile", "p99")
            .must(Must::RatioAtMost(1.5)),
        row(Row::of_pairs("dead_target", "deliveries/s", &rate))
            .with("backlog", backlog)
            .must(Must::RatioAtLeast(0.9)),
    ])
}

/// The healthy RPC's p99 in milliseconds from COMMIT's return to its call, with the same load on the other RPC. Then its
/// rate over a backlog of both.
async fn others(database: &Database, load: Load, backlog: usize, ill: bool) -> Result<(f64, f64)> {
    database.empty().await?;
    let servers = Servers::default();
    servers.0.ill.store(ill, Ordering::Relaxed);
    let line = Line::start(database, &servers)?;
    let url = database.url();
    let (well, _) = tokio::try_join!(
        publish(&url, "select outbox.enqueue('event_well', $1)", load),
        publish(&url, "select outbox.enqueue('event_ill', $1)", load),
    )?;
    all_arrived(&servers.0.arrived, well.len()).await?;
    let p99 = quantile(&after_commit(&well, &servers.0.arrived), 0.99);

    let before = servers.0.calls.load(Ordering::Relaxed);
    let calls = || servers.0.calls.load(Ordering::Relaxed) - before;
    // Relay and worker are stopped while the backlog is written.
    line.stop().await?;
    database.fill(2 * backlog, &["event_well".to_owned(), "event_ill".to_owned()]).await?;
    let line = Line::start(database, &servers)?;
    until("the first call", Duration::from_secs(30), async || Ok(calls() > 0)).await?;
    let (began, first) = (Instant::now(), calls());
    until("the last call", Duration::from_secs(120), async || Ok(calls() >= backlog)).await?;
    let rate = (backlog - first) as f64 / began.elapsed().as_secs_f64();
    line.stop().await?;
    Ok((p99, rate))
}

/// Relay and worker.
struct Line {
    relay: Relaying,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Line {
    fn start(database: &Database, servers: &Servers) -> Result<Self> {
        let router = Router::parse("bench.yaml", ROUTER).map_err(|report| report.to_string())?;
        let relay = Relaying::start(&database.source, PostgresBus::new("bench", router.clone()).into());
        let started = Started::default();
        let stop = started.stop.clone();
        let (source, servers) = (database.source.clone(), servers.clone());
        let settings =
            Settings { name: "bench".to_owned(), visibility: Duration::from_secs(30), pace: Pace::default() };
        let worker = tokio::spawn(async move {
            let standing = Standing::alone(&started.readiness, "delivering", source.name());
            outbox_worker::postgres::run(&source, &router, &servers, &settings, &standing, &started).await;
        });
        Ok(Self { relay, stop, worker })
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.worker.await?;
        self.relay.stop().await
    }
}
