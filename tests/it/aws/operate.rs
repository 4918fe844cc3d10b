//! The operator's commands on AWS.

use connectrpc::ConnectError;
use serde_json::json;

use super::case::{Case, Route};
use super::desk::{Desk, LYING};
use crate::cloud::cloud;
use crate::world::{Rpcs, World, until};

/// Guards promise 8 on AWS: dead letters are counted, listed with their reason, and shown, without the database. Reading
/// does not hide them.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_on_aws_are_counted_listed_and_shown() {
    const ROUTE: Route = Route { event: "event_operate_list", rpc: "Test/OperateList" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let case = Case::start(&world, cloud, ROUTE);
    let desk = &case.desk;
    case.done().await;
    let dead = case.dead().await;

    let status = desk.with_database("outbox status --format json").await;
    assert_eq!(
        (status.code, status.json()["sources"][0]["waiting_events"].as_i64()),
        (1, Some(0)),
        "{status:?}"
    );
    // The worker is known without its address, and the relay from its database.
    let rpc = status.json()["rpcs"][0].clone();
    assert!(rpc["breaker"] == "closed" && rpc["serving"]["workers"] == 1, "{rpc}");
    let processes = status.json()["processes"].as_array().unwrap().clone();
    let has = |program: &str| processes.iter().any(|one| one["program"] == program);
    assert!(has("relay") && has("worker"), "{processes:?}");
    // The table is shared: other tests' workers are among the processes, before or after this one's.
    let worker = |name: &serde_json::Value| {
        processes.iter().any(|one| one["program"] == "worker" && one["name"] == *name)
    };
    // On a busy machine the emulator may answer too late for one of the entries, which is not written again.
    until("the history has the worker's name as `status` has it", async || {
        for event in dead {
            let told = desk.outbox(&format!("why {event} --format json")).await.json();
            if told["history"].as_array().unwrap().iter().any(|entry| worker(&entry["worker"])) {
                return true;
            }
        }
        false
    })
    .await;
    let alone = desk.outbox("status").await;
    assert!(
        alone.out.contains("3 dead letters of Test/OperateList: outbox dlq list --rpc Test/OperateList"),
        "{alone:?}"
    );
    assert!(
        alone.out.contains("No database given") && alone.out.contains("outbox-undeliverable"),
        "{alone:?}"
    );
    let listed = desk.letters("--code invalid_argument").await;
    assert_eq!(desk.letters("").await.len(), 3);
    assert!(
        listed
            .iter()
            .all(|letter| letter["reason"] == "no such card" && letter["event_name"] == "event_operate_list")
    );
    assert_eq!(desk.letters(&format!("--event {}", dead[1])).await.len(), 1);
    assert_eq!(desk.letters("--limit 2").await.len(), 2);
    assert_eq!(desk.letters("--older-than 1h").await.len(), 0);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = desk.outbox(&format!("dlq show {id} --payload --format json")).await;
    assert_eq!(
        (&shown.json()["payload"], &shown.json()["key"]),
        (&json!({"n": 13}), &json!("key-1")),
        "{shown:?}"
    );
    case.stop().await;
    world.finish().await;
}

/// Guards promise 8 on AWS: dead letters are redriven and dropped without the database, also as the list says and without
/// the record. The audit keeps each command.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_on_aws_are_redriven_and_dropped() {
    const ROUTE: Route = Route { event: "event_operate_redrive", rpc: "Test/OperateRedrive" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let case = Case::start(&world, cloud, ROUTE);
    let desk = &case.desk;
    let dead = case.dead().await;
    assert_eq!(desk.outbox("dlq redrive --all --dry-run").await.out, "would redrive 3 dead letters");
    case.mend();
    // The record only serves the output, so a redrive works without it.
    let args = format!("dlq redrive --event {} --rpc Test/OperateRedrive --dedup-table nowhere", dead[0]);
    let redriven = desk.outbox(&args).await;
    assert!(redriven.code == 0 && redriven.out.starts_with("redriven 1 dead letter\n"), "{redriven:?}");
    assert!(redriven.out.contains("the record can't be asked"), "{redriven:?}");
    assert_eq!(
        desk.outbox(&format!("dlq drop --yes --event {} --rpc Test/OperateRedrive", dead[1])).await.out,
        "dropped 1 dead letter"
    );
    let list = desk.outbox("dlq list").await;
    assert_eq!(desk.paste(&list.command("outbox dlq redrive")).await.out, "redriven 1 dead letter");
    world.rpcs.until_done("Test/OperateRedrive", &[dead[0], dead[2]]).await;
    assert!(desk.letters("").await.is_empty());
    assert_eq!(world.rpcs.calls_of(dead[1]).len(), 1);

    // The audit needs neither a scan nor a router, and contains other tests' repairs, too.
    let kept = desk.outbox("audit --format json --limit 1000 --router nowhere.yaml").await.json();
    let kept = kept.as_array().unwrap();
    let of_drop = format!("dlq drop --yes --event {}", dead[1]);
    let found: Vec<_> =
        kept.iter().filter(|one| one["command"].as_str().unwrap().contains(&of_drop)).collect();
    assert_eq!(found.len(), 1, "{kept:?}");
    assert_eq!([&found[0]["source"], &found[0]["role"]], [&json!("dynamodb"), &json!(null)]);
    assert_eq!(found[0]["result"]["moved"], 1, "{found:?}");
    assert!(kept.is_sorted_by_key(|one| std::cmp::Reverse(one["at"].as_str().unwrap().to_owned())));
    let listed = desk.outbox("audit --limit 1").await;
    // Its newest entry may be another test's.
    assert!(listed.code == 0 && listed.out.contains("outbox "), "{listed:?}");
    case.stop().await;
    world.finish().await;
}

/// Guards promises 3 and 8 on AWS: a message that SQS itself moved is listed with its reason. For a done event a redrive
/// calls nothing, unless by force.
#[tokio::test(flavor = "multi_thread")]
async fn a_done_event_on_aws_is_called_again_only_by_force() {
    const ROUTE: Route = Route { event: "event_operate_force", rpc: "Test/OperateForce" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let case = Case::start(&world, cloud, ROUTE);
    let desk = &case.desk;
    let done = case.done().await;
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    let queue = "outbox-Test--OperateForce-dlq";
    let url = sqs.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap();
    let body = format!(
        r#"{{"rpc":"Test/OperateForce","event":{{"id":"{done}","name":"event_operate_force","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"n":1}}}}}}"#
    );
    sqs.send_message().queue_url(&url).message_body(&body).send().await.unwrap();
    let letter = &desk.letters("").await[0];
    assert_eq!(
        [&letter["code"], &letter["reason"]],
        [&json!("redrive_policy"), &json!("received too often without being settled")]
    );
    let again = desk.outbox("dlq redrive --code redrive_policy --rpc Test/OperateForce").await;
    assert!(again.out.contains("1 of them had been done before"), "{again:?}");
    world.rpcs.forget();
    sqs.send_message().queue_url(&url).message_body(&body).send().await.unwrap();
    let calls = world.rpcs.calls_of(done).len();
    assert_eq!(calls, 1);
    let forced = desk.outbox("dlq redrive --rpc Test/OperateForce --force --yes").await;
    assert!(forced.out.contains("their RPC runs again"), "{forced:?}");
    world.rpcs.until_done("Test/OperateForce", &[done]).await;
    case.stop().await;
    world.finish().await;
}

/// Guards promise 8 on AWS: replay sends past events from the database into SQS, with its header, and `why` shows put and
/// record.
#[tokio::test(flavor = "multi_thread")]
async fn past_events_are_replayed_on_aws() {
    const ROUTE: Route = Route { event: "event_operate_replay", rpc: "Test/OperateReplay" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let case = Case::start(&world, cloud, ROUTE);
    let desk = &case.desk;
    case.done().await;
    let dead = case.dead().await;
    case.mend();
    let dropped = desk.outbox(&format!("dlq drop --yes --event {} --rpc Test/OperateReplay", dead[1])).await;
    assert_eq!(dropped.out, "dropped 1 dead letter");
    assert_eq!(desk.outbox("dlq redrive --rpc Test/OperateReplay --yes").await.code, 0);
    case.until_recorded(dead[0]).await;
    case.until_recorded(dead[2]).await;

    let why = desk.with_database(&format!("outbox why {}", dead[0])).await;
    assert!(why.code == 0 && why.out.contains("put       20") && why.out.contains("done      "), "{why:?}");
    let dry = desk.with_database("outbox replay --since 1h").await;
    assert!(dry.out.contains("To send 4 messages"), "{dry:?}");
    let sent = desk.with_database(&dry.command("outbox replay")).await;
    assert!(sent.out.contains("sent 4 messages\n  3 of them had been done before"), "{sent:?}");
    world.rpcs.until_done("Test/OperateReplay", &[dead[1]]).await;
    let replayed = world.rpcs.calls_of(dead[1]).pop().unwrap();
    assert!(replayed.incoming.header("outbox-replay").starts_with("20"));
    assert_eq!(desk.outbox("replay --since 1h").await.code, 2, "it needs the database");
    case.stop().await;
    world.finish().await;
}

/// Guards promise 8 on AWS: `outbox poison` ends a hold, and its events are dead-lettered.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_on_aws_ends_by_an_operators_command() {
    const ROUTE: Route = Route { event: "event_operate_poison", rpc: "Test/OperatePoison" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let case = Case::start(&world, cloud, ROUTE);
    let desk = &case.desk;
    case.done().await;
    world.rpcs.on(ROUTE.rpc, |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let mut refused = Vec::new();
    for n in 0..7 {
        refused.push(case.publish(n).await);
    }
    let called = |rpcs: &Rpcs| refused.iter().all(|id| !rpcs.calls_of(*id).is_empty());
    world.rpcs.until("each was refused", called).await;
    until("four are dead", async || desk.letters("").await.len() == 4).await;
    let spoken = desk.outbox("poison --rpc Test/OperatePoison --for 10m --yes").await;
    assert!(spoken.code == 0 && spoken.out.contains("is dead-lettered for 10m"), "{spoken:?}");
    until("all are dead", async || desk.letters("").await.len() == 7).await;
    case.stop().await;
    world.finish().await;
}

/// Guards promises 6 and 8 on AWS: a paused RPC is not received from, so its messages lose no attempt. Status, history, report
/// and audit show it. Resumed, all are called.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_on_aws_stops_receives_until_it_is_resumed() {
    const ROUTE: Route = Route { event: "event_operate_pause", rpc: "Test/OperatePause" };
    let Some(cloud) = cloud() else { return };
    let world = World::new(&ROUTE.yaml()).await;
    let mut case = Case::start(&world, cloud, ROUTE);
    case.done().await;
    let paused = case.desk.outbox("pause --rpc Test/OperatePause --for 30m --why 'a bad deploy'").await;
    assert!(paused.code == 0 && paused.out.contains("is paused for 30m"), "{paused:?}");
    case.processes[1].wait_for("paused by an operator").await.unwrap();
    let mut waiting = Vec::new();
    for n in 2..5 {
        waiting.push(case.publish(n).await);
    }
    let desk = &case.desk;
    until("they wait, and the worker reports the pause", async || {
        let status = desk.outbox("status --format json").await.json();
        let reports = status["processes"].as_array().unwrap().iter();
        let mut rpcs = reports.filter_map(|process| process["rpcs"].as_array()).flatten();
        status["rpcs"][0]["waiting"] == 3 && rpcs.any(|rpc| rpc["rpc"] == ROUTE.rpc && rpc["paused"] == true)
    })
    .await;
    let status = desk.outbox("status").await;
    assert!(status.code == 1 && status.out.contains("Test/OperatePause is paused until 20"), "{status:?}");
    let why = desk.with_database(&format!("outbox why {}", waiting[0])).await;
    assert!(why.out.contains("paused until 20") && why.out.contains(": a bad deploy"), "{why:?}");
    assert!(waiting.iter().all(|id| world.rpcs.calls_of(*id).is_empty()));
    assert!(desk.outbox("audit").await.out.contains("outbox pause --rpc Test/OperatePause"));

    let resumed = desk.outbox("resume --rpc Test/OperatePause").await;
    assert!(resumed.code == 0 && resumed.out.contains("is no longer paused"), "{resumed:?}");
    world.rpcs.until_done(ROUTE.rpc, &waiting).await;
    // One receive was cut off by the pause, and the emulator may have counted it.
    assert!(waiting.iter().all(|id| world.rpcs.calls_of(*id)[0].attempt <= 2));
    let again = desk.outbox("resume --rpc Test/OperatePause").await;
    assert!(again.code == 1 && again.err.contains("is not paused"), "{again:?}");
    case.stop().await;
    world.finish().await;
}

/// Guards promise 8 on AWS: a message that SQS refuses ends a replay, and what was sent beside it is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_counts_what_was_sent_beside_a_refusal() {
    let Some(cloud) = cloud() else { return };
    let mut world = World::new(LYING).await;
    world.relay();
    // No message on SQS may have the one in the middle.
    for text in ["one", "\u{fffe}", "three"] {
        sqlx::query("select outbox.enqueue('event_lying', $1)")
            .bind(json!({ "text": text }).to_string())
            .execute(&world.pool)
            .await
            .unwrap();
    }
    world.until("select count(*) = 3 from outbox.delivery").await;
    let prefix = format!("c{:08x}-", fastrand::u32(..));
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    sqs.create_queue().queue_name(format!("{prefix}Test--Lying")).send().await.unwrap();
    let desk = Desk::new(&world, cloud);
    let said = desk.with_database(&format!("outbox replay --since 1h --run --queue-prefix {prefix}")).await;
    assert!(said.code == 1 && said.out.starts_with("sent 2 messages\nthen it failed: "), "{said:?}");
    let status = desk.outbox(&format!("status --format json --queue-prefix {prefix}")).await.json();
    assert_eq!(status["rpcs"][0]["waiting"], 2, "{status}");
    world.finish().await;
}
