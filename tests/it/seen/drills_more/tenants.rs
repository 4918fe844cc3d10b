use std::time::Instant;

use outbox::{Entry, EventId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::line::{Line, named};
use crate::operator::ROUTER;
use crate::world::Two;

fn card(n: i64, tenant: &str) -> Entry {
    Entry::new(Two { n }).key(format!("card-{tenant}-{}", n % 3)).header("tenant", tenant)
}

/// Guards promises 2, 3 and 8, drill 21: one tenant's events fill a queue. They are counted by tenant and key, set aside with the
/// documented command so that the others are delivered first, and taken back with the printed one. Each is called for once.
#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_tenant_is_set_aside() {
    let line = Line::new(ROUTER).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    let answer = CancellationToken::new();
    let answered = answer.clone();
    line.world.rpcs.on("Test/Slow", move |_| {
        let answered = answered.clone();
        Box::pin(async move {
            answered.cancelled().await;
            Ok(())
        })
    });
    let noisy = line.publish((0..150).map(|n| card(n, "t-9"))).await;
    let quiet = line.publish((0..2).map(|n| card(n, "t-1"))).await;
    line.world.until("select count(*) = 152 from outbox.delivery").await;
    line.world.rpcs.until("one is called", |rpcs| !rpcs.calls().is_empty()).await;

    let incident = Instant::now();
    let why = line.outbox(&format!("why {}", quiet[0])).await;
    assert!(why.out.contains("messages ahead of it"), "{why:?}");
    let help = line.outbox("queue list --help").await;
    let list = help.command("outbox queue list --rpc LedgerService/Post --by header:tenant");
    let list = list.replace("LedgerService/Post", "Test/Slow");
    let by_tenant = line.run(&format!("{list} --format json")).await.json();
    let largest = &by_tenant["groups"][0];
    assert_eq!((&largest["value"], &largest["count"]), (&json!("t-9"), &json!(150)), "{by_tenant}");
    let told = line.run(&list).await;
    assert!(told.code == 0 && told.out.contains("TENANT") && told.out.contains("t-9"), "{told:?}");
    named("21", incident);
    let by_key = line.outbox("queue list --rpc Test/Slow --by key --format json").await.json();
    assert_eq!(
        (&by_key["groups"][0]["value"], &by_key["groups"][0]["count"]),
        (&json!("card-t-9-0"), &json!(50)),
        "{by_key}"
    );
    worker
        .shows(&format!(
            "outbox_worker_queue_messages{}",
            line.labels("Test/Slow").replace('}', ",state=\"waiting\"}")
        ))
        .await;

    let aside = "queue give-up --rpc Test/Slow --header tenant=t-9 --reason 'ticket 17'";
    let asked = line.outbox(aside).await;
    assert!(asked.code == 2 && asked.err.contains("pass --yes"), "{asked:?}");
    let given = line.outbox(&format!("{aside} --yes")).await;
    assert!(given.code == 0 && given.out.starts_with("given up 1"), "{given:?}");
    answer.cancel();
    line.world.rpcs.until_done("Test/Slow", &quiet).await;
    let set_aside: i64 = line.world.scalar("select count(*) from outbox.dead_letter").await;
    // Some were in the worker's hands.
    assert!(set_aside >= 100, "{set_aside}");
    let sample: uuid::Uuid = line.world.scalar("select event_id from outbox.dead_letter limit 1").await;
    let why = line.outbox(&format!("why {sample}")).await;
    assert!(why.code == 1 && why.out.contains("given up by operator-a@"), "{why:?}");

    let back = given.command("outbox dlq redrive");
    let back = line.run(&format!("{back} --rate 10000 --yes")).await;
    assert_eq!((back.code, back.out), (0, format!("redriven {set_aside} dead letters")));
    let all: Vec<EventId> = noisy.iter().chain(&quiet).copied().collect();
    line.world.rpcs.until_done("Test/Slow", &all).await;
    line.world.until_settled().await;
    assert_eq!(line.world.rpcs.calls().len(), 152);
    line.is_well().await;
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}
