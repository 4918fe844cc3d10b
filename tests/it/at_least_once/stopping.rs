//! A planned stop: calls under way are finished, or else given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox::Entry;
use outbox_postgres::PostgresDedup;
use outbox_postgres::SESSION;
use outbox_postgres::queue::{Bell, PostgresQueue, Receipt};
use outbox_runtime::{Finished, Started};
use outbox_transport::{Delivery, Limits, Outcome, Queue, QueueError, Unsettled, Wanted};
use outbox_worker::{Consumer, Subscriber};
use testkit::process::Process;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::world::{One, PATIENCE, World};

const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
        timeout: 4s
        backoff: { min: 10ms, max: 20ms }
  - name: event_two
    subscriber:
      - id: Test/Slow
        timeout: 60s
";

/// The first call of this RPC hangs until it is notified. The others are answered at once.
fn first_hangs(world: &World, rpc: &'static str) -> Arc<Notify> {
    let (go_on, calls) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::clone(&go_on);
    world.rpcs.on(rpc, move |_| {
        let (gate, first) = (Arc::clone(&gate), calls.fetch_add(1, Ordering::SeqCst) == 0);
        Box::pin(async move {
            if first {
                gate.notified().await;
            }
            Ok(())
        })
    });
    go_on
}

async fn rest(process: &mut Process) -> String {
    let mut said = String::new();
    while let Some(line) = process.line().await {
        said.push_str(&line);
        said.push('\n');
    }
    said
}

/// Guards promise 3: a stop waits for a call of eleven seconds, which is finished, recorded, and called once.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_a_long_call_finish() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let go_on = first_hangs(&world, "Test/Slow");
    let mut worker = world.worker_process();
    let id = world.publish(crate::world::Two { n: 1 }).await;
    world.rpcs.until("it is called", |rpcs| rpcs.calls().len() == 1).await;
    worker.signal("TERM").unwrap();
    worker.wait_for("finishing what is in flight").await.unwrap();
    // A worker with a shorter limit for its stop would cut the call off.
    tokio::time::sleep(Duration::from_secs(11)).await;
    go_on.notify_one();
    let said = rest(&mut worker).await;
    assert!(worker.ended().await.unwrap().success(), "{said}");
    world.until("select count(*) = 1 from outbox.done").await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls_of(id).len(), 1);
    world.finish().await;
}

/// Guards promises 2 and 3: a worker gives back a call that it can't wait for, and keeps the lease. The next worker receives
/// it at once, and calls after the lease, when the first call can have no effect any more.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_a_stop_cuts_off_are_given_back() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let _hangs = first_hangs(&world, "Test/One");
    let mut worker = world.worker_process_in(&[], &["--stop-within", "1s"]);
    worker.wait_for("a stop would cut off its longest calls").await.unwrap();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until("it is called", |rpcs| rpcs.calls().len() == 1).await;
    let second = world.worker_process();
    worker.signal("TERM").unwrap();
    let said = rest(&mut worker).await;
    assert_eq!(worker.ended().await.unwrap().code(), Some(1), "{said}");
    assert!(said.contains("not everything in flight was finished"), "{said}");
    let (code, attempts, waits, held): (String, i32, bool, bool) = sqlx::query_as(
        "select r.last_code, r.attempts, r.due_at > clock_timestamp(), d.until > clock_timestamp() and d.done_at is null
         from outbox.retry as r join outbox.dedup as d using (event_id)",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!((code.as_str(), attempts, waits, held), ("worker_stopped", 1, true, true));
    assert!(
        world.scalar::<bool>("select not exists (select from outbox.claim where until is not null)").await
    );
    world.rpcs.until_done("Test/One", &[id]).await;
    let attempts: Vec<u32> = world.rpcs.calls_of(id).iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    second.stop().await.unwrap();
    world.finish().await;
}

/// Guards: a second signal ends a worker that is still finishing, and is logged.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_sooner() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let _hangs = first_hangs(&world, "Test/Slow");
    let mut worker = world.worker_process_in(&[], &["--stop-within", "1h"]);
    let id = world.publish(crate::world::Two { n: 1 }).await;
    world.rpcs.until("it is called", |rpcs| !rpcs.calls_of(id).is_empty()).await;
    worker.signal("INT").unwrap();
    worker.wait_for("a second signal ends sooner").await.unwrap();
    worker.signal("TERM").unwrap();
    let said = rest(&mut worker).await;
    assert!(said.contains("SIGTERM, the second signal: ending now"), "{said}");
    assert_eq!(worker.ended().await.unwrap().code(), Some(1), "{said}");
    world.until("select last_code = 'worker_stopped' from outbox.retry").await;
    world.finish().await;
}

/// The database's queue. It stops its worker in the moment in which the worker has received something.
struct StopsAsItReceives {
    real: PostgresQueue,
    stop: CancellationToken,
}

impl Queue for StopsAsItReceives {
    type Receipt = Receipt;

    async fn receive(
        &self,
        wanted: Wanted,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<Receipt>>, QueueError> {
        let received = self.real.receive(wanted, stop).await;
        self.stop.cancel();
        received
    }

    async fn settle(&self, settled: &[(Receipt, Outcome)]) -> Vec<Result<(), Unsettled>> {
        self.real.settle(settled).await
    }

    async fn extend(&self, receipts: &[Receipt]) -> Result<(), QueueError> {
        self.real.extend(receipts).await
    }

    fn limits(&self) -> Limits {
        self.real.limits()
    }
}

/// Guards promises 2 and 3: a delivery that is received during a stop is not called, and goes back at once. Another worker
/// gets it without waiting for visibility or lease, and no attempt is counted.
#[tokio::test(flavor = "multi_thread")]
async fn unbegun_deliveries_go_back_at_once() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    let ids = world.publish_all((0..3).map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 3 from outbox.delivery").await;
    relay.cancel();
    let (rpc, policy) = world.router.rpcs().map(|(rpc, policy)| (rpc.clone(), *policy)).next().unwrap();
    let (stop, visibility) = (CancellationToken::new(), 10 * PATIENCE);
    let (connections, bell) = (world.source.connections("test", &SESSION, 4), Bell::new([&rpc]));
    let queue = PostgresQueue::new(connections.clone(), bell.of(&rpc), "test", visibility, visibility);
    let subscriber =
        Subscriber::new("test", (&rpc, &policy), world.client(), visibility, true, &Started::default());
    let queue = Arc::new(StopsAsItReceives { real: queue, stop: stop.clone() });
    let consumer = Consumer::new(&subscriber, queue, PostgresDedup::new(connections, &rpc, visibility));
    let finished =
        tokio::time::timeout(PATIENCE, async { consumer.run(&stop, &CancellationToken::new()).await });
    assert_eq!(finished.await.expect("it stops"), Ok(Finished::All));
    assert!(world.rpcs.calls().is_empty(), "the stop had come");
    world
        .until(
            "select count(*) = 3 from outbox.retry as r join outbox.dedup as d using (event_id)
             where r.attempts = 0 and r.last_code = 'stopping' and r.due_at <= clock_timestamp()
               and d.until <= clock_timestamp() and d.done_at is null",
        )
        .await;
    assert!(
        world.scalar::<bool>("select not exists (select from outbox.claim where until is not null)").await
    );
    world.worker();
    world.rpcs.until_done("Test/One", &ids).await;
    assert!(world.rpcs.calls().iter().all(|call| call.attempt == 1));
    world.finish().await;
}
