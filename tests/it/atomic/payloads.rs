//! Which payloads enqueue refuses, and in which forms a service may publish. `tests/payloads.json` has payloads by their
//! verdict.

use std::collections::BTreeMap;

use outbox::{Entry, Event, EventId};
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection};
use testkit::cluster::Cluster;

use crate::world::{ROUTER, World};

#[derive(serde::Deserialize)]
struct Payloads {
    accepted: BTreeMap<String, String>,
    refused: BTreeMap<String, String>,
}

fn payloads() -> Payloads {
    let mut payloads: Payloads = serde_json::from_str(include_str!("../../payloads.json")).unwrap();
    assert!(payloads.accepted.len() > 25 && payloads.refused.len() > 60);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    payloads.refused.insert("20000 levels".to_owned(), deep);
    payloads
}

/// An event with any JSON as its payload.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Raw(Box<RawValue>);

impl Event for Raw {
    const NAME: &'static str = "event_one";
}

const TEXT: &str = "select outbox.enqueue('event_one', $1)::text";
const MANY: &str = "select outbox.enqueue_all(array['event_one'], array[$1::text], array[null], array[null], array[null::uuid])::text";

/// Guards promise 2: `enqueue` refuses payloads that no reader of proto3 JSON accepts, in SQL and in Rust alike, while the
/// publisher can still correct them. All others are kept as they were written.
#[tokio::test(flavor = "multi_thread")]
async fn sql_and_rust_refuse_the_same_payloads() {
    let world = World::new(ROUTER).await;
    let payloads = payloads();
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    for (name, payload) in &payloads.accepted {
        for statement in [TEXT, MANY] {
            let done = sqlx::query(statement).bind(payload).execute(&mut conn).await;
            done.unwrap_or_else(|error| panic!("{name}: {error}"));
            let kept: String =
                sqlx::query_scalar("select payload from outbox.event order by seq desc limit 1")
                    .fetch_one(&mut conn)
                    .await
                    .unwrap();
            assert_eq!(kept, *payload, "{name}");
        }
        let raw =
            Raw(RawValue::from_string(payload.clone()).unwrap_or_else(|error| panic!("{name}: {error}")));
        let mut tx = world.pool.begin().await.unwrap();
        Entry::new(raw).enqueue(&mut tx).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (name, payload) in &payloads.refused {
        for statement in [TEXT, MANY] {
            let error = sqlx::query(statement).bind(payload).execute(&mut conn).await.expect_err(name);
            let code =
                error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
            assert_eq!(code, "22023", "{name}: {error}");
        }
        // serde_json refuses what is not JSON.
        let Ok(raw) = RawValue::from_string(payload.clone()) else { continue };
        let mut tx = world.pool.begin().await.unwrap();
        let error = Entry::new(Raw(raw)).enqueue(&mut tx).await.expect_err(name);
        assert!(!matches!(error, outbox::EnqueueError::Insert(_)), "{name} was left to SQL: {error}");
    }
    world.finish().await;
}

/// Guards promise 8: a refusal names the mistake and quotes nothing of the value, neither to the client nor in the server's
/// log.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_payload_is_not_quoted() {
    const SECRET: &str = "hunter2-in-a-value";
    let own = Cluster::tuned(&[("log_min_messages", "debug1")]).unwrap();
    let world = World::on(ROUTER, &own).await;
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    for (name, payload) in payloads().refused {
        let Some(rest) = payload.strip_prefix('{') else { continue };
        let payload = format!("{{\"{SECRET}\":\"{SECRET}\",{rest}");
        for statement in [TEXT, MANY] {
            let error = sqlx::query(statement).bind(&payload).execute(&mut conn).await.expect_err(&name);
            assert!(error.to_string().contains("payload of event_one "), "{name}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{name}: {error:?}");
        }
    }
    let log = std::fs::read_to_string(own.dir().join("log")).unwrap();
    for said in
        ["has a key twice in one object", "has an escape that stands for no character", "a number beyond"]
    {
        assert!(log.contains(said), "the log is that of these errors: {said}");
    }
    assert!(!log.contains("hunter2"), "a value in the server's log");
    world.finish().await;
}

/// Each publishes one event: the call, and the payload that is kept.
const FORMS: [(&str, &str); 22] = [
    ("select outbox.enqueue('event_one', '{\"n\":1}')", "{\"n\":1}"),
    ("select outbox.enqueue('event_one', '{\"n\":1}', 'k')", "{\"n\":1}"),
    ("select outbox.enqueue('event_one', '{\"n\":1}', 'k', '{\"acme-h\":\"1\"}')", "{\"n\":1}"),
    ("select outbox.enqueue('event_one', '{\"n\":1}', null, null, null)", "{\"n\":1}"),
    (
        "select outbox.enqueue('event_one', '{\"n\":1}', 'k', '{\"acme-h\":\"1\"}', '0198c7e2-0000-7000-8000-000000000001')",
        "{\"n\":1}",
    ),
    ("select outbox.enqueue(payload => '{\"n\":1}', name => 'event_one')", "{\"n\":1}"),
    (
        "select outbox.enqueue(name => 'event_one', payload => '{\"n\":1}', id => null, headers => null)",
        "{\"n\":1}",
    ),
    ("select outbox.enqueue('event_one'::varchar, '{\"n\":1}'::varchar)", "{\"n\":1}"),
    (
        "prepare untyped as select outbox.enqueue($1, $2); execute untyped('event_one', '{\"n\":1}')",
        "{\"n\":1}",
    ),
    (
        "prepare untyped5 as select outbox.enqueue($1, $2, $3, $4, $5); execute untyped5('event_one', '{\"n\":1}', 'k', null, null)",
        "{\"n\":1}",
    ),
    ("select outbox.enqueue('event_one', jsonb_build_object('n', 1))", "{\"n\": 1}"),
    (
        "select outbox.enqueue('event_one', '{\"n\":1}'::jsonb, 'k', jsonb_build_object('acme-h', '1'))",
        "{\"n\": 1}",
    ),
    (
        "select outbox.enqueue('event_one', jsonb_build_object('n', 1), 'k', '{\"acme-h\":\"1\"}', gen_random_uuid())",
        "{\"n\": 1}",
    ),
    (
        "select outbox.enqueue('event_one', jsonb_build_object('n', 1), headers => null, key => 'k')",
        "{\"n\": 1}",
    ),
    ("select outbox.enqueue('event_one', json_build_object('n', 1))", "{\"n\" : 1}"),
    (
        "select outbox.enqueue('event_one', row_to_json(d), null, json_build_object('acme-h', '1')) from (select 1 as n) as d",
        "{\"n\":1}",
    ),
    ("select outbox.enqueue('event_one', to_jsonb(d)) from (select 1 as n) as d", "{\"n\": 1}"),
    (
        "prepare typed(text, jsonb) as select outbox.enqueue($1, $2); execute typed('event_one', '{\"n\":1}')",
        "{\"n\": 1}",
    ),
    ("select outbox.enqueue_all(array['event_one'], array[jsonb_build_object('n', 1)])", "{\"n\": 1}"),
    (
        "select outbox.enqueue_all(array['event_one'], array['{\"n\":1}'::jsonb], array['k'], array[jsonb_build_object('acme-h', '1')])",
        "{\"n\": 1}",
    ),
    (
        "prepare arrays as select outbox.enqueue_all($1, $2, $3, $4, $5); execute arrays('{event_one}', '{\"{\\\"n\\\":1}\"}', '{null}', '{null}', '{null}')",
        "{\"n\":1}",
    ),
    ("insert into public.change values (1)", "{\"n\": 1}"),
];

/// Guards README: every form of the call reaches the RPC, for a role with no other privilege. A literal or an untyped
/// parameter is text.
#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_call_publishes() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let role = format!("forms_{}", world.source.name());
    for statement in [
        "create table public.change (n integer)".to_owned(),
        "create function public.changed() returns trigger language plpgsql as
         $$ begin perform outbox.enqueue('event_one', to_jsonb(new)); return null; end $$"
            .to_owned(),
        "create trigger changed after insert on public.change for each row execute function public.changed()"
            .to_owned(),
        format!("create role {role}"),
        format!("select outbox.grant_to('{role}', 'publisher')"),
        format!("grant insert on public.change to {role}"),
    ] {
        world.execute(&statement).await;
    }
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("set role {role}"))).execute(&mut conn).await.unwrap();
    for (published, (statement, payload)) in FORMS.into_iter().enumerate() {
        let done = sqlx::raw_sql(statement).execute(&mut conn).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        let kept: Vec<String> = sqlx::query_scalar("select payload from outbox.event order by seq")
            .fetch_all(&world.pool)
            .await
            .unwrap();
        assert_eq!(kept.len(), published + 1, "{statement}");
        assert_eq!(kept[published], payload, "{statement}");
    }
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from outbox.event").fetch_all(&world.pool).await.unwrap();
    let ids: Vec<EventId> = ids.iter().map(|id| id.to_string().parse().unwrap()).collect();
    world.rpcs.until_done("Test/One", &ids).await;
    world.finish().await;
}

/// Guards: JSON that SQL builds obeys the same rule as text, and null is not a payload.
#[tokio::test(flavor = "multi_thread")]
async fn built_json_is_checked_like_text() {
    let world = World::new(ROUTER).await;
    for (statement, expected) in [
        ("select outbox.enqueue('event_one', null)", "payload of event_one is null"),
        ("select outbox.enqueue('event_one', null::jsonb)", "payload of event_one is null"),
        ("select outbox.enqueue('event_one', '[1]'::jsonb)", "is not a JSON object"),
        ("select outbox.enqueue('event_one', 'null'::json)", "is not a JSON object"),
        ("select outbox.enqueue('event_one', '{\"a\":1,\"a\":2}'::json)", "has a key twice"),
        ("select outbox.enqueue('event_one', '{\"a\":\"\\u0000\"}'::json)", "stands for no character"),
        (
            "select outbox.enqueue('event_one', jsonb_build_object('a', 1e400::numeric))",
            "beyond what a double holds",
        ),
        (
            "select outbox.enqueue('event_one', '{}'::jsonb, null, '{\"Host\":\"x\"}')",
            "header `Host` of event_one is malformed",
        ),
        ("select outbox.enqueue('Event', '{}'::jsonb)", "is not lower_snake_case"),
        ("select outbox.enqueue_all(array['event_one'], array['[1]'::jsonb])", "is not a JSON object"),
        (
            "select outbox.enqueue_all(array['event_one', 'event_two'], array['{}'::jsonb])",
            "differ in length",
        ),
    ] {
        let error = sqlx::query(statement).execute(&world.pool).await.expect_err(statement);
        assert!(error.to_string().contains(expected), "{statement}: {error}");
    }
    world.finish().await;
}
