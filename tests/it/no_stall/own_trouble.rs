//! Trouble of one database, consumer or delivery stays there, and the process goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox::Entry;
use outbox_event::EventId;
use outbox_postgres::queue::{Bell, PostgresQueue};
use outbox_postgres::{Beside, PostgresDedup, SESSION};
use outbox_runtime::Started;
use outbox_transport::{
    Dedup, DedupError, Delivery, Lease, LeaseAnswer, Limits, Outcome, Queue, QueueError, Recorded, Released,
    Unsettled, Wanted,
};
use outbox_worker::rpc::{Call, CallError, Client, RpcClient};
use outbox_worker::{Consumer, Subscriber};
use testkit::process::Process;
use testkit::scrape;
use tokio_util::sync::CancellationToken;

use crate::world::{One, PATIENCE, ROUTER, World, programs, until};

/// Guards promises 6 and 8: of three databases one has no schema and one is down. The worker delivers from the third. It
/// names the database without a schema and the remedy, and delivers from it once that is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_schema_is_its_own_trouble() {
    let mut good = World::new(ROUTER).await;
    let mut bad = good.beside(ROUTER).await;
    good.relay();
    bad.execute("alter schema outbox rename to outbox_gone").await;
    let sources = format!("good={} bad={} away=postgres://nobody@127.0.0.1:1/nowhere", good.url, bad.url);
    let mut worker = worker(&good, &sources);
    let addr = scrape::addr(&mut worker).await.unwrap();
    let said = worker.wait_for("not delivering: the database can't be used as it is").await.unwrap();
    assert!(
        said.contains("bad") && said.contains("relay migrate") && said.contains("retry_in_seconds"),
        "{said}"
    );
    let one = good.publish(One { n: 1 }).await;
    good.rpcs.until_done("Test/One", &[one]).await;

    let (status, reasons) = scrape::get(&addr, "/readyz").await.unwrap();
    let expected =
        "bad: can't be worked on: the database has no outbox schema: run `relay migrate` against it once";
    assert!(status == 503 && reasons.lines().any(|line| line == expected), "{status} {reasons}");
    for (source, usable) in [("good", 1), ("bad", 0), ("away", 1)] {
        let expected = format!("outbox_source_usable{{source=\"{source}\"}} {usable}");
        let metrics = scrape::get(&addr, "/metrics").await.unwrap().1;
        assert!(metrics.lines().any(|line| line == expected), "{expected}: {metrics}");
    }

    bad.execute("alter schema outbox_gone rename to outbox").await;
    bad.relay();
    let other = bad.publish(One { n: 2 }).await;
    good.rpcs.until_done("Test/One", &[other]).await;
    let (_, reasons) = scrape::get(&addr, "/readyz").await.unwrap();
    assert!(!reasons.contains("can't be worked on"), "{reasons}");
    assert!(worker.stop().await.unwrap().success());
    bad.finish().await;
    good.finish().await;
}

/// Guards: the worker exits with 3 once it has found every database unusable, and names the remedy for each. It also notices
/// a database that becomes unusable while it runs, because an older copy was restored.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_when_no_database_can_be_used() {
    let first = World::new(ROUTER).await;
    let second = first.beside(ROUTER).await;
    let third = first.beside(ROUTER).await;
    first.execute("alter schema outbox rename to outbox_gone").await;
    second.execute("update outbox.migration set version = 99 where version = (select max(version) from outbox.migration)").await;
    second.execute("drop function outbox.schema_compatible_from()").await;
    let sources = format!("first={} second={} third={}", first.url, second.url, third.url);
    let mut worker = worker(&first, &sources);
    worker.wait_for("delivering source=\"third\"").await.unwrap();
    third.execute("alter schema outbox rename to outbox_gone").await;
    let (mut said, mut line) = (String::new(), worker.line().await);
    while let Some(next) = line {
        said.push_str(&next);
        said.push('\n');
        line = worker.line().await;
    }
    assert_eq!(worker.ended().await.unwrap().code(), Some(3), "{said}");
    for expected in
        ["first: the database has no outbox schema", "second: ", "version 99", "third: the database has no"]
    {
        assert!(said.lines().any(|line| line.contains("can't go on") && line.contains(expected)), "{said}");
    }
    third.finish().await;
    second.finish().await;
    first.finish().await;
}

fn worker(world: &World, sources: &str) -> Process {
    let router = world.router_file.display().to_string();
    let env = [
        ("OUTBOX_SOURCES", sources),
        ("OUTBOX_METRICS_ADDR", "127.0.0.1:0"),
        ("OUTBOX_ROUTER", router.as_str()),
        ("OUTBOX_VISIBILITY", "2s"),
    ];
    let endpoints = world.endpoints();
    let args = endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]);
    Process::start(&programs().join("worker"), args, &env).unwrap()
}

/// Panics for one payload.
#[derive(Clone)]
struct Panics {
    client: Client,
    /// A part of the payload.
    at: &'static str,
}

impl RpcClient for Panics {
    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        assert!(!call.event.payload.get().contains(self.at), "what a bug");
        self.client.call(call).await
    }
}

/// Guards promises 2 and 6: a delivery that panics is retried and dead-lettered like one that fails, and keeps no slot. Its
/// neighbours in the batch are called once and recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_one_call_is_that_deliverys_own() {
    let router = "event:\n  - name: event_one\n    subscriber:\n      - { id: Test/Panicky, concurrency: 2, max_attempts: 3, backoff: { min: 10ms, max: 20ms } }\n";
    let mut world = World::new(router).await;
    world.relay();
    let client = Panics { client: world.client(), at: r#"{"n":13}"# };
    // So long that only settled deliveries are done in time.
    world.worker_that_calls(client, world.source.clone(), 10 * PATIENCE);
    let ids = world.publish_all((10..20).map(|n| Entry::new(One { n }))).await;
    let good: Vec<EventId> = ids.iter().copied().filter(|id| *id != ids[3]).collect();
    world.rpcs.until_done("Test/Panicky", &good).await;
    world.until("select exists (select from outbox.dead_letter)").await;
    world.until_settled().await;
    let (id, code, reason, attempts): (uuid::Uuid, String, String, i32) =
        sqlx::query_as("select event_id, code, reason, attempts from outbox.dead_letter")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!((id, code.as_str(), attempts), (ids[3].as_uuid(), "worker_panic", 3), "{reason}");
    assert!(reason.contains("the worker panicked") && !reason.contains("what a bug"), "{reason}");
    assert_eq!(world.rpcs.calls().len(), good.len());
    let metrics = crate::world::metrics().render();
    let labels = format!("source=\"{}\",rpc=\"Test/Panicky\"", world.source.name());
    for line in [
        format!("outbox_worker_in_flight{{{labels}}} 0"),
        format!("outbox_worker_deliveries_total{{{labels},outcome=\"retry\",code=\"worker_panic\"}} 2"),
        format!("outbox_worker_deliveries_total{{{labels},outcome=\"dead\",code=\"worker_panic\"}} 1"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    world.finish().await;
}

/// The database's queue and record, which panic once in the chosen operation.
struct Faulty<T> {
    real: Arc<T>,
    receive: Arc<AtomicBool>,
    record: Arc<AtomicBool>,
}

impl Queue for Faulty<PostgresQueue> {
    type Receipt = outbox_postgres::queue::Receipt;

    async fn receive(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<Self::Receipt>>, QueueError> {
        let received = self.real.receive(wanted, stop).await;
        assert!(!self.receive.swap(false, Ordering::SeqCst), "a bug while receiving");
        received
    }

    async fn settle(&self, settled: &[(Self::Receipt, Outcome)]) -> Vec<Result<(), Unsettled>> {
        self.real.settle(settled).await
    }

    async fn extend(&self, receipts: &[Self::Receipt]) -> Result<(), QueueError> {
        self.real.extend(receipts).await
    }

    fn limits(&self) -> Limits {
        self.real.limits()
    }
}

impl Dedup for Faulty<PostgresDedup> {
    async fn lease(&self, events: &[EventId]) -> Result<Vec<LeaseAnswer>, DedupError> {
        self.real.lease(events).await
    }

    async fn complete(&self, leases: &[Lease]) -> Vec<Result<Recorded, Unsettled>> {
        assert!(!self.record.swap(false, Ordering::SeqCst), "a bug while recording");
        self.real.complete(leases).await
    }

    async fn release(&self, released: &[Released]) -> Vec<Result<(), Unsettled>> {
        self.real.release(released).await
    }
}

/// Guards promises 2, 3 and 6: a consumer whose receiver or settler panicked is started again and goes on. An unrecorded
/// success is not called again, though its lease has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_one_consumer_is_its_own() {
    let router = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 3s }]\n";
    let mut world = World::new(router).await;
    world.relay();
    let (receive, record) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    // A success is remembered for as long beyond its lease: on a busy machine a message is late.
    let (stop, visibility) = (CancellationToken::new(), Duration::from_secs(5));
    let (rpc, policy) = world.router.rpcs().map(|(rpc, policy)| (rpc.clone(), *policy)).next().unwrap();
    let connections = world.source.connections("test", &SESSION, 8);
    let lease = policy.timeout + visibility;
    let started = Started::default();
    let part = started.readiness.part("consumer");
    let running = {
        let (source, client, stop) = (world.source.clone(), world.client(), stop.clone());
        let (receive, record) = (Arc::clone(&receive), Arc::clone(&record));
        async move {
            let (bell, beside) = (Bell::new([&rpc]), Beside::of(connections.clone()));
            let subscriber = Subscriber::new("test", (&rpc, &policy), client, visibility, true, &started);
            let consumer = || {
                let queue = PostgresQueue::new(connections.clone(), bell.of(&rpc), "test", visibility, lease);
                let dedup = PostgresDedup::new(connections.clone(), &rpc, lease);
                let (receive, record) = (Arc::clone(&receive), Arc::clone(&record));
                let faulty = (Arc::clone(&receive), Arc::clone(&record));
                let queue = Faulty { real: Arc::new(queue), receive, record };
                let dedup = Faulty { real: Arc::new(dedup), receive: faulty.0, record: faulty.1 };
                Consumer::new(&subscriber, Arc::new(queue), dedup)
            };
            let give_up = CancellationToken::new();
            let delivering =
                outbox_runtime::again("consumer", &part, &stop, || consumer().run(&stop, &give_up));
            let (finished, ()) =
                tokio::join!(delivering, bell.run(&source, (&connections, &beside), &part, &stop));
            finished
        }
    };
    let running = tokio::spawn(running);
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(world.publish(One { n }).await);
    }
    world.rpcs.until_done("Test/One", &ids).await;
    world.until("select count(*) = 20 from outbox.done").await;
    world.until_settled().await;
    assert!(![receive, record].iter().any(|told| told.load(Ordering::SeqCst)), "both have panicked");
    // A call that the panic cut off may have had its effect: that is the gap between effect and record.
    world.rpcs.forget();
    stop.cancel();
    let finished = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!(finished, Some(outbox_runtime::Finished::All));
    world.finish().await;
}

/// Guards: SIGHUP, which a closed terminal sends, too, ends neither relay nor worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_ends_no_process() {
    let world = World::new(ROUTER).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    relay.wait_for("leading").await.unwrap();
    worker.wait_for("delivering").await.unwrap();
    for process in [&mut relay, &mut worker] {
        process.signal("HUP").unwrap();
        process.wait_for("SIGHUP: read event_router.yaml again").await.unwrap();
    }
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    assert!(relay.stop().await.unwrap().success() && worker.stop().await.unwrap().success());
    until("it is done", async || world.rpcs.calls_of(id).len() == 1).await;
    world.finish().await;
}
