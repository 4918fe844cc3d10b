use outbox::{Entry, EventId};
use testkit::process::Process;

use crate::world::{One, ROUTER, World, programs};

/// Guards promise 6: an event without a subscriber is kept in the history, counted, and blocks no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_unrouted_event_is_kept_and_blocks_no_other() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query("select outbox.enqueue('event_nobody_wants', '{}', 'key-1')")
        .execute(&mut *tx)
        .await
        .unwrap();
    let routed = outbox::Entry::new(One { n: 1 }).key("key-1").enqueue(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    world.rpcs.until_done("Test/One", &[routed]).await;
    assert_eq!(
        world.scalar::<i64>("select count(*) from outbox.event where name = 'event_nobody_wants'").await,
        1
    );
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked").await, 0);
    assert!(crate::world::metrics().render().contains("outbox_relay_unrouted_events_total"));
    world.finish().await;
}

/// Guards promise 6: a row that no bus could carry is parked with its reason, and all others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_travel_is_parked() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    for (n, (payload, headers)) in
        [("not json", "null"), ("[1]", "null"), ("{}", "'[]'")].into_iter().enumerate()
    {
        // Written past outbox.enqueue, as only an owner can.
        world
            .execute(&format!(
                "insert into outbox.event (id, name, payload, headers, slot)
                 values ('00000000-0000-7000-8000-00000000000{n}', 'event_one', '{payload}', {headers}, 0)"
            ))
            .await;
    }
    let good = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[good]).await;
    world.until("select count(*) = 3 from outbox.parked").await;
    let reasons: Vec<String> =
        sqlx::query_scalar("select code || ': ' || reason from outbox.parked order by id")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(reasons[0].starts_with("MalformedDetail: the payload is not JSON"), "{reasons:?}");
    assert_eq!(reasons[1], "MalformedDetail: the payload is not a JSON object");
    assert_eq!(reasons[2], "MalformedDetail: the headers are not a JSON object of texts");
    assert_eq!(world.rpcs.calls().len(), 1);
    world.finish().await;
}

/// Guards promise 6: a message that is malformed, or another queue's, is dead-lettered with its reason. It calls nothing and
/// blocks no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_is_dead_lettered() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let first = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    let stranger = r#"{"rpc":"Other/TwoB","event":{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_two","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{},"payload":{}}}"#;
    for body in ["", "{", "null", r#"{"rpc":"Test/One"}"#, "\u{1}\u{7f}", stranger] {
        sqlx::query(
            "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
             select nextval('outbox.delivery_seq'), id, gen_random_uuid(), $1, now(), 0, now(), '', ''
             from outbox.queue where rpc = 'Test/One'",
        )
        .bind(body)
        .execute(&world.pool)
        .await
        .unwrap();
    }
    world.until("select count(*) = 6 from outbox.dead_letter").await;
    let reasons: Vec<(String, String)> =
        sqlx::query_as("select code, reason from outbox.dead_letter order by seq")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    for (code, reason) in &reasons[..5] {
        assert_eq!(code, "malformed_message", "{reason}");
        assert!(reason.contains("at line"), "{reason}");
    }
    assert_eq!(reasons[5].0, "wrong_queue");
    assert!(reasons[5].1.contains("Other/TwoB") && reasons[5].1.contains("Test/One"), "{:?}", reasons[5]);

    let last = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[last]).await;
    assert_eq!(world.rpcs.calls().len(), 2);
    world.finish().await;
}

/// Guards promise 6: a bad message in a batch harms no neighbour: each good one is called once and recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_in_a_batch_harms_no_neighbour() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let ids = world.publish_all((0..6).map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 6 from outbox.delivery").await;
    world.execute("update outbox.delivery set body = 'garbage' where seq in (select seq from outbox.delivery order by seq limit 1)").await;
    world.execute("update outbox.delivery set body = '{}' where seq in (select seq from outbox.delivery order by seq offset 3 limit 1)").await;
    world.worker();
    let good: Vec<EventId> = [1, 2, 4, 5].map(|at: usize| ids[at]).to_vec();
    world.rpcs.until_done("Test/One", &good).await;
    world.until_settled().await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 2);
    let done: Vec<uuid::Uuid> = sqlx::query_scalar("select event_id from outbox.done order by event_id")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(done, good.iter().map(|id| id.as_uuid()).collect::<Vec<_>>());
    assert_eq!(world.rpcs.calls().len(), 4);
    world.finish().await;
}

/// Guards: wrong arguments are refused at start with the remedy, exit code 2, and no secret in the message.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_refused_at_start() {
    let world = World::new(ROUTER).await;
    let router = world.router_file.display().to_string();
    let bad_router = world.router_file.with_extension("bad.yaml");
    std::fs::write(&bad_router, "event:\n  - name: event_one\n    subscribr: []\n").unwrap();
    let bad_router = bad_router.display().to_string();
    let db = [("DATABASE_URL", world.url.as_str())];
    let secret = [("DATABASE_URL", "mysql://me:hunter2@localhost/db")];
    let typo = format!("{bad_router}:3:5");
    let cases: [(&str, Vec<&str>, &[(&str, &str)], &str); 14] = [
        ("relay", vec!["--router", &bad_router], &db, &typo),
        ("relay", vec!["--router", &bad_router], &db, "did you mean `subscriber`?"),
        ("worker", vec!["--router", &bad_router], &db, &typo),
        ("relay", vec!["--router", "/nowhere.yaml"], &db, "failed to read /nowhere.yaml"),
        ("relay", vec!["--router", &router], &[], "no database given"),
        ("relay", vec!["--router", &router], &secret, "does not begin with postgres://"),
        ("worker", vec!["--router", &router], &db, "services without an endpoint: Other, Test"),
        ("worker", vec!["--router", &router, "--endpoint", "Test"], &db, "write SERVICE=URL"),
        ("worker", vec!["--router", &router, "--visibility", "soon"], &db, "write a number and its unit"),
        ("worker", vec!["--router", &router, "--visibility", "0s"], &db, "it must be from 1s to 12h"),
        ("worker", vec!["--router", &router, "--stop-within", "0s"], &db, "it must be from 1s to 1h"),
        (
            "worker",
            vec!["--router", &router, "--header-prefix", "x-acme-"],
            &db,
            "begins with `x` never travels",
        ),
        ("worker", vec!["--router", &router, "--header-prefix", "acme"], &db, "ending in a dash"),
        ("relay", vec!["--router", &router, "--retention", "0s"], &db, "it must be from 1s to"),
    ];
    for (program, args, env, expected) in cases {
        let mut process = Process::start(&programs().join(program), &args, env).unwrap();
        let mut said = String::new();
        while let Some(line) = process.line().await {
            said.push_str(&line);
            said.push('\n');
        }
        assert!(said.contains(expected), "{program} {args:?} said:\n{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(process.ended().await.unwrap().code(), Some(2), "{program} {args:?}");
    }
    world.finish().await;
}

/// Guards: `--help` explains each option, and shows no value of the environment that may be secret.
#[tokio::test(flavor = "multi_thread")]
async fn help_teaches_and_keeps_secrets() {
    for (program, expected) in [
        ("relay", ["DATABASE_URL", "--retention", "Exit status"]),
        ("worker", ["DATABASE_URL", "--endpoint", "Exit status"]),
    ] {
        let env = [
            ("DATABASE_URL", "postgres://me:hunter2@localhost/db"),
            ("OUTBOX_SOURCES", "a=postgres://me:hunter2@localhost/db"),
        ];
        let mut process = Process::start(&programs().join(program), ["--help"], &env).unwrap();
        let mut said = String::new();
        while let Some(line) = process.line().await {
            said.push_str(&line);
        }
        assert!(expected.iter().all(|word| said.contains(word)), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(process.ended().await.unwrap().success());
    }
}

/// Guards: an event's id is the publisher's, in each form that it can have.
#[test]
fn event_ids_parse_and_print() {
    let id: EventId = "0198c7e2-0000-7000-8000-000000000001".parse().unwrap();
    assert_eq!(id.to_string(), "0198c7e2-0000-7000-8000-000000000001");
    assert!("nonsense".parse::<EventId>().is_err());
}
