use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use connectrpc::ConnectError;
use event::EventId;
use outbox::Entry;
use testkit::process::Process;

use crate::cloud::{Cloud, cloud};
use crate::world::{One, ROUTER, Two, World, programs, until};

/// Guards the line on AWS, as Terraform makes it: from the commit through EventBridge's rule and SQS to the RPC and the
/// record in DynamoDB; each subscriber once, a refusal in the dead-letter queue with its reason, a redriven one that was
/// done meanwhile not called again, a stranger's message not called at all, and a worker's death no loss.
#[tokio::test(flavor = "multi_thread")]
async fn events_reach_rpcs_through_what_terraform_made() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(ROUTER).await;
    let (relay, worker) = (relay(&world, cloud), worker(&world, cloud));

    // To every subscriber, once, the payload as it was published.
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
    // As a value: the emulator writes it anew, with spaces.
    let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap();
    assert_eq!(value(&call.incoming.body)["event"], value(nasty.as_bytes()));
    assert_eq!((call.incoming.header("acme-tenant"), call.attempt), ("t-1", 1));
    until("it is recorded", async || state(cloud, one, "Test/One").await.as_deref() == Some("done")).await;

    // Refused: in the dead-letter queue, with its reason, and out of the queue.
    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let refused = world.publish(Two { n: 3 }).await;
    let queue = Queue::of(cloud, "outbox-Test--TwoA").await;
    let (body, reason) = queue.dead().await;
    assert!(body.contains(&refused.to_string()) && reason == "no such card", "{body} {reason}");
    world.rpcs.until_done("Other/TwoB", &[refused]).await;

    // Delivered again by hand: what was done is not done again; what was not is.
    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Ok(()) }));
    queue.send(&body).await;
    world.rpcs.until_done("Test/TwoA", &[refused]).await;
    until("it is recorded", async || state(cloud, refused, "Test/TwoA").await.as_deref() == Some("done"))
        .await;
    let calls = world.rpcs.calls_of(refused).len();
    queue.send(&body).await;
    queue.until_empty().await;
    assert_eq!(world.rpcs.calls_of(refused).len(), calls, "what was done is called again");

    // Somebody else's message, and no message at all.
    queue.send(&body.replace("Test/TwoA", "Test/One")).await;
    let (_, reason) = queue.dead().await;
    assert!(reason.contains("it is addressed to \"Test/One\""), "{reason}");
    queue.send("garbage").await;
    assert_eq!(queue.dead().await.0, "garbage");

    // A worker dies in the middle of a call: the message comes back after its visibility, and the lease.
    world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1;
        Box::pin(async move {
            if first {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    let interrupted = world.publish(One { n: 4 }).await;
    world.rpcs.until("it is being called", |rpcs| !rpcs.calls_of(interrupted).is_empty()).await;
    worker.kill().await.unwrap();
    let worker = self::worker(&world, cloud);
    world.rpcs.until_done("Test/One", &[interrupted]).await;
    until("it is recorded", async || state(cloud, interrupted, "Test/One").await.as_deref() == Some("done"))
        .await;

    // Two workers at once, many events: each is called once.
    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let second = self::worker(&world, cloud);
    let many = world.publish_all((0..100).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &many).await;
    Queue::of(cloud, "outbox-Test--One").await.until_empty().await;

    for process in [relay, worker, second] {
        process.stop().await.unwrap();
    }
    world.finish().await;
}

/// Guards: what Terraform did not make is named, and the other RPCs are delivered to; a bus that is missing loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn missing_resources_are_named() {
    let Some(cloud) = cloud() else { return };
    let world = World::new("event:\n  - name: event_one\n    subscriber: [{ id: Test/Nowhere }]\n").await;
    let mut worker = worker(&world, cloud);
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

fn relay(world: &World, cloud: &Cloud) -> Process {
    let mut env = cloud.environment();
    env.push(("DATABASE_URL", &world.url));
    Process::start(&programs().join("relay"), ["--metrics-addr", "127.0.0.1:0"], &env).unwrap()
}

/// Needs no database.
fn worker(world: &World, cloud: &Cloud) -> Process {
    let (router, endpoints) = (world.router_file.display().to_string(), world.endpoints());
    let mut args = vec!["--router", &router, "--metrics-addr", "127.0.0.1:0", "--visibility", "3s"];
    args.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
    args.extend(["--header-prefix", "acme-"]);
    Process::start(&programs().join("worker"), args, &cloud.environment()).unwrap()
}

/// Of the record of an event and an RPC.
pub(super) async fn state(cloud: &Cloud, event: EventId, rpc: &str) -> Option<String> {
    let client = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let id = AttributeValue::S(format!("{event} {rpc}"));
    let item = client.get_item().table_name("outbox-dedup").key("id", id).send().await.unwrap().item?;
    item.get("state")?.as_s().ok().cloned()
}

pub(super) struct Queue {
    pub(super) client: aws_sdk_sqs::Client,
    pub(super) url: String,
}

impl Queue {
    pub(super) async fn of(cloud: &Cloud, name: &str) -> Self {
        let client = aws_sdk_sqs::Client::new(&cloud.sdk());
        let url = client.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
        Self { client, url }
    }

    pub(super) async fn send(&self, body: &str) {
        self.client.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
    }

    /// Takes one message out of the dead-letter queue: its body, and why it is there.
    pub(super) async fn dead(&self) -> (String, String) {
        let url = format!("{}-dlq", self.url);
        let mut found = None;
        until("it is dead-lettered", async || {
            let receive = self
                .client
                .receive_message()
                .queue_url(&url)
                .message_attribute_names("All")
                .wait_time_seconds(1);
            let answer =
                tokio::time::timeout(Duration::from_secs(20), receive.send()).await.unwrap().unwrap();
            let Some(message) = answer.messages.unwrap_or_default().into_iter().next() else { return false };
            let handle = message.receipt_handle().unwrap();
            self.client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
            let reason =
                message.message_attributes().unwrap()["outbox-reason"].string_value().unwrap().to_owned();
            found = Some((message.body().unwrap().to_owned(), reason));
            true
        })
        .await;
        found.unwrap()
    }

    pub(super) async fn until_empty(&self) {
        until("the queue is empty", async || {
            let all = aws_sdk_sqs::types::QueueAttributeName::All;
            let answer = self
                .client
                .get_queue_attributes()
                .queue_url(&self.url)
                .attribute_names(all)
                .send()
                .await
                .unwrap();
            let counts = answer.attributes().unwrap().iter().filter(|(name, _)| {
                ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
                    .contains(&name.as_str())
            });
            counts.into_iter().all(|(_, count)| count == "0")
        })
        .await;
    }
}
