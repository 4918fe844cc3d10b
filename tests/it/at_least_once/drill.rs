//! An outage of an RPC, as an operator sees it.

use std::process::Command;
use std::time::{Duration, Instant};

use outbox::Entry;
use outbox_event::EventId;
use serde_json::Value;
use testkit::scrape;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server;
use crate::world::{One, Two, World, programs, until};

/// The default policy, twenty times as fast: five minutes become fifteen seconds.
const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Down/One
        timeout: 500ms
        backoff: { min: 50ms, max: 30s }
  - name: event_two
    subscriber:
      - id: Test/TwoA
        timeout: 500ms
        backoff: { min: 50ms, max: 30s }
";
const OUTAGE: Duration = Duration::from_secs(15);
const BEFORE: Duration = Duration::from_secs(8);
const EVENTS: usize = 10_000;

/// Guards promises 2, 3, 6 and 8: ten thousand events are published while their RPC's server is down. The other RPC stays as
/// quick as before. Metrics and `outbox status` show the outage. Afterwards each event is delivered once, and none is dead.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_no_event_and_slows_no_other_rpc() {
    let world = World::alone(ROUTER).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let up = serve(&world, listener);
    let mut relay = world.relay_process();
    let endpoint = format!("Down=http://{addr}");
    let mut worker = world.worker_process_in(&[], &["--endpoint", &endpoint]);
    relay.wait_for("leading").await.unwrap();
    let metrics = scrape::addr(&mut worker).await.unwrap();
    worker.wait_for("delivering").await.unwrap();

    let (mut ids, before) = load(&world, BEFORE).await;
    world.rpcs.until_done("Down/One", &ids).await;
    up.cancel();
    let ((more, during), told) = tokio::join!(load(&world, OUTAGE), watch(&world, &metrics));
    assert!(more.len() >= EVENTS, "{} events came", more.len());
    ids.extend(more);
    let up = serve(&world, TcpListener::bind(addr).await.unwrap());
    world.rpcs.until_done("Down/One", &ids).await;
    world.until_settled().await;

    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 0);
    assert!(told["waiting"].as_i64().unwrap() > 100, "{told}");
    let bound = before.mul_f64(1.5).max(before + Duration::from_millis(10));
    assert!(during <= bound, "the other RPC's p99 was {before:?} before, and {during:?} during the outage");
    let (_, body) = scrape::get(&metrics, "/metrics").await.unwrap();
    let breaker = body
        .lines()
        .find(|line| line.starts_with("outbox_worker_breaker_state") && line.contains("Down/One"));
    assert!(breaker.is_some_and(|line| line.ends_with(" 0")), "{breaker:?}");
    up.cancel();
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Publishes the drill's events for `Down`, and one every twenty milliseconds for the other RPC. Returns the ids of the
/// former, and the 99th percentile of the latter's time from commit to call.
async fn load(world: &World, time: Duration) -> (Vec<EventId>, Duration) {
    let (began, mut ids, mut timed) = (Instant::now(), Vec::new(), Vec::new());
    let per_second = EVENTS as f64 / OUTAGE.as_secs_f64();
    while began.elapsed() < time || ids.len() < (time.as_secs_f64() * per_second) as usize {
        let due = (began.elapsed().min(time).as_secs_f64() * per_second).ceil() as usize;
        let one = |n: usize| Entry::new(One { n: n as i64 });
        ids.extend(world.publish_all((ids.len()..due).map(one)).await);
        timed.push((world.publish(Two { n: 1 }).await, Instant::now()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let two: Vec<EventId> = timed.iter().map(|(id, _)| *id).collect();
    world.rpcs.until_done("Test/TwoA", &two).await;
    let calls: std::collections::HashMap<EventId, Instant> =
        world.rpcs.calls().into_iter().map(|call| (call.event, call.at)).collect();
    let mut took: Vec<Duration> =
        timed.iter().map(|(id, committed)| calls[id].saturating_duration_since(*committed)).collect();
    took.sort();
    (ids, took[took.len() * 99 / 100])
}

/// Waits until metrics and `outbox status` show that the server is away. Returns the queue's part of the status.
async fn watch(world: &World, metrics: &str) -> Value {
    until("the metrics tell it", async || {
        let (_, body) = scrape::get(metrics, "/metrics").await.unwrap();
        body.lines().any(|line| {
            line.starts_with("outbox_worker_breaker_state")
                && line.contains("Down/One")
                && line.ends_with(" 2")
        })
    })
    .await;
    let mut told = Value::Null;
    until("outbox status tells it", async || {
        let output = Command::new(programs().join("outbox"))
            .args(["status", "--format", "json", "--worker", &format!("http://{metrics}")])
            .args(["--router", &world.router_file.display().to_string()])
            .env("DATABASE_URL", &world.url)
            .output()
            .unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let rpcs = status["rpcs"].as_array().cloned().unwrap_or_default();
        told = rpcs.into_iter().find(|rpc| rpc["rpc"] == "Down/One").unwrap_or_default();
        let problems = status["problems"].to_string();
        told["breaker"] == "open" && told["waiting"].as_i64() > Some(100) && problems.contains("Down/One")
    })
    .await;
    told
}

/// Serves `Down` until the token is cancelled, then closes its connections.
fn serve(world: &World, listener: TcpListener) -> CancellationToken {
    let (up, rpcs) = (CancellationToken::new(), world.rpcs.clone());
    let down = up.clone();
    tokio::spawn(async move {
        let serving = server::serve(
            listener,
            |rpc| rpc.starts_with("Down/"),
            move |call| rpcs.handle(call),
            std::future::pending(),
        );
        tokio::select! {
            _ = serving => {}
            () = down.cancelled() => {}
        }
    });
    up
}
