//! What AWS refuses: the worker as a process, with real queues and a real table behind a proxy with SQS's rules.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use connectrpc::ConnectError;
use outbox_event::EventId;
use testkit::process::Process;
use testkit::scrape;
use testkit::strict::Strict;

use super::stored::{Queue, state};
use crate::cloud::{Cloud, cloud, sdk};
use crate::operator::paste;
use crate::world::{World, until};

/// Each test has a queue of its own.
fn router(rpc: &str) -> String {
    format!(
        "event:
  - name: event_strict
    subscriber:
      - id: {rpc}
        concurrency: 8
        max_attempts: 3
        backoff: {{ min: 10ms, max: 50ms }}
"
    )
}

/// A stop that waited for an unreachable service would take `--stop-within`, 25 s. The margin below that is for a busy
/// machine.
const STOP_SECONDS_MAX: u64 = 20;

fn message(rpc: &str, id: EventId, payload: &str) -> String {
    format!(
        r#"{{"rpc":"{rpc}","event":{{"id":"{id}","name":"event_strict","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{payload}}}}}"#
    )
}

struct Line<'a> {
    world: &'a World,
    cloud: &'a Cloud,
    strict: Arc<Strict>,
    endpoint: String,
    queue: Queue,
    rpc: &'static str,
}

impl<'a> Line<'a> {
    async fn new(world: &'a World, cloud: &'a Cloud, rpc: &'static str) -> Self {
        let (strict, endpoint) = cloud.strict().await;
        let queue = Queue::of(cloud, &format!("outbox-{}", rpc.replace('/', "--"))).await;
        Self { world, cloud, strict, endpoint, queue, rpc }
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let mut env = self.cloud.environment();
        env.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
        env.push(("AWS_ENDPOINT_URL", &self.endpoint));
        env
    }

    fn worker(&self) -> Process {
        self.world.worker_process_without_database(&self.environment(), &["--stop-within", "25s"])
    }

    /// Ids by position; each body's payload contains its position.
    async fn send(&self, payloads: &[String]) -> Vec<EventId> {
        let mut ids = Vec::new();
        for payload in payloads {
            let id = EventId::new();
            self.queue.send(&message(self.rpc, id, payload)).await;
            ids.push(id);
        }
        ids
    }

    async fn until_recorded(&self, ids: &[EventId]) {
        for id in ids {
            until("it is recorded", async || {
                state(self.cloud, *id, self.rpc).await.as_deref() == Some("done")
            })
            .await;
        }
    }

    async fn set_dlq(&self, name: QueueAttributeName, value: &str) {
        let url = format!("{}-dlq", self.queue.url);
        self.queue.client.set_queue_attributes().queue_url(url).attributes(name, value).send().await.unwrap();
    }

    async fn status(&self, metrics: &str) -> String {
        let router = self.world.router_file.display().to_string();
        let mut env = self.environment();
        env.push(("OUTBOX_ROUTER", &router));
        let said = paste(&env, &format!("outbox status --worker http://{metrics}")).await;
        assert_eq!(said.code, 1, "{said:?}");
        said.out
    }
}

/// The RPC refuses events with `n` = 0 in their payload, and accepts all others.
fn misbehave(world: &World, rpc: &str, said: &'static str) {
    world.rpcs.on(rpc, move |called| {
        let body: serde_json::Value = serde_json::from_slice(&called.incoming.body).unwrap();
        let bad = body["event"]["n"] == 0;
        Box::pin(async move { if bad { Err(ConnectError::invalid_argument(said)) } else { Ok(()) } })
    });
}

async fn stop(mut worker: Process) {
    let began = Instant::now();
    worker.signal("TERM").unwrap();
    while worker.line().await.is_some() {}
    assert!(worker.ended().await.unwrap().success(), "it says that not everything was finished");
    assert!(began.elapsed().as_secs() < STOP_SECONDS_MAX, "{:?}", began.elapsed());
}

fn payloads(many: i64) -> Vec<String> {
    (0..many).map(|n| format!(r#"{{"n":{n}}}"#)).collect()
}

/// How the dead-letter queue may refuse a dead letter.
#[derive(Debug, Clone, Copy)]
enum Refuses {
    NoRight,
    KeyDisabled,
    Deleted,
    TooLarge,
}

impl Refuses {
    async fn begin(self, line: &Line<'_>) {
        match self {
            Refuses::NoRight => line.strict.deny("sqs:SendMessage", "Test--Strict-dlq", true),
            Refuses::KeyDisabled => line.strict.disable_key("Test--Strict-dlq", true),
            Refuses::Deleted => {
                let url = format!("{}-dlq", line.queue.url);
                line.queue.client.delete_queue().queue_url(url).send().await.unwrap();
            }
            Refuses::TooLarge => line.set_dlq(QueueAttributeName::MaximumMessageSize, "1024").await,
        }
    }

    async fn end(self, line: &Line<'_>) {
        match self {
            Refuses::NoRight => line.strict.deny("sqs:SendMessage", "Test--Strict-dlq", false),
            Refuses::KeyDisabled => line.strict.disable_key("Test--Strict-dlq", false),
            Refuses::Deleted => {
                line.queue.client.create_queue().queue_name("outbox-Test--Strict-dlq").send().await.unwrap();
            }
            Refuses::TooLarge => line.set_dlq(QueueAttributeName::MaximumMessageSize, "262144").await,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Refuses::NoRight => "AccessDenied",
            Refuses::KeyDisabled => "KmsDisabled",
            Refuses::Deleted => "NonExistentQueue",
            Refuses::TooLarge => "InvalidParameterValue",
        }
    }
}

/// Guards promises 3, 6 and 8: a dead letter that its queue refuses is set aside by itself, for every kind of refusal. All
/// others of its RPC are called, recorded and deleted. The next worker calls none of them again, a stop does not wait, and
/// `status` says why. Once the queue accepts it, the dead letter is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_sqs_refuses_costs_its_neighbours_nothing() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(&router("Test/Strict")).await;
    let line = Line::new(&world, cloud, "Test/Strict").await;
    misbehave(&world, "Test/Strict", "no such card");
    for refuses in [Refuses::NoRight, Refuses::KeyDisabled, Refuses::TooLarge, Refuses::Deleted] {
        let mut worker = line.worker();
        let addr = scrape::addr(&mut worker).await.unwrap();
        // A worker looks its queues up once: one that is deleted later goes missing under way.
        let mut payloads = payloads(60);
        let warm = line.send(&payloads.split_off(59)).await;
        line.until_recorded(&warm).await;
        refuses.begin(&line).await;
        payloads[0] = format!(r#"{{"n":0,"text":"{}"}}"#, "x".repeat(2000));
        let ids = line.send(&payloads).await;
        world.rpcs.until_done(line.rpc, &ids[1..]).await;
        line.until_recorded(&ids[1..]).await;
        let said = worker.wait_for("set aside").await.unwrap();
        assert!(said.contains(refuses.code()), "{refuses:?}: {said}");
        until("only the dead one is left", async || line.strict.hidden("Test--Strict").len() == 1).await;
        let status = line.status(&addr).await;
        let expected =
            format!("1 message of Test/Strict can't be moved to the dead letters: {}", refuses.code());
        assert!(status.contains(&expected), "{refuses:?}: {status}");
        stop(worker).await;

        let before = world.rpcs.calls().len();
        let mut worker = line.worker();
        if matches!(refuses, Refuses::Deleted) {
            worker.wait_for("not delivering").await.unwrap();
        } else {
            worker.wait_for("set aside").await.unwrap();
        }
        refuses.end(&line).await;
        let (body, reason) = line.queue.dead().await;
        assert!(body.contains(&ids[0].to_string()) && reason == "no such card", "{refuses:?}: {reason}");
        line.queue.until_empty().await;
        let later = world.rpcs.calls().split_off(before);
        let called: Vec<EventId> = later.iter().map(|call| call.event).collect();
        assert_eq!(called, [ids[0]], "{refuses:?}: what had succeeded is called again");
        stop(worker).await;
    }
    world.finish().await;
}

/// Guards promises 2 and 6: the dead letter is accepted with any error text, and keeps as much of it as SQS allows.
#[tokio::test(flavor = "multi_thread")]
async fn any_text_of_an_error_is_taken_by_sqs() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(&router("Test/Texts")).await;
    let line = Line::new(&world, cloud, "Test/Texts").await;
    let worker = line.worker();
    for (said, kept) in [
        ("can not parse: \u{ffff}\u{fffe}", "can not parse: \u{fffd}\u{fffd}"),
        ("nul \0, escape \u{1b}[2J, tab\t", "nul  , escape  [2J, tab "),
        ("\u{1fffe}\u{10ffff}\u{7f}\u{2028}", "\u{1fffe}\u{10ffff} \u{2028}"),
        ("", "-"),
    ] {
        misbehave(&world, "Test/Texts", said);
        let ids = line.send(&payloads(2)).await;
        let (body, reason) = line.queue.dead().await;
        assert!(body.contains(&ids[0].to_string()) && reason == kept, "{said:?}: {reason:?}");
        line.until_recorded(&ids[1..]).await;
    }
    let long: &'static str = "\u{1f600}\u{ffff}".repeat(35_000).leak();
    misbehave(&world, "Test/Texts", long);
    line.send(&payloads(1)).await;
    let (_, reason) = line.queue.dead().await;
    assert!(reason.starts_with("\u{1f600}\u{fffd}\u{1f600}") && reason.len() <= 2000, "{}", reason.len());
    line.queue.until_empty().await;
    stop(worker).await;
    world.finish().await;
}

/// Guards promises 2 and 3: entries of batches, sends and records are refused or fail at random, with two workers, and one
/// that is killed meanwhile. No message is lost, and no recorded success is called again.
#[tokio::test(flavor = "multi_thread")]
async fn rights_that_come_and_go_lose_nothing() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(&router("Test/Rights")).await;
    let line = Line::new(&world, cloud, "Test/Rights").await;
    world.rpcs.on("Test/Rights", |called| {
        let body: serde_json::Value = serde_json::from_slice(&called.incoming.body).unwrap();
        let bad = body["event"]["n"].as_i64().unwrap() % 10 == 0;
        Box::pin(async move { if bad { Err(ConnectError::invalid_argument("no")) } else { Ok(()) } })
    });
    let (strict, ends) = (Arc::clone(&line.strict), tokio_util::sync::CancellationToken::new());
    let ended = ends.clone();
    let weather = tokio::spawn(async move {
        let rights = [
            ("sqs:SendMessage", "Test--Rights-dlq"),
            ("sqs:DeleteMessage", "Test--Rights"),
            ("sqs:ChangeMessageVisibility", "Test--Rights"),
        ];
        // The wait of a refused dead letter doubles each time: a longer phase would outlast the test.
        let until = Instant::now() + Duration::from_secs(12);
        while !ended.is_cancelled() && Instant::now() < until {
            let (action, queue) = rights[fastrand::usize(..rights.len())];
            strict.deny(action, queue, true);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
            strict.deny(action, queue, false);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..200))).await;
        }
    });
    let (first, second) = (line.worker(), line.worker());
    let ids = line.send(&payloads(150)).await;
    world.rpcs.until("half of them are called", |rpcs| rpcs.calls().len() > 75).await;
    first.kill().await.unwrap();
    // The killed worker may have called without recording: that gap is allowed.
    world.rpcs.forget();
    let good: Vec<EventId> = ids.iter().enumerate().filter(|(n, _)| n % 10 != 0).map(|(_, id)| *id).collect();
    line.until_recorded(&good).await;
    ends.cancel();
    weather.await.unwrap();
    let mut dead = std::collections::BTreeSet::new();
    while dead.len() < 15 {
        let (body, _) = line.queue.dead().await;
        dead.insert(ids.iter().position(|id| body.contains(&id.to_string())).unwrap());
    }
    assert!(dead.iter().all(|n| n % 10 == 0), "{dead:?}");
    line.queue.until_empty().await;
    let twice = good.iter().filter(|id| world.rpcs.calls_of(**id).len() > 1).count();
    // For the killed worker: eight calls, twice as many that wait for their record, and a batch that is being recorded.
    assert!(twice <= 8 + 16 + 10, "{twice}: more than the killed worker had called and not recorded");
    stop(second).await;
    world.finish().await;
}

/// Guards promises 2 and 3: a server that demands a wait of a day is not called earlier, though SQS can hide a message for
/// at most half a day. Receives in between do not count as attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_longer_than_sqs_can_hold_is_kept() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(&router("Test/Waits")).await;
    let line = Line::new(&world, cloud, "Test/Waits").await;
    world.rpcs.on("Test/Waits", |called| {
        let first = called.attempt == 1;
        Box::pin(async move {
            if !first {
                return Ok(());
            }
            let headers = [(http::header::RETRY_AFTER, http::HeaderValue::from_static("86400"))];
            Err(ConnectError::unavailable("tomorrow").with_headers(headers.into_iter().collect()))
        })
    });
    let worker = line.worker();
    let id = line.send(&payloads(1)).await[0];
    let hours = |h: u64| Duration::from_secs(h * 3600);
    let hidden_for_long = |but: &str| {
        let hidden = line.strict.hidden("Test--Waits");
        hidden.into_iter().find(|(handle, left)| handle != but && *left > hours(11)).map(|(handle, _)| handle)
    };
    let (client, dynamodb) =
        (aws_sdk_sqs::Client::new(&sdk(&line.endpoint)), aws_sdk_dynamodb::Client::new(&cloud.sdk()));
    let mut handle = String::new();
    // Twice: as if half a day was over, and then the next half but for an instant.
    for _ in 0..2 {
        until("it is hidden for as long as it can be", async || match hidden_for_long(&handle) {
            Some(hidden) => {
                handle = hidden;
                true
            }
            None => false,
        })
        .await;
        assert_eq!(world.rpcs.calls_of(id).len(), 1);
        let item = item(&dynamodb, id).await;
        let not_before: i64 = item["not_before_ms"].as_n().unwrap().parse().unwrap();
        let waits = not_before - chrono::Utc::now().timestamp_millis();
        assert!((23 * 3_600_000..=86_400_000).contains(&waits), "{waits} ms");
        show(&client, &line.queue.url, &handle).await;
    }
    until("it is hidden again", async || hidden_for_long(&handle).is_some()).await;
    let update = dynamodb
        .update_item()
        .table_name("outbox-dedup")
        .key("id", AttributeValue::S(format!("{id} Test/Waits")))
        .update_expression("set not_before_ms = :now")
        .expression_attribute_values(":now", AttributeValue::N("1".into()));
    update.send().await.unwrap();
    show(&client, &line.queue.url, &hidden_for_long(&handle).unwrap()).await;
    world.rpcs.until_done(line.rpc, &[id]).await;
    // It was received four times.
    assert_eq!(world.rpcs.calls_of(id).iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2]);
    line.until_recorded(&[id]).await;
    line.queue.until_empty().await;
    stop(worker).await;
    world.finish().await;
}

async fn show(client: &aws_sdk_sqs::Client, url: &str, handle: &str) {
    client
        .change_message_visibility()
        .queue_url(url)
        .receipt_handle(handle)
        .visibility_timeout(0)
        .send()
        .await
        .unwrap();
}

async fn item(
    client: &aws_sdk_dynamodb::Client,
    id: EventId,
) -> std::collections::HashMap<String, AttributeValue> {
    let key = AttributeValue::S(format!("{id} Test/Waits"));
    client.get_item().table_name("outbox-dedup").key("id", key).send().await.unwrap().item.unwrap()
}

/// Guards promises 6 and 8: of dead letters that are redriven on AWS, refused ones stay with the reason, and the others go.
#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_sqs_refuses_costs_the_others_nothing() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(&router("Test/Redrive")).await;
    let line = Line::new(&world, cloud, "Test/Redrive").await;
    let url = format!("{}-dlq", line.queue.url);
    let large = format!(r#"{{"n":1,"text":"{}"}}"#, "x".repeat(2000));
    let mut ids = Vec::new();
    for payload in [r#"{"n":1}"#, &large, r#"{"n":2}"#] {
        ids.push(EventId::new());
        let body = message(line.rpc, ids[ids.len() - 1], payload);
        line.queue.client.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    let size = |bytes: &str| {
        let set = line.queue.client.set_queue_attributes().queue_url(&line.queue.url);
        set.attributes(QueueAttributeName::MaximumMessageSize, bytes).send()
    };
    size("1024").await.unwrap();
    let router = world.router_file.display().to_string();
    let mut env = line.environment();
    env.push(("OUTBOX_ROUTER", &router));
    let said = paste(&env, "outbox dlq redrive --rpc Test/Redrive").await;
    size("262144").await.unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("redriven 2 dead letters"), "{said:?}");
    assert!(said.out.contains("1 stay, for their queue refuses them"), "{said:?}");
    assert!(
        said.out.contains("InvalidParameterValue") && said.out.contains("shorter than 1024 bytes"),
        "{said:?}"
    );
    let worker = line.worker();
    world.rpcs.until_done(line.rpc, &[ids[0], ids[2]]).await;
    let said = paste(&env, "outbox dlq redrive --rpc Test/Redrive").await;
    assert_eq!(said.code, 0, "{said:?}");
    world.rpcs.until_done(line.rpc, &[ids[1]]).await;
    line.queue.until_empty().await;
    stop(worker).await;
    world.finish().await;
}
