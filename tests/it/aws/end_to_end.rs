//! From enqueue to RPC on AWS, with the resources that Terraform made.

use connectrpc::ConnectError;
use outbox::Entry;
use outbox_event::EventId;
use testkit::process::Process;
use tokio::sync::{Mutex, MutexGuard};

use super::stored::{Queue, state};
use crate::cloud::{Cloud, cloud};
use crate::world::{One, ROUTER, Two, World, programs, until};

/// These tests share the queues of [`ROUTER`]: one runs at a time, and leaves them empty.
static TURN: Mutex<()> = Mutex::const_new(());

/// A world with a relay and a worker on AWS.
struct Running {
    world: World,
    cloud: &'static Cloud,
    relay: Process,
    worker: Process,
    _turn: MutexGuard<'static, ()>,
}

impl Running {
    async fn start() -> Option<Self> {
        let cloud = cloud()?;
        let turn = TURN.lock().await;
        let world = World::new(ROUTER).await;
        let relay = world.relay_process_in(&cloud.environment());
        let worker = worker(&world, cloud);
        Some(Self { world, cloud, relay, worker, _turn: turn })
    }

    async fn until_recorded(&self, event: EventId, rpc: &str) {
        until("it is recorded", async || state(self.cloud, event, rpc).await.as_deref() == Some("done"))
            .await;
    }

    async fn finish(self) {
        for process in [self.relay, self.worker] {
            process.stop().await.unwrap();
        }
        self.world.finish().await;
    }
}

fn worker(world: &World, cloud: &Cloud) -> Process {
    // SQS counts receives as attempts. On a slow machine a shorter visibility ends before the first call.
    let args = ["--header-prefix", "acme-", "--visibility", "10s"];
    world.worker_process_without_database(&cloud.environment(), &args)
}

/// Guards promises 2 and 3 on AWS: an event passes EventBridge's rule and SQS unchanged, reaches each subscriber once, and
/// is recorded in DynamoDB.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_each_subscriber_once() {
    let Some(running) = Running::start().await else { return };
    let world = &running.world;
    let nasty = r#"{"n":1.0,"text":"\"quoted\" \\ \n <detail> é \u0001","z":[],"a":{}}"#;
    let one: uuid::Uuid =
        sqlx::query_scalar("select outbox.enqueue('event_one', $1, 'key-1', '{\"acme-tenant\":\"t-1\"}')")
            .bind(nasty)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let one = EventId::from(one);
    let two = world.publish(Two { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[one]).await;
    world.rpcs.until_done("Test/TwoA", &[two]).await;
    world.rpcs.until_done("Other/TwoB", &[two]).await;
    let call = &world.rpcs.calls_of(one)[0];
    // Compared as values, because the emulator writes the JSON anew, with spaces.
    let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap();
    assert_eq!(value(&call.incoming.body)["event"], value(nasty.as_bytes()));
    // The attempt is not compared: SQS also counts what it gave to the poll of a worker that had been killed.
    assert_eq!(call.incoming.header("acme-tenant"), "t-1");
    let sequence = "select seq from outbox.event where name = 'event_one'";
    assert_eq!(call.incoming.header("outbox-sequence"), world.scalar::<i64>(sequence).await.to_string());
    assert!(!call.incoming.header("outbox-source").is_empty());
    running.until_recorded(one, "Test/One").await;
    running.finish().await;
}

/// Guards promises 2 and 3 on AWS: a refused event is in the dead-letter queue with its reason. Sent again by hand it is
/// called, and once it is done it is not called again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_dead_lettered_with_its_reason() {
    let Some(running) = Running::start().await else { return };
    let world = &running.world;
    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let refused = world.publish(Two { n: 3 }).await;
    let queue = Queue::of(running.cloud, "outbox-Test--TwoA").await;
    let (body, reason) = queue.dead().await;
    assert!(body.contains(&refused.to_string()) && reason == "no such card", "{body} {reason}");
    world.rpcs.until_done("Other/TwoB", &[refused]).await;

    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Ok(()) }));
    queue.send(&body).await;
    world.rpcs.until_done("Test/TwoA", &[refused]).await;
    running.until_recorded(refused, "Test/TwoA").await;
    let calls = world.rpcs.calls_of(refused).len();
    queue.send(&body).await;
    queue.until_empty().await;
    assert_eq!(world.rpcs.calls_of(refused).len(), calls, "a done event is called again");
    running.finish().await;
}

/// Guards promise 6 on AWS: a message for another RPC, or without an envelope, is dead-lettered without a call.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_messages_are_dead_lettered() {
    let Some(running) = Running::start().await else { return };
    let queue = Queue::of(running.cloud, "outbox-Test--TwoA").await;
    let event = EventId::new();
    let body = format!(
        r#"{{"rpc":"Test/One","event":{{"id":"{event}","name":"event_two","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"n":3}}}}}}"#
    );
    queue.send(&body).await;
    let (_, reason) = queue.dead().await;
    assert!(reason.contains("it is addressed to \"Test/One\""), "{reason}");
    queue.send("garbage").await;
    assert_eq!(queue.dead().await.0, "garbage");
    assert!(running.world.rpcs.calls().is_empty());
    running.finish().await;
}

/// Guards promise 2 on AWS: a worker dies in the middle of a call. Its message comes back after visibility and lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_killed_worker_comes_back_on_aws() {
    let Some(mut running) = Running::start().await else { return };
    running.world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1;
        Box::pin(async move {
            if first {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    let interrupted = running.world.publish(One { n: 4 }).await;
    running.world.rpcs.until("it is being called", |rpcs| !rpcs.calls_of(interrupted).is_empty()).await;
    running.worker.kill().await.unwrap();
    running.worker = worker(&running.world, running.cloud);
    running.world.rpcs.until_done("Test/One", &[interrupted]).await;
    running.until_recorded(interrupted, "Test/One").await;
    running.finish().await;
}

/// Guards promise 3 on AWS: two workers call each of many events once.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_call_each_event_once() {
    let Some(running) = Running::start().await else { return };
    let world = &running.world;
    let second = worker(world, running.cloud);
    let many = world.publish_all((0..100).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &many).await;
    Queue::of(running.cloud, "outbox-Test--One").await.until_empty().await;
    second.stop().await.unwrap();
    running.finish().await;
}

/// Guards promise 2 on AWS: a missing queue is named, and deliveries to other RPCs go on. A missing bus loses no event.
#[tokio::test(flavor = "multi_thread")]
async fn missing_resources_are_named() {
    let Some(cloud) = cloud() else { return };
    let world = World::new("event:\n  - name: event_one\n    subscriber: [{ id: Test/Nowhere }]\n").await;
    let mut worker = world.worker_process_without_database(&cloud.environment(), &[]);
    let said = worker.wait_for("not delivering").await.unwrap();
    assert!(said.contains("there is no queue 'outbox-Test--Nowhere' here"), "{said}");
    assert!(said.contains("terraform apply"), "{said}");
    worker.stop().await.unwrap();

    let env = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
    ];
    let env = [
        &env[..],
        &[
            ("OUTBOX_TRANSPORT", "aws"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("DATABASE_URL", &world.url),
        ],
    ]
    .concat();
    let mut relay =
        Process::start(&programs().join("relay"), ["--metrics-addr", "127.0.0.1:0"], &env).unwrap();
    let said = relay.wait_for("no AWS credentials yet").await.unwrap();
    assert!(said.contains("AWS_PROFILE"), "{said}");
    relay.wait_for("leading").await.unwrap();
    world.publish(One { n: 1 }).await;
    relay.wait_for("the bus did not take it yet").await.unwrap();
    relay.stop().await.unwrap();
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked").await, 0);
    world.finish().await;
}
