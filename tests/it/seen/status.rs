//! `outbox status` and its data: workers, a missing relay, pages, several databases, mistakes, and a full outbox.

use std::time::{Duration, Instant};

use outbox::Entry;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::operator::{ROUTER, misbehave, outbox, paste};
use crate::world::{One, Two, World, cluster, migrated_database, new_database};

/// Guards promise 8: `status` reads from workers calls under way and breakers, and names a worker without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn status_asks_workers() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    world.relay();
    let endpoint = format!("Test=http://{}", world.rpcs.addr);
    let mut worker = world.worker_process_with(&["--endpoint", &endpoint]);
    let serving = worker.wait_for("serving /metrics").await.unwrap();
    let addr = serving.split("addr=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let called = world.publish(Two { n: 1 }).await;
    world.rpcs.until("it is being called", |rpcs| !rpcs.calls_of(called).is_empty()).await;
    let status = outbox(&world, &format!("status --format json --worker http://{addr}")).await.json();
    assert_eq!(
        (&status["rpcs"][1]["rpc"], &status["rpcs"][1]["calls"]),
        (&json!("Test/Slow"), &json!(1)),
        "{status}"
    );

    // A worker with an open breaker, and one without an answer.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = format!("http://{}", listener.local_addr().unwrap());
    let name = world.source.name().to_owned();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let body = format!("outbox_worker_breaker_state{{source=\"{name}\",rpc=\"Test/One\"}} 2\n");
        stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).await.unwrap();
    });
    let said =
        outbox(&world, &format!("status --format json --worker {open} --worker http://127.0.0.1:1")).await;
    assert_eq!((said.code, &said.json()["rpcs"][0]["breaker"]), (1, &json!("open")), "{said:?}");
    let problems = said.json()["problems"].to_string();
    assert!(problems.contains("the server of Test/One is away"), "{problems}");
    assert!(problems.contains("a worker does not answer: http://127.0.0.1:1"), "{problems}");
    answer.cancel();
    world.rpcs.until_done("Test/Slow", &[called]).await;
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: without a relay, `status` says so first, and `why` counts the events ahead of one.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_relay_is_the_first_problem() {
    let world = World::new(ROUTER).await;
    let first = world.publish(One { n: 1 }).await;
    let second = world.publish(Two { n: 2 }).await;
    let said = outbox(&world, "status --format json").await;
    let source = &said.json()["sources"][0];
    assert_eq!((said.code, &source["leader"], &source["put_at"]), (1, &Value::Null, &Value::Null));
    assert_eq!((&source["waiting_events"], &source["oldest_event"]), (&json!(2), &json!(first)));
    assert!(outbox(&world, "status").await.out.contains("no relay leads test_"));
    let told = outbox(&world, &format!("why {second}")).await;
    assert_eq!(told.code, 0, "it is on its way: {told:?}");
    assert!(told.out.contains("no relay leads: start `relay` (1 event ahead of it"), "{told:?}");
    let nobody = outbox(&world, "why 0198c7e2-0000-7000-8000-000000000001").await;
    assert!(nobody.code == 1 && nobody.out.contains("the outbox goes back to"), "{nobody:?}");
    let unordered = outbox(&world, "why 0198c7e2-0000-4000-8000-000000000001").await;
    assert!(unordered.code == 1 && unordered.err.contains("carries no time"), "{unordered:?}");
    world.finish().await;
}

/// Guards promise 8: within a window that is put page by page, put events differ from waiting ones.
#[tokio::test(flavor = "multi_thread")]
async fn put_and_waiting_pages_of_a_window_differ() {
    let world = World::new(ROUTER).await;
    let page = |snapshot: &str| {
        format!(
            "insert into outbox.cursor (snapshot, page_snapshot, page_seq, last_seq, floor_seq, system_identifier, relay, slot)
             select snapshot, {snapshot}, 4, 4, 0, system_identifier, 'test', 0 from outbox.cursor"
        )
    };
    let ids = world.publish_all((0..10).map(|n| Entry::new(One { n }))).await;
    world.execute(&page("pg_current_snapshot()::text")).await;
    let after = world.publish(One { n: 11 }).await;
    let source = outbox(&world, "status --format json").await.json()["sources"][0].clone();
    assert_eq!((&source["waiting_events"], &source["oldest_event"]), (&json!(7), &json!(ids[4])), "{source}");
    for (id, ahead) in
        [(ids[0], None), (ids[3], None), (ids[4], Some(0)), (ids[9], Some(5)), (after, Some(6))]
    {
        let life = outbox(&world, &format!("why {id} --format json")).await.json();
        assert_eq!(life["put"].is_null(), ahead.is_some(), "{life}");
        assert_eq!(life["waiting"]["events_ahead"].as_i64(), ahead, "{life}");
    }
    let plan = outbox(&world, "replay --since 1h --format json").await.json();
    assert_eq!((&plan["messages"], &plan["not_put"]), (&json!(4), &json!(7)), "{plan}");
    world.finish().await;
}

/// Guards promise 8: each of several databases has its name in the output, and an event is found in any of them.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_databases_has_its_name() {
    let world = World::new(ROUTER).await;
    let other = migrated_database(cluster()).await;
    let mut conn = PgConnection::connect(&other).await.unwrap();
    let id: uuid::Uuid =
        sqlx::query_scalar("select outbox.enqueue('event_one', '{}')").fetch_one(&mut conn).await.unwrap();
    sqlx::query("insert into outbox.queue (rpc) values ('Test/One')").execute(&mut conn).await.unwrap();
    let sources = format!("cards={} ledger={other}", world.url);
    let env = [("OUTBOX_SOURCES", sources.as_str())];
    let status = paste(&env, "outbox status --format json").await.json();
    let names: Vec<_> =
        status["sources"].as_array().unwrap().iter().map(|source| source["source"].clone()).collect();
    assert_eq!(names, ["cards", "ledger"]);
    assert_eq!(
        (&status["rpcs"][0]["source"], &status["sources"][1]["waiting_events"]),
        (&json!("ledger"), &json!(1))
    );
    let life = paste(&env, &format!("outbox why {id} --format json")).await.json();
    assert_eq!(life["enqueued"]["source"], "ledger", "{life}");
    world.finish().await;
}

/// Guards promise 8: unusable input and unreachable servers have their own exit code and a remedy. No password is printed.
#[tokio::test(flavor = "multi_thread")]
async fn unusable_input_and_servers_are_named_with_a_remedy() {
    let world = World::new(ROUTER).await;
    let url = world.url.as_str();
    let bare = new_database(cluster()).await;
    let secret = "postgres://me:hunter2@127.0.0.1:1/cards";
    let id = "0198c7e2-0000-7000-8000-000000000001";
    let cases: [(&[(&str, &str)], &str, i32, &str); 16] = [
        (&[], "status", 2, "no database given"),
        (&[("DATABASE_URL", "mysql://me:hunter2@x/y")], "status", 2, "does not begin with postgres://"),
        (&[("DATABASE_URL", secret)], "status", 3, "cards: can't connect to its database"),
        (&[("DATABASE_URL", secret)], "dlq list", 3, "see DATABASE_URL"),
        (&[("DATABASE_URL", &bare)], "status", 3, "run `relay migrate`"),
        (&[("DATABASE_URL", url)], "why nonsense", 2, "EVENT_ID"),
        (&[("DATABASE_URL", url)], "dlq redrive", 2, "or --all"),
        (&[("DATABASE_URL", url)], "dlq drop --all --rpc Test/One", 2, "contradict"),
        (&[("DATABASE_URL", url)], "dlq list --rpc Test", 2, "write Service/Method"),
        (&[("DATABASE_URL", url)], "dlq show 17", 1, "there is no dead letter 17"),
        (&[("DATABASE_URL", url)], "parked retry", 2, "or --all"),
        (&[("DATABASE_URL", url)], "replay", 2, "--since <TIME>"),
        (&[("DATABASE_URL", url)], "replay --since 1h", 2, "it says who subscribes to what"),
        (&[("DATABASE_URL", url)], "status --router /nowhere.yaml", 2, "failed to read /nowhere.yaml"),
        (&[("DATABASE_URL", url)], "status --worker worker:9465", 2, "write http://HOST:PORT"),
        (&[("OUTBOX_TRANSPORT", "aws"), ("OUTBOX_ROUTER", "/nowhere.yaml")], "dlq list", 2, "failed to read"),
    ];
    for (env, args, code, words) in cases {
        let said = paste(env, &format!("cd / && outbox {args}")).await;
        assert_eq!(said.code, code, "{args}: {said:?}");
        assert!(said.err.contains(words), "{args}: {said:?}");
        assert!(!said.err.contains("hunter2"), "{said:?}");
    }
    let replayed = outbox(&world, &format!("replay --event {id}")).await;
    assert!(replayed.code == 1 && replayed.err.contains("is in no outbox that was named"), "{replayed:?}");
    // One database that is down does not hide the others.
    let both = format!("{url} {secret}");
    let said = paste(&[("OUTBOX_SOURCES", &both)], "cd / && outbox status --format json").await;
    assert_eq!((said.code, said.json()["sources"].as_array().unwrap().len()), (3, 1), "{said:?}");
    assert!(
        said.json()["problems"][0]["problem"].as_str().unwrap().contains("cards: can't connect"),
        "{said:?}"
    );
    world.finish().await;
}

/// Guards promise 8: with a million events and a million deliveries `status` answers within a second. `why` finds any of
/// them, received or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_is_reported_within_a_second() {
    let world = World::alone(ROUTER).await;
    world.execute("insert into outbox.queue (rpc) values ('Test/One'), ('Test/Slow')").await;
    // The events of an hour: ids, times and seqs in one order.
    world
        .execute(
            "insert into outbox.event (id, name, payload, occurred_at, slot)
             select (overlay(overlay(gen_random_uuid()::text placing
                         lpad(to_hex(ms >> 16), 8, '0') || '-' || lpad(to_hex(ms & 65535), 4, '0') from 1 for 13)
                     placing '7' from 15 for 1))::uuid,
                    case when n % 2 = 0 then 'event_one' else 'event_two' end, '{\"n\":1}', to_timestamp(ms / 1000.0), n * 8 / 1000001
             from generate_series(1, 1000000) as n,
                  lateral (select (extract(epoch from now()) * 1000)::bigint - 3600000 + (n * 3.6)::bigint as ms) as t",
        )
        .await;
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, at, slot)
             select pg_current_snapshot()::text, 1000000, 1000000, system_identifier, 'test', now(), 0 from pg_control_system()",
        )
        .await;
    world
        .execute(
            "insert into outbox.delivery (queue, event_id, body, enqueued_at, slot)
             select case when e.seq % 2 = 0 then 1 else 2 end, e.id, '{}', c.at, e.seq * 8 / 1000001
             from outbox.event as e, (select at from outbox.cursor order by id desc limit 1) as c order by e.seq",
        )
        .await;
    world.execute("insert into outbox.claim (queue, token, first_seq, last_seq, until, worker) values (1, 7, 1, 400000, null, 'w')").await;

    outbox(&world, "status").await;
    let began = Instant::now();
    let said = outbox(&world, "status --format json").await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let waiting = |rpc: usize| said.json()["rpcs"][rpc]["waiting"].as_i64().unwrap();
    assert_eq!((waiting(0), waiting(1), said.json()["counted_max"].as_i64()), (10_000, 10_000, Some(10_000)));
    assert!(outbox(&world, "status").await.out.contains("10,000+"));

    for n in [1, 2, 399_998, 400_002, 500_001, 999_999, 1_000_000] {
        let id: uuid::Uuid = sqlx::query_scalar("select id from outbox.event where seq = $1")
            .bind(n)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        let began = Instant::now();
        let said = outbox(&world, &format!("why {id} --format json")).await;
        let took = began.elapsed();
        assert_eq!((&said.json()["enqueued"]["seq"], said.err.as_str()), (&json!(n), ""));
        let (state, ahead) = (&said.json()["deliveries"][0]["state"], &said.json()["deliveries"][0]["ahead"]);
        let received = n % 2 == 0 && n <= 400_000;
        assert_eq!(state, if received { "absent" } else { "queued" }, "{n}: {said:?}");
        let before = if n % 2 == 0 { (n - 400_002) / 2 } else { n / 2 };
        assert!(received || *ahead == json!(before.min(10_000)), "{n}: {said:?}");
        assert!(took < Duration::from_secs(5), "{n}: {took:?}");
    }
    world.finish().await;
}
