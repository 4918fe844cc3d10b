use std::path::Path;
use std::process::Command;
use std::time::Instant;

use chrono::Utc;
use outbox::Entry;
use testkit::process::root;

use super::line::{Line, named};
use crate::operator::ROUTER;
use crate::world::{One, until};

/// Compiles what stands between a program and the time of day. rustc needs the same compiler for linking.
fn wrong_clock(dir: &Path) -> String {
    let library = dir.join("clock.so");
    let source = root().join("tests/it/seen/drills_more/clock.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(cc.status().unwrap().success(), "cc");
    library.display().to_string()
}

/// Guards promise 8, drill 22: the clock of the operator's machine is an hour off. Commands that look back warn, and go by the
/// database's clock. `doctor` names the difference.
#[tokio::test(flavor = "multi_thread")]
async fn an_operators_wrong_clock_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let library = wrong_clock(dir.path());
    let line = Line::new(ROUTER).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    let ids = line.publish((1..=5).map(|n| Entry::new(One { n }).key("card-7"))).await;
    line.world.rpcs.until_done("Test/One", &ids).await;
    line.world.until_settled().await;
    for (seconds, words) in [("3600", " ahead of the database's"), ("-3600", " behind the database's")] {
        let wrong = [("LD_PRELOAD", library.as_str()), ("CLOCK_AHEAD_SECONDS", seconds)];
        let incident = Instant::now();
        let said = line.run_in(&wrong, "outbox doctor").await;
        let is_named = |text: &str| text.contains("the clock of this machine is ") && text.contains(words);
        assert!(said.out.lines().any(is_named), "{said:?}");
        named("22", incident);
        let plan = line.run_in(&wrong, "outbox replay --since 10m").await;
        assert!(plan.code == 0 && plan.out.contains("To send 5 messages"), "{seconds}: {plan:?}");
        assert!(plan.err.contains("warning: the clock of this machine is "), "{seconds}: {plan:?}");
        let sent = line.run_in(&wrong, &plan.command("outbox replay")).await;
        assert!(sent.code == 0 && sent.out.starts_with("sent 5 messages"), "{seconds}: {sent:?}");
        let found = line.run_in(&wrong, "outbox find --key card-7 --since 10m --format json").await;
        assert_eq!(found.json()["events"].as_array().unwrap().len(), 5, "{seconds}: {found:?}");
        let old = line.run_in(&wrong, "outbox find --key card-7 --since 2h --until 10m").await;
        assert!(old.code == 1 && old.out.starts_with("No such events."), "{seconds}: {old:?}");
    }
    line.world.until_settled().await;
    assert_eq!(line.world.rpcs.calls().len(), 5, "what was done is not called again");
    let right = line.outbox("doctor").await;
    assert!(!right.out.contains("the clock of this machine"), "{right:?}");
    let right = line.outbox("replay --since 10m").await;
    assert!(!right.err.contains("clock"), "{right:?}");
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}

/// Guards promises 3 and 8, drill 22: the clock of a worker is two hours ahead. Events are delivered once, and the metric of its
/// alert shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_workers_wrong_clock_is_in_its_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let library = wrong_clock(dir.path());
    let line = Line::new(ROUTER).await;
    let relay = line.relay().await;
    let incident = Instant::now();
    let wrong = [("LD_PRELOAD", library.as_str()), ("CLOCK_AHEAD_SECONDS", "7200")];
    let worker = line.worker_in(&wrong).await;
    until("its clock is wrong in OutboxClocksApart's series", async || {
        let metrics = worker.metrics().await;
        let clock = metrics.lines().find_map(|one| one.strip_prefix("outbox_clock_seconds "));
        let clock: Option<f64> = clock.and_then(|clock| clock.parse().ok());
        clock.is_some_and(|clock| clock - Utc::now().timestamp() as f64 > 7000.0)
    })
    .await;
    named("22b", incident);
    let ids = line.publish((1..=20).map(|n| Entry::new(One { n: 100 + n }))).await;
    line.world.rpcs.until_done("Test/One", &ids).await;
    line.world.until_settled().await;
    assert!(ids.iter().all(|id| line.world.rpcs.calls_of(*id).len() == 1));
    let why = line.outbox(&format!("why {}", ids[0])).await;
    assert!(why.code == 0 && why.out.contains("Test/One\n  done "), "{why:?}");
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}
