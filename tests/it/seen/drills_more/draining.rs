use std::time::Instant;

use chrono::{DateTime, Utc};
use outbox::Entry;
use tokio_util::sync::CancellationToken;

use super::line::{Line, named};
use crate::operator::n;
use crate::world::Two;

const ROUTER: &str = "
event:
  - name: event_two
    subscriber: [{ id: Test/Slow, timeout: 60s, concurrency: 8 }]
";

/// Guards promise 3, drill 19: a worker with long calls is drained. It keeps them beyond its visibility and finishes them, while
/// another worker takes what comes. Nothing is called twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_makes_no_call_twice() {
    let line = Line::new(ROUTER).await;
    let (relay, mut first) = (line.relay().await, line.worker().await);
    let answer = CancellationToken::new();
    let answered = answer.clone();
    line.world.rpcs.on("Test/Slow", move |called| {
        let (answered, is_long) = (answered.clone(), n(called) < 100);
        Box::pin(async move {
            if is_long {
                answered.cancelled().await;
            }
            Ok(())
        })
    });
    let long = line.publish((0..8).map(|n| Entry::new(Two { n }))).await;
    line.world.rpcs.until("all are called", |rpcs| rpcs.calls().len() == 8).await;
    let second = line.worker().await;
    line.world.until("select count(*) = 2 from outbox.process where program = 'worker'").await;
    let claimed = "select coalesce(max(until), clock_timestamp()) from outbox.claim where until is not null";
    let until: DateTime<Utc> = line.world.scalar(claimed).await;
    let drained = Instant::now();
    first.process.signal("TERM").unwrap();
    first.process.wait_for("finishing what is in flight").await.unwrap();
    named("19", drained);

    let short = line.publish((100..105).map(|n| Entry::new(Two { n }))).await;
    line.world.rpcs.until_done("Test/Slow", &short).await;
    // Beyond the time for which the first worker had them when it was stopped.
    line.world.until(&format!("select clock_timestamp() > '{}'", until.to_rfc3339())).await;
    let why = line.outbox(&format!("why {}", long[0])).await;
    assert!(why.code == 0 && why.out.contains("called    attempt 1, at this moment by worker "), "{why:?}");
    answer.cancel();
    line.world.rpcs.until_done("Test/Slow", &long).await;
    assert!(first.process.ended().await.unwrap().success());
    line.world.until_settled().await;
    line.is_well().await;
    for id in long.iter().chain(&short) {
        assert_eq!(line.world.rpcs.calls_of(*id).len(), 1, "{id}");
    }
    second.shows(&format!("outbox_worker_in_flight{} 0", line.labels("Test/Slow"))).await;
    second.shows("outbox_worker_lost_leases_total{rpc=\"Test/Slow\"} 0").await;
    second.stop().await;
    relay.stop().await;
    line.world.finish().await;
}
