//! The operator's commands on AWS.

use connectrpc::ConnectError;
use event::EventId;
use serde_json::json;
use testkit::process::Process;

use super::desk::{Desk, LYING};
use crate::cloud::cloud;
use crate::world::{Rpcs, World, programs, until};

const ROUTER: &str = "
event:
  - name: event_operate
    subscriber:
      - id: Test/Operate
";

async fn publish(world: &World, n: i64) -> EventId {
    let id: uuid::Uuid = sqlx::query_scalar("select outbox.enqueue('event_operate', $1, 'key-1')")
        .bind(format!("{{\"n\":{n}}}"))
        .fetch_one(&world.pool)
        .await
        .unwrap();
    id.into()
}

/// Guards promise 8 on AWS: what is dead is counted, listed with its reason, shown, redriven, redriven by force and dropped,
/// without the database; what is put back can be seen at once; replay and `why` work as on Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_on_aws() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(ROUTER).await;
    let desk = Desk::new(&world, cloud);
    let mut env = cloud.environment();
    env.push(("DATABASE_URL", &world.url));
    let relay = Process::start(&programs().join("relay"), ["--metrics-addr", "127.0.0.1:0"], &env).unwrap();
    let endpoints = world.endpoints();
    let mut args = vec!["--router", &desk.router, "--metrics-addr", "127.0.0.1:0", "--visibility", "3s"];
    args.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
    let worker = Process::start(&programs().join("worker"), args, &cloud.environment()).unwrap();

    world.rpcs.on("Test/Operate", |called| {
        let n = crate::operator::n(called);
        Box::pin(
            async move { if n == 13 { Err(ConnectError::invalid_argument("no such card")) } else { Ok(()) } },
        )
    });
    let done = publish(&world, 1).await;
    let dead = [publish(&world, 13).await, publish(&world, 13).await, publish(&world, 13).await];
    world.rpcs.until_done("Test/Operate", &[done]).await;
    until("they are dead", async || desk.letters("").await.len() == 3).await;

    let status = desk.with_database("outbox status --format json").await;
    assert_eq!(
        (status.code, status.json()["sources"][0]["waiting_events"].as_i64()),
        (1, Some(0)),
        "{status:?}"
    );
    let alone = desk.outbox("status").await;
    assert!(
        alone.out.contains("3 dead letters of Test/Operate: outbox dlq list --rpc Test/Operate"),
        "{alone:?}"
    );
    assert!(
        alone.out.contains("No database given") && alone.out.contains("outbox-undeliverable"),
        "{alone:?}"
    );

    // Looked at twice in a row: what was looked at is not hidden.
    let listed = desk.letters("--code invalid_argument").await;
    assert_eq!(desk.letters("").await.len(), 3);
    assert!(
        listed
            .iter()
            .all(|letter| letter["reason"] == "no such card" && letter["event_name"] == "event_operate")
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

    // Mended: one redriven, one dropped, one redriven as the list says.
    assert_eq!(desk.outbox("dlq redrive --all --dry-run").await.out, "would redrive 3 dead letters");
    world.rpcs.on("Test/Operate", |_| Box::pin(async { Ok(()) }));
    // Without the record, too: it is only asked for what is worth knowing.
    let args = format!("dlq redrive --event {} --rpc Test/Operate --dedup-table nowhere", dead[0]);
    let redriven = desk.outbox(&args).await;
    assert!(redriven.code == 0 && redriven.out.starts_with("redriven 1 dead letter\n"), "{redriven:?}");
    assert!(redriven.out.contains("the record can't be asked"), "{redriven:?}");
    assert_eq!(
        desk.outbox(&format!("dlq drop --yes --event {}", dead[1])).await.out,
        "dropped 1 dead letter"
    );
    let list = desk.outbox("dlq list").await;
    assert_eq!(desk.paste(&list.command("outbox dlq redrive")).await.out, "redriven 1 dead letter");
    world.rpcs.until_done("Test/Operate", &[dead[0], dead[2]]).await;
    assert!(desk.letters("").await.is_empty());
    assert_eq!(world.rpcs.calls_of(dead[1]).len(), 1);

    // Who did that is found again, without a scan and without a router; other tests' repairs stand there, too.
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
    assert!(listed.code == 0 && listed.out.contains("outbox dlq"), "{listed:?}");

    // SQS moves what kills workers, and says nothing: that is said. What was done calls nobody, unless by force.
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    let url =
        sqs.get_queue_url().queue_name("outbox-Test--Operate-dlq").send().await.unwrap().queue_url.unwrap();
    let body = format!(
        r#"{{"rpc":"Test/Operate","event":{{"id":"{done}","name":"event_operate","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"n":1}}}}}}"#
    );
    until("it is recorded", async || {
        desk.outbox(&format!("why {done} --format json")).await.json()["deliveries"][0]["state"] == "done"
    })
    .await;
    sqs.send_message().queue_url(&url).message_body(&body).send().await.unwrap();
    let letter = &desk.letters("").await[0];
    assert_eq!(
        [&letter["code"], &letter["reason"]],
        [&json!("redrive_policy"), &json!("received too often without being settled")]
    );
    let again = desk.outbox("dlq redrive --code redrive_policy").await;
    assert!(again.out.contains("1 of them had been done before"), "{again:?}");
    world.rpcs.forget();
    sqs.send_message().queue_url(&url).message_body(&body).send().await.unwrap();
    let calls = world.rpcs.calls_of(done).len();
    assert_eq!(calls, 1);
    let forced = desk.outbox("dlq redrive --all --force --yes").await;
    assert!(forced.out.contains("their RPC runs again"), "{forced:?}");
    world.rpcs.until_done("Test/Operate", &[done]).await;

    // The past, from the database into SQS.
    let why = desk.with_database(&format!("outbox why {}", dead[0])).await;
    assert!(why.code == 0 && why.out.contains("put       20") && why.out.contains("done      "), "{why:?}");
    let dry = desk.with_database("outbox replay --since 1h").await;
    assert!(dry.out.contains("To send 4 messages"), "{dry:?}");
    let sent = desk.with_database(&dry.command("outbox replay")).await;
    assert!(sent.out.contains("sent 4 messages\n  3 of them had been done before"), "{sent:?}");
    world.rpcs.until_done("Test/Operate", &[dead[1]]).await;
    let replayed = world.rpcs.calls_of(dead[1]).pop().unwrap();
    assert!(replayed.incoming.header("outbox-replay").starts_with("20"));
    assert_eq!(desk.outbox("replay --since 1h").await.code, 2, "it needs the database");

    // Held, until a person says that it is poison.
    world
        .rpcs
        .on("Test/Operate", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let mut refused = Vec::new();
    for n in 0..7 {
        refused.push(publish(&world, n).await);
    }
    let called = |rpcs: &Rpcs| refused.iter().all(|id| !rpcs.calls_of(*id).is_empty());
    world.rpcs.until("each was refused", called).await;
    until("four are dead", async || desk.letters("").await.len() == 4).await;
    let spoken = desk.outbox("poison --rpc Test/Operate --for 10m --yes").await;
    assert!(spoken.code == 0 && spoken.out.contains("is dead-lettered for 10m"), "{spoken:?}");
    until("all are dead", async || desk.letters("").await.len() == 7).await;
    for process in [relay, worker] {
        process.stop().await.unwrap();
    }
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
