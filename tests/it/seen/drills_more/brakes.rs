use std::sync::Arc;
use std::time::Instant;

use connectrpc::ConnectError;
use outbox::Entry;
use tokio::sync::Barrier;

use super::line::Line;
use crate::operator::ROUTER;
use crate::world::{One, Two};

/// Guards promises 2 and 8, drill 17: a bad deploy is paused. Nothing more is called or dies, the other RPC goes on, and after
/// the printed `outbox resume` everything is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_deploy_is_paused_and_resumed() {
    let line = Line::new(ROUTER).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    line.world
        .rpcs
        .on("Test/One", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such field")) }));
    let incident = Instant::now();
    let dead = line.publish([Entry::new(One { n: 0 })]).await;
    line.world.until("select count(*) = 1 from outbox.dead_letter").await;
    line.named("17", incident, &["1 dead letter of Test/One: outbox dlq list"]).await;

    let paused = line.outbox("pause --rpc Test/One --for 30m --why 'a bad deploy'").await;
    assert!(paused.code == 0 && paused.out.contains("outbox resume --rpc Test/One"), "{paused:?}");
    let labels = line.labels("Test/One");
    worker.shows(&format!("outbox_worker_paused{labels} 1")).await;
    let waiting = line.publish((1..=20).map(|n| Entry::new(One { n }))).await;
    let other = line.publish([Entry::new(Two { n: 1 })]).await;
    line.world.rpcs.until_done("Test/Slow", &other).await;
    line.world.until("select count(*) = 22 from outbox.delivery").await;
    let status = line.outbox("status").await;
    let words = "by operator-a@";
    assert!(status.code == 1 && status.out.contains("Test/One is paused until 20"), "{status:?}");
    assert!(status.out.contains(words) && status.out.contains(": a bad deploy: outbox resume"), "{status:?}");
    let why = line.outbox(&format!("why {}", waiting[0])).await;
    assert!(why.out.contains("paused until 20") && why.out.contains("a bad deploy"), "{why:?}");
    assert!(waiting.iter().all(|id| line.world.rpcs.calls_of(*id).is_empty()), "called while it was paused");

    line.world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let resumed = line.run(&status.command("outbox resume --rpc Test/One")).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    line.world.rpcs.until_done("Test/One", &waiting).await;
    worker.shows(&format!("outbox_worker_paused{labels} 0")).await;
    let why = line.outbox(&format!("why {}", dead[0])).await;
    assert_eq!(line.run(&why.command("outbox dlq redrive")).await.code, 0);
    line.world.rpcs.until_done("Test/One", &dead).await;
    line.is_well().await;
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}

/// Guards promises 6 and 8, drill 18: all calls are busy. `status` names it with the command that permits more at once, which a
/// running worker follows, and with the one that ends it.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_limited_at_run_time() {
    let line = Line::new(ROUTER).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    // None is answered before two are under way, and event_router.yaml permits one.
    let two = Arc::new(Barrier::new(2));
    line.world.rpcs.on("Test/Slow", move |_| {
        let two = Arc::clone(&two);
        Box::pin(async move {
            two.wait().await;
            Ok(())
        })
    });
    let incident = Instant::now();
    let ids = line.publish((0..4).map(|n| Entry::new(Two { n }))).await;
    let status = line.named("18", incident, &["all 1 of 1 calls are under way", "its server is slow"]).await;
    let why = line.outbox(&format!("why {}", ids[3])).await;
    assert!(why.out.contains("all 1 of 1 calls are under way"), "{why:?}");
    // The series of OutboxWorkerSaturated.
    let labels = line.labels("Test/Slow");
    worker.shows(&format!("outbox_worker_in_flight{labels} 1")).await;
    worker.shows("outbox_worker_concurrency_max{rpc=\"Test/Slow\"} 1").await;
    worker
        .shows(&format!("outbox_worker_queue_messages{}", labels.replace('}', ",state=\"waiting\"}")))
        .await;

    let command = status.command("outbox limit --rpc Test/Slow");
    assert!(command.contains("--concurrency 2 "), "{command}");
    let limited = line.run(&command).await;
    assert_eq!(limited.code, 0, "{limited:?}");
    line.world.rpcs.until_done("Test/Slow", &ids).await;
    worker.shows(&format!("outbox_worker_limited{labels} 1")).await;
    worker.shows("outbox_worker_concurrency_max{rpc=\"Test/Slow\"} 2").await;
    line.is_well().await;
    let status = line.outbox("status").await;
    assert!(status.out.contains("Test/Slow is limited to 2 calls at a time in each worker"), "{status:?}");
    let cleared = line.run(&status.command("outbox limit --rpc Test/Slow --clear")).await;
    assert_eq!(cleared.code, 0, "{cleared:?}");
    worker.shows(&format!("outbox_worker_limited{labels} 0")).await;
    worker.shows("outbox_worker_concurrency_max{rpc=\"Test/Slow\"} 1").await;
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}
