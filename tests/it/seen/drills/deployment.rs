//! Processes that lack an address, a route or a worker.

use std::path::PathBuf;

use regex::Regex;
use testkit::process::Process;
use testkit::scrape;

use super::desk::{Drill, Started, one};
use crate::role::role;
use crate::world::{World, programs};

/// `event_one` has a second subscriber, which older files lack.
const NEWER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
      - id: Test/New
";
const OLDER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
";

/// Two services.
const SERVICES: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One }]
  - name: event_two
    subscriber: [{ id: Other/TwoB }]
";

/// A world with the newer routes, and the older file beside them.
async fn newer_and_older() -> (World, PathBuf) {
    let world = World::new(NEWER).await;
    let older = world.router_file.with_extension("older.yaml");
    std::fs::write(&older, OLDER).unwrap();
    (world, older)
}

/// Guards promise 8, drill 10: a worker without any address does not start. One without the address of one service does: that
/// service is named with the flag, and what waited is delivered by a worker that has it.
#[tokio::test(flavor = "multi_thread")]
async fn drill_10_a_worker_without_an_address() {
    let mut drill = Drill::without_workers("10", World::new(SERVICES).await).await;
    let router = drill.world.router_file.clone();
    drill.incident();
    let args = ["--router".to_owned(), router.display().to_string()];
    let url = role(&drill.world, "worker").await;
    let mut none = Process::start(&programs().join("worker"), args, &[("DATABASE_URL", &url)]).unwrap();
    none.wait_for("without an endpoint: Other, Test").await.unwrap();
    assert_eq!(none.ended().await.unwrap().code(), Some(2));
    let other = format!("Other=http://{}", drill.world.rpcs.addr);
    drill.start_worker_with(&router, &[other]).await;
    let ids = drill.publish((0..3).map(one)).await;
    let named = drill.named(&["no worker has an address for Test: ", "for Test/One wait"]).await;
    assert!(named.text.contains("add it to services.yaml or pass --endpoint"), "{named:?}");
    drill.why(ids[0], &["queued ", "no worker has an address for Test"]).await;
    let labels = ["service=\"Test\""];
    let unaddressed = "outbox_worker_unaddressed";
    drill.fires("OutboxServiceUnaddressed", &drill.workers[0], unaddressed, &labels, |it| it == 1.0).await;

    drill.stop_worker().await;
    drill.start_worker().await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    drill.until_well().await;
    drill.finish().await;
}

/// The hash of its file that a process shows.
async fn router_of(started: &Started) -> String {
    let metrics = scrape::get(&started.addr, "/metrics").await.unwrap().1;
    let line = metrics.lines().find(|line| line.starts_with("outbox_process_info{")).expect("it is shown");
    let found = Regex::new("router=\"([^\"]*)\"").unwrap().captures(line).map(|found| found[1].to_owned());
    found.unwrap_or_else(|| panic!("no router in {line}"))
}

/// Guards promise 8, drill 11: the leading relay has older routes than all others. It is named with what it lacks. An event that
/// did not reach the new subscriber is sent there by the command that `why` printed.
#[tokio::test(flavor = "multi_thread")]
async fn drill_11_two_relays_with_different_routes() {
    let (world, older) = newer_and_older().await;
    let newer = world.router_file.clone();
    let relay = Started::relay(&world, &older).await;
    let mut drill = Drill::led_by("11", world, relay).await;
    let standby = Started::relay(&drill.world, &newer).await;
    drill.start_worker().await;
    drill.incident();
    let lost = drill.publish([one(1)]).await;
    let pid = format!(":{}:", drill.relay.process.pid());
    let named = drill.named(&["relay ", &pid, "has the routes", "lacks Test/New (event_one)"]).await;
    assert!(named.text.contains("give all the same event_router.yaml"), "{named:?}");
    assert_ne!(router_of(&drill.relay).await, router_of(&standby).await);
    assert_eq!(router_of(&drill.workers[0]).await, router_of(&standby).await);
    let info = "outbox_process_info";
    drill.fires("OutboxTwoRouters", &standby, info, &["router="], |it| it == 1.0).await;
    drill.world.rpcs.until_done("Test/One", &lost).await;
    let why =
        drill.why(lost[0], &["Test/One\n  done ", "Test/New\n  nowhere ", "outbox replay --event"]).await;
    assert_eq!(why.code, 1, "{why:?}");

    let old = std::mem::replace(&mut drill.relay, standby);
    old.process.stop().await.unwrap();
    let replayed = drill.paste(&why.command("outbox replay --event")).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    drill.world.rpcs.until_done("Test/New", &lost).await;
    let next = drill.publish([one(2)]).await;
    drill.world.rpcs.until_done("Test/New", &next).await;
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 11b: the relay has a subscriber that no worker has. Its queue is named as unserved by `status`, `why` and
/// the relay's metrics, and a worker with the routes delivers what waited.
#[tokio::test(flavor = "multi_thread")]
async fn drill_11b_a_subscriber_that_no_worker_has() {
    let (world, older) = newer_and_older().await;
    let mut drill = Drill::without_workers("11b", world).await;
    let endpoints = drill.world.endpoints();
    drill.start_worker_with(&older, &endpoints).await;
    drill.until_ready(&drill.workers[0].process).await;
    drill.incident();
    let ids = drill.publish([one(1)]).await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    let named = drill.named(&["1 message for Test/New wait", "no running worker reports this RPC"]).await;
    assert!(named.text.contains("start a worker whose event_router.yaml has it"), "{named:?}");
    let why =
        drill.why(ids[0], &["Test/One\n  done ", "Test/New\n  queued ", "no running worker reports"]).await;
    assert_eq!(why.code, 1, "{why:?}");
    let labels = ["rpc=\"Test/New\""];
    let (oldest, workers) = ("outbox_queue_oldest_seconds", "outbox_queue_workers");
    drill.fires("OutboxQueueUnserved", &drill.relay, oldest, &labels, |seconds| seconds > 0.0).await;
    drill.fires("OutboxQueueUnserved", &drill.relay, workers, &labels, |many| many == 0.0).await;

    drill.start_worker().await;
    let old = drill.workers.remove(0);
    old.process.stop().await.unwrap();
    drill.world.rpcs.until_done("Test/New", &ids).await;
    drill.until_well().await;
    drill.finish().await;
}
