//! What ten workers request from AWS while 300 queues are empty, beside one worker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox_event_router::Router;
use outbox_runtime::Started;
use outbox_worker::aws::Settings;
use outbox_worker::rpc::{Client, Services};
use tokio::task::JoinSet;

use crate::database::until;
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::result::Result;
use crate::row::{Must, Row};
use crate::stub::Stub;

const QUEUES: usize = 300;
const WORKERS: usize = 10;
/// Each takes five minutes, and counts do not depend on the load of the machine.
const PAIRS: usize = 3;

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let (mut polls, mut all) = (Pairs::default(), Pairs::default());
    for _ in 0..plan.count(PAIRS, 1) {
        let (ten, one) = (requested(plan, WORKERS).await?, requested(plan, 1).await?);
        polls.push(ten.polls, one.polls);
        all.push(ten.all, one.all);
    }
    let row = |pairs: &Pairs, unit| {
        let row = Row::of_pairs("quiet_queues", unit, pairs).with("queues", QUEUES).with("workers", WORKERS);
        row.with("beside", "one worker")
    };
    Ok(vec![row(&polls, "long polls/s").must(Must::RatioAtMost(1.1)), row(&all, "requests/s")])
}

/// Requests per second.
struct Requested {
    polls: f64,
    all: f64,
}

/// Workers in this process, on a stub of their own.
async fn requested(plan: &Plan, workers: usize) -> Result<Requested> {
    let stub = Stub::start("BenchService/Take").await?;
    stub.polls_last(plan.seconds(20, 2));
    let mut yaml = "event:\n".to_owned();
    for n in 0..QUEUES {
        yaml += &format!("  - name: 'event_{n}'\n    subscriber: [{{ id: 'BenchService/Quiet{n}' }}]\n");
    }
    let router = Router::parse("bench.yaml", &yaml).map_err(|report| report.to_string())?;
    let endpoint = format!("BenchService={}", stub.endpoint).parse()?;
    let services = Services {
        endpoints: &[endpoint],
        encodings: &[],
        contract: None,
        header_prefixes: &[],
        ..Services::default()
    };
    let (started, mut running) = (Started::default(), JoinSet::new());
    for _ in 0..workers {
        let settings = Settings {
            name: "bench".to_owned(),
            queue_prefix: "bench-".to_owned(),
            dedup_table: "bench".to_owned(),
            visibility: Duration::from_secs(30),
            roster_every: plan.seconds(10, 1),
        };
        let client = Client::new(&router, &services)?;
        let (config, router, started) = (stub.config(), router.clone(), started.clone());
        running.spawn(async move {
            outbox_worker::aws::run(&config, &router, &client, &settings, &started).await
        });
    }
    // Opening so many queues in one process takes long.
    until("as many polls as there are receivers", Duration::from_secs(300), async || {
        Ok(stub.asked.polls.load(Ordering::Relaxed) >= workers * QUEUES)
    })
    .await?;
    // At first each worker receives from every queue, until it has seen the others twice and its long polls have ended.
    tokio::time::sleep(plan.seconds(60, 15)).await;
    let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as f64;
    let counts = || (read(&stub.asked.polls), read(&stub.asked.requests));
    let (time, before) = (plan.seconds(80, 8), counts());
    tokio::time::sleep(time).await;
    let after = counts();
    started.stop.cancel();
    while running.join_next().await.is_some() {}
    let seconds = time.as_secs_f64();
    Ok(Requested { polls: (after.0 - before.0) / seconds, all: (after.1 - before.1) / seconds })
}
