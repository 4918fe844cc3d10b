use outbox::testing::{assert_enqueued, refute_enqueued};
use outbox::{EnqueueError, Entry, Event};
use sqlx::Row;

use crate::world::{One, ROUTER, Two, World};

/// Guards promise 1: events that are rolled back, also to a savepoint, are never seen; committed ones are.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_exists_if_its_transaction_commits() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();

    let mut rolled_back = world.pool.begin().await.unwrap();
    let nowhere = outbox::enqueue(&mut rolled_back, &One { n: 1 }).await.unwrap();
    rolled_back.rollback().await.unwrap();

    let mut tx = world.pool.begin().await.unwrap();
    let kept = outbox::enqueue(&mut tx, One { n: 2 }).await.unwrap();
    sqlx::query("savepoint before").execute(&mut *tx).await.unwrap();
    let undone = outbox::enqueue(&mut tx, &One { n: 3 }).await.unwrap();
    sqlx::query("rollback to savepoint before").execute(&mut *tx).await.unwrap();
    let also_kept = outbox::enqueue(&mut tx, &One { n: 4 }).await.unwrap();
    tx.commit().await.unwrap();

    world.rpcs.until_done("Test/One", &[kept, also_kept]).await;
    world.until_settled().await;
    assert!(world.rpcs.calls_of(nowhere).is_empty());
    assert!(world.rpcs.calls_of(undone).is_empty());
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.event").await, 2);
    world.finish().await;
}

/// Guards: a refusal before any SQL is sent leaves the transaction usable, and the SQL function refuses the same events.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_leaves_the_transaction_usable() {
    let world = World::new(ROUTER).await;
    #[derive(serde::Serialize)]
    struct Big {
        text: String,
    }
    impl Event for Big {
        const NAME: &'static str = "event_one";
    }
    let mut tx = world.pool.begin().await.unwrap();
    let big = Big { text: "x".repeat(outbox::PAYLOAD_BYTES_MAX) };
    let error = outbox::enqueue(&mut tx, &big).await.unwrap_err();
    assert!(
        matches!(error, EnqueueError::TooLarge { payload_bytes: 245771, payload_bytes_max: 245760, .. }),
        "{error}"
    );
    let error = Entry::new(&One { n: 1 }).header("Bad Header", "x").enqueue(&mut tx).await.unwrap_err();
    assert!(matches!(error, EnqueueError::InvalidHeader { .. }), "{error}");
    outbox::enqueue(&mut tx, &One { n: 2 }).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.event").await, 1);
    world.finish().await;
}

/// Guards: publishers in other languages get the same checks, with messages that name the remedy and never quote the
/// payload.
#[tokio::test(flavor = "multi_thread")]
async fn the_sql_function_refuses_what_rust_refuses() {
    let world = World::new(ROUTER).await;
    let big = format!(r#"{{"text":"{}"}}"#, "x".repeat(245760));
    let long_key = "k".repeat(513);
    let cases: [(&str, &str, Option<&str>, Option<&str>, &str); 12] = [
        ("event_one", &big, None, None, "payload of event_one is 245771 bytes; at most 245760 fit"),
        ("event_one", "[\"secret\"]", None, None, "payload of event_one is not a JSON object"),
        ("event_one", "{secret", None, None, "payload of event_one is not a JSON object"),
        ("event_one", "", None, None, "payload of event_one is not a JSON object"),
        ("EventOne", "{}", None, None, "event name 'EventOne' is not lower_snake_case"),
        ("event_one", "{}", Some(&long_key), None, "key of event_one is 513 bytes; at most 512"),
        ("event_one", "{}", None, Some("secret"), "headers of event_one are not a JSON object"),
        (
            "event_one",
            "{}",
            None,
            Some(r#"{"Tenant":"secret"}"#),
            "header `Tenant` of event_one is malformed",
        ),
        (
            "event_one",
            "{}",
            None,
            Some(r#"{"tenant":7}"#),
            "header `tenant` of event_one has a value that is not a text",
        ),
        ("event_one", "{}", None, Some(r#"{"host":"secret"}"#), "header `host` of event_one is reserved"),
        (
            "event_one",
            "{}",
            None,
            Some(r#"{"outbox-attempt":"1"}"#),
            "header `outbox-attempt` of event_one is reserved",
        ),
        (
            "event_one",
            "{}",
            None,
            Some(r#"{"tenant":"é"}"#),
            "header `tenant` of event_one has a value that is not printable ASCII",
        ),
    ];
    for (name, payload, key, headers, expected) in cases {
        let error = sqlx::query("select outbox.enqueue($1, $2, $3, $4)")
            .bind(name)
            .bind(payload)
            .bind(key)
            .bind(headers)
            .execute(&world.pool)
            .await
            .expect_err(expected);
        let error = error.as_database_error().expect("the server's own");
        assert!(error.message().contains(expected), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    world.finish().await;
}

/// Guards: the rules for headers, one in Rust and one in SQL, agree.
#[tokio::test(flavor = "multi_thread")]
async fn rust_and_sql_agree_on_headers() {
    let world = World::new(ROUTER).await;
    let names = [
        "tenant",
        "traceparent",
        "tracestate",
        "x-request-id",
        "a",
        "a1-b",
        "Tenant",
        "1a",
        "-a",
        "a_b",
        "a b",
        "",
        "host",
        "te",
        "teapot",
        "cookie",
        "authorization",
        "idempotency-key",
        "user-agent",
        "connection",
        "upgrade",
        "accept",
        "accept-encoding",
        "content-type",
        "content-md5",
        "connect-timeout-ms",
        "grpc-timeout",
        "proxy-authorization",
        "outbox-event-id",
        "outbox",
        "transfer-encoding",
        "trailer",
        "keep-alive",
        "trace-bin",
        "bin",
        &"n".repeat(64),
        &"n".repeat(65),
    ];
    for name in names {
        let mut tx = world.pool.begin().await.unwrap();
        let rust = Entry::new(&One { n: 1 }).header(name, "v").enqueue(&mut tx).await;
        let headers = serde_json::json!({ name: "v" }).to_string();
        let sql = sqlx::query("select outbox.enqueue('event_one', '{}', null, $1)")
            .bind(headers)
            .execute(&mut *tx)
            .await;
        assert_eq!(rust.is_ok(), sql.is_ok(), "header {name:?}: Rust {rust:?}, SQL {sql:?}");
    }
    world.finish().await;
}

/// Guards: any language publishes with one statement, and its events arrive like all others.
#[tokio::test(flavor = "multi_thread")]
async fn sql_publishes() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let id: uuid::Uuid = sqlx::query_scalar(
        r#"select outbox.enqueue('event_one', '{"n": 1.0, "z":"a", "a":"é"}', 'key-1', '{"acme-tenant":"t-1"}')"#,
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(id.get_version_num(), 7);
    let id = id.into();
    world.rpcs.until_done("Test/One", &[id]).await;
    let call = world.rpcs.calls_of(id).remove(0);
    // The payload is unchanged: neither the spelling of the number nor the order of the keys differs.
    assert_eq!(
        std::str::from_utf8(&call.incoming.body).unwrap(),
        r#"{"event":{"n": 1.0, "z":"a", "a":"é"}}"#
    );
    assert_eq!(call.incoming.header("acme-tenant"), "t-1");
    world.finish().await;
}

/// Guards: `enqueue_all` keeps the order given, takes any mix of events, and needs one statement.
#[tokio::test(flavor = "multi_thread")]
async fn many_events_go_in_one_statement_in_order() {
    let world = World::new(ROUTER).await;
    let entries = (0..100).map(|n| {
        if n % 2 == 0 { Entry::new(One { n }).key("k") } else { Entry::new(Two { n }).header("tenant", "t") }
    });
    let ids = world.publish_all(entries).await;
    let rows = sqlx::query("select id, name, payload, key, headers from outbox.event order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(rows.len(), 100);
    for (n, (row, id)) in rows.iter().zip(&ids).enumerate() {
        assert_eq!(row.get::<uuid::Uuid, _>("id"), id.as_uuid());
        assert_eq!(row.get::<String, _>("payload"), format!(r#"{{"n":{n}}}"#));
        let expected = if n % 2 == 0 {
            ("event_one", Some("k"), None)
        } else {
            ("event_two", None, Some(r#"{"tenant":"t"}"#))
        };
        assert_eq!(
            (
                row.get::<&str, _>("name"),
                row.get::<Option<&str>, _>("key"),
                row.get::<Option<&str>, _>("headers")
            ),
            expected
        );
    }
    assert!(world.publish_all([]).await.is_empty());
    world.finish().await;
}

/// Guards: a service's own test can read the enqueued events inside its transaction.
#[tokio::test(flavor = "multi_thread")]
async fn services_can_test_what_they_enqueue() {
    let world = World::new(ROUTER).await;
    let mut tx = world.pool.begin().await.unwrap();
    refute_enqueued::<One>(&mut tx).await;
    outbox::enqueue(&mut tx, &One { n: 7 }).await.unwrap();
    assert_enqueued(&mut tx, &One { n: 7 }).await;
    refute_enqueued::<Two>(&mut tx).await;

    let mut other = world.pool.begin().await.unwrap();
    refute_enqueued::<One>(&mut other).await;
    let missing = tokio::spawn(async move { assert_enqueued(&mut other, &One { n: 7 }).await });
    assert!(missing.await.is_err_and(|error| error.is_panic()), "another transaction must not see it");
    world.finish().await;
}

/// Guards promise 1: an event that the database refuses is an error, which names the cause and the remedy: for a missing
/// schema, a missing right, or a read-only transaction.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_told() {
    let world = World::new(ROUTER).await;
    let stranger = format!("stranger_{}", world.source.name());
    world.execute(&format!("create role {stranger}")).await;
    world.execute("create schema elsewhere").await;
    let cases = [
        ("42501", format!("set local role {stranger}"), "permission denied"),
        ("25006", "set transaction read only".to_owned(), "read-only transaction"),
        ("42P01", "drop schema outbox cascade".to_owned(), "relation \"outbox.event\" does not exist"),
    ];
    for (code, before, cause) in cases {
        for many in [false, true] {
            let mut tx = world.pool.begin().await.unwrap();
            sqlx::query(sqlx::AssertSqlSafe(before.clone())).execute(&mut *tx).await.unwrap();
            let refused = match many {
                false => outbox::enqueue(&mut tx, One { n: 1 }).await.unwrap_err(),
                true => outbox::enqueue_all(&mut tx, [Entry::new(One { n: 1 })]).await.unwrap_err(),
            };
            let said = refused.to_string();
            assert!(said.contains("relay migrate") && said.contains("outbox.grant_to"), "{said}");
            let EnqueueError::Insert(error) = refused else { panic!("{refused:?}") };
            let error = error.downcast_ref::<sqlx::Error>().expect("the driver's own");
            let error = error.as_database_error().expect("the server's own");
            assert_eq!(error.code().as_deref(), Some(code), "{error}");
            assert!(error.message().contains(cause), "{error}");
        }
    }
    world.finish().await;
}

/// Guards promise 1: after a reset of the ring's pointer, events can be published and are delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_that_was_reset_keeps_nobody_from_publishing() {
    let mut world = World::new(ROUTER).await;
    world.execute("alter sequence outbox.event_slot restart").await;
    let rust = world.publish(One { n: 1 }).await;
    let sql: uuid::Uuid = world.scalar("select outbox.enqueue('event_one', '{\"n\":2}')").await;
    world.relay();
    world.worker();
    world.rpcs.until_done("Test/One", &[rust, sql.into()]).await;
    world.finish().await;
}

/// Guards SECURITY.md: a role that may only enqueue can publish, and can do nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_enqueue_can_publish() {
    let world = World::new(ROUTER).await;
    let role = format!("publisher_{}", world.source.name());
    world.execute(&format!("create role {role}")).await;
    world.execute(&format!("grant usage on schema outbox to {role}")).await;
    world.execute(&format!("select outbox.grant_to('{role}', 'publisher')")).await;
    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("set local role {role}"))).execute(&mut *tx).await.unwrap();
    outbox::enqueue(&mut tx, &One { n: 1 }).await.unwrap();
    outbox::enqueue_all(&mut tx, [Entry::new(One { n: 2 })]).await.unwrap();
    let denied = sqlx::query("select * from outbox.event").execute(&mut *tx).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");
    world.finish().await;
}
