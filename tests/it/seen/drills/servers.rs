//! Servers that are away, elsewhere or slow.

use std::time::Duration;

use outbox::Entry;

use super::desk::{Drill, ROUTER, one};
use crate::operator::misbehave;
use crate::world::Two;

/// Guards promise 8, drill 1: the only server of an RPC is away. Its address, the error and the worker are named, and all that
/// waited is delivered once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn drill_1_a_server_is_away() {
    let (mut drill, mut door) = Drill::behind_a_door("1", ROUTER).await;
    door.close().await;
    drill.incident();
    let waiting = drill.publish((0..20).map(one)).await;
    let connect = format!("can't connect to {}", door.addr);
    let named = drill.named(&["the server of Test/One is away", "in 1 of 1 worker: ", &connect]).await;
    assert!(named.text.contains("the workers look again by themselves"), "{named:?}");
    let labels = ["rpc=\"Test/One\""];
    let is_open = |level| level == 1.0 || level == 2.0;
    drill
        .fires("OutboxBreakerOpen", &drill.workers[0], "outbox_worker_breaker_state", &labels, is_open)
        .await;
    drill.why(waiting[19], &["its breaker is open in 1 of 1 worker", &connect]).await;

    door.open_again(&drill.world).await;
    drill.world.rpcs.until_done("Test/One", &waiting).await;
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 1b: one of two workers has a wrong address. That worker is named with it, and not the server.
#[tokio::test(flavor = "multi_thread")]
async fn drill_1b_one_worker_has_a_wrong_address() {
    let mut drill = Drill::start("1b", ROUTER).await;
    // A port on which nothing listens.
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let router = drill.world.router_file.clone();
    drill.incident();
    drill.start_worker_with(&router, &[format!("Test=http://{away}")]).await;
    let wrong = drill.workers.last().unwrap();
    let (pid, connect) = (format!(":{}:", wrong.process.pid()), format!("can't connect to {away}"));
    let publishing = async {
        for n in 100.. {
            drill.publish([one(n)]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let labels = ["rpc=\"Test/One\""];
    let seeing = async {
        let named = drill.named(&["the server of Test/One is away", "in 1 of 2 workers: ", &connect]).await;
        let is_open = |level| level == 1.0 || level == 2.0;
        drill.fires("OutboxBreakerOpen", wrong, "outbox_worker_breaker_state", &labels, is_open).await;
        named
    };
    let named = tokio::select! {
        named = seeing => named,
        () = publishing => unreachable!("it has no end"),
    };
    assert!(named.text.contains(&pid) && named.text.contains("see the --endpoint"), "{named:?}");
    drill.world.until("select exists (select from outbox.history where code = 'unavailable')").await;
    let failed: uuid::Uuid =
        drill.world.scalar("select event_id from outbox.history where code = 'unavailable' limit 1").await;
    drill.why(failed.into(), &["Test/One", "failed with unavailable: ", &connect, &pid]).await;

    drill.stop_worker().await;
    drill.start_worker().await;
    drill.world.until_settled().await;
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 2: a server takes its time, and all calls that may run are under way. Their number and duration are
/// named, with a limit to paste, which workers follow without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn drill_2_a_server_is_slow() {
    let mut drill = Drill::start("2", ROUTER).await;
    let answer = misbehave(&drill.world);
    drill.incident();
    let ids = drill.publish((0..6).map(|n| Entry::new(Two { n }))).await;
    let named = drill.named(&["for Test/Slow wait", "all 2 of 2 calls are under way"]).await;
    let labels = ["rpc=\"Test/Slow\""];
    let worker = &drill.workers[0];
    drill
        .fires("OutboxWorkerSaturated", worker, "outbox_worker_in_flight", &labels, |calls| calls == 2.0)
        .await;
    drill
        .fires("OutboxWorkerSaturated", worker, "outbox_worker_concurrency_max", &labels, |most| most == 2.0)
        .await;
    drill.why(ids[5], &["all 2 of 2 calls are under way, the longest for "]).await;

    assert!(named.command.starts_with("outbox limit --rpc Test/Slow --concurrency 4 "), "{named:?}");
    let limited = drill.paste(&named.command).await;
    assert_eq!(limited.code, 0, "{limited:?}");
    let slow = |rpcs: &crate::world::Rpcs| rpcs.calls().iter().filter(|call| call.rpc == "Test/Slow").count();
    drill.world.rpcs.until("four are called", |rpcs| slow(rpcs) == 4).await;
    answer.cancel();
    drill.world.rpcs.until_done("Test/Slow", &ids).await;
    drill.until_well().await;
    let notice = drill.problem(&["Test/Slow is limited to 4 calls"]).await.expect("it still is");
    let cleared = drill.paste(&notice.command).await;
    assert!(cleared.code == 0 && cleared.out.contains("is no longer limited"), "{cleared:?}");
    drill.finish().await;
}
