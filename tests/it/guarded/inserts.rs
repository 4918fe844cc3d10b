//! Rows that a role with the part `publisher` can insert without the checks of the library and of `outbox.enqueue`.

use outbox::EventId;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::role::role;
use crate::world::{One, ROUTER, World};

/// Every wrong value contains it, and no reason may contain it.
const SECRET: &str = "hunter2";
const HOSTILE: &str = "hunter2'; drop schema outbox cascade; -- \u{1b}[2K\u{202e}\r\nFORGED";
const KEY: &str = "key-7";

/// A row that is no event, and the code with which it is parked.
pub(crate) struct Bad {
    name: String,
    key: Option<String>,
    payload: String,
    headers: Option<String>,
    pub(crate) code: &'static str,
}

/// Each row has one mistake. All have the same key, except those with a wrong key.
pub(crate) fn bad_rows() -> Vec<Bad> {
    let sound = |code| Bad {
        name: "event_one".to_owned(),
        key: Some(KEY.to_owned()),
        payload: r#"{"n":1}"#.to_owned(),
        headers: None,
        code,
    };
    let mut rows = Vec::new();
    for name in [
        "",
        "EventOne",
        "event_one ",
        "1event",
        "event-one",
        HOSTILE,
        &"e".repeat(129),
        &"e".repeat(2_000_000),
    ] {
        let code = if name.len() > 1_000_000 { "EntryTooLarge" } else { "MalformedEvent" };
        rows.push(Bad { name: name.to_owned(), ..sound(code) });
    }
    for bytes in [513, 100_000, 2_000_000] {
        rows.push(Bad { key: Some("k".repeat(bytes)), ..sound("EntryTooLarge") });
    }
    let object = |bytes: usize| format!("{{\"hunter2\":\"{}\"}}", "x".repeat(bytes - 14));
    for (payload, code) in [
        (String::new(), "MalformedDetail"),
        (HOSTILE.to_owned(), "MalformedDetail"),
        (r#"["hunter2"]"#.to_owned(), "MalformedDetail"),
        (r#"{"hunter2":1"#.to_owned(), "MalformedDetail"),
        (r#"{"hunter2":1} {}"#.to_owned(), "MalformedDetail"),
        (r#"{"hunter2":1,"hunter2":2}"#.to_owned(), "MalformedDetail"),
        (r#"{"a":{"hunter2":1,"\u0068unter2":2}}"#.to_owned(), "MalformedDetail"),
        (r#"{"hunter2":"\ud800"}"#.to_owned(), "MalformedDetail"),
        (r#"{"hunter2":"\u0000"}"#.to_owned(), "MalformedDetail"),
        (r#"{"hunter2":1e999}"#.to_owned(), "MalformedDetail"),
        (object(outbox::PAYLOAD_BYTES_MAX + 1), "EntryTooLarge"),
        (object(2_000_000), "EntryTooLarge"),
    ] {
        rows.push(Bad { payload, ..sound(code) });
    }
    for (headers, code) in [
        ("", "MalformedDetail"),
        (HOSTILE, "MalformedDetail"),
        (r#"["hunter2"]"#, "MalformedDetail"),
        (r#"{"tenant":7}"#, "MalformedDetail"),
        (r#"{"host":"hunter2"}"#, "MalformedDetail"),
        (r#"{"outbox-attempt":"hunter2"}"#, "MalformedDetail"),
        (r#"{"Tenant hunter2":"x"}"#, "MalformedDetail"),
        (r#"{"tenant":"hunter2 \u00e9"}"#, "MalformedDetail"),
        (r#"{"hunter2-bin":"x"}"#, "MalformedDetail"),
        (&format!(r#"{{"tenant":"{}"}}"#, "x".repeat(8192)), "EntryTooLarge"),
    ] {
        rows.push(Bad { headers: Some(headers.to_owned()), ..sound(code) });
    }
    rows
}

/// Inserts them with the library's statement, each in its own transaction. After each one it inserts a sound row of the same
/// key. Returns the ids of the sound ones.
pub(crate) async fn insert_bad_rows(conn: &mut PgConnection) -> Vec<EventId> {
    let mut sound = Vec::new();
    for (n, bad) in bad_rows().into_iter().enumerate() {
        let Bad { name, key, payload, headers, .. } = bad;
        insert(conn, EventId::new(), &name, key.as_deref(), &payload, headers.as_deref()).await;
        let id = EventId::new();
        insert(conn, id, "event_one", Some(KEY), &format!(r#"{{"n":{n}}}"#), None).await;
        sound.push(id);
    }
    sound
}

async fn insert(
    conn: &mut PgConnection,
    id: EventId,
    name: &str,
    key: Option<&str>,
    payload: &str,
    headers: Option<&str>,
) {
    sqlx::query(outbox::INSERT)
        .bind(id.as_uuid())
        .bind(name)
        .bind(key)
        .bind(payload)
        .bind(headers)
        .execute(conn)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", name.chars().take(40).collect::<String>()));
}

/// The codes of the parked rows, in their order. It checks that no reason quotes a row.
pub(crate) async fn parked(world: &World) -> Vec<String> {
    let parked: Vec<(String, String)> = sqlx::query_as("select code, reason from outbox.parked order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    for (code, reason) in &parked {
        assert!(!reason.contains(SECRET) && reason.len() < 200, "{code}: {reason}");
    }
    parked.into_iter().map(|(code, _)| code).collect()
}

/// Guards promises 4, 6 and 8: a row that breaks the rules is parked with a code. It delays no other event, and the order of
/// its key holds.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_inserts_is_parked_or_put() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let mut publisher = PgConnection::connect(&role(&world, "publisher").await).await.unwrap();
    let sound = insert_bad_rows(&mut publisher).await;
    world.rpcs.until_done("Test/One", &sound).await;
    let codes: Vec<&str> = bad_rows().iter().map(|bad| bad.code).collect();
    assert_eq!(parked(&world).await, codes);
    let put: Vec<Uuid> = sqlx::query_scalar("select event_id from outbox.delivery order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(put, sound.iter().map(|id| id.as_uuid()).collect::<Vec<_>>());
    // No metric has a label from these rows.
    let metrics = crate::world::metrics().render();
    assert!(!metrics.contains(SECRET) && !metrics.contains("EventOne"), "{metrics}");
    world.finish().await;
}

/// Guards promise 6: a publisher may choose any id. An event with an id of any version or time is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn any_id_is_delivered() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let mut publisher = PgConnection::connect(&role(&world, "publisher").await).await.unwrap();
    let ids: Vec<EventId> = [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "00000000-0000-7000-8000-000000000001",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "9f0e1c5a-6e0b-4a53-9c05-1d8f2e6a7b3c",
    ]
    .map(|id| id.parse().unwrap())
    .to_vec();
    for id in &ids {
        insert(&mut publisher, *id, "event_one", Some(KEY), r#"{"n":1}"#, None).await;
    }
    world.rpcs.until_done("Test/One", &ids).await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked").await, 0);
    for id in ids {
        let why = crate::operator::outbox(&world, &format!("why {id}")).await;
        assert!(why.code <= 1 && !why.err.contains("panicked"), "{why:?}");
    }
    world.finish().await;
}

/// Guards promises 6 and 7: of a row that is larger than any event, only the beginnings of its texts are kept. All other
/// events would wait for the whole copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_huge_row_is_not_copied_as_a_whole() {
    let mut world = World::new(ROUTER).await;
    let mut publisher = PgConnection::connect(&role(&world, "publisher").await).await.unwrap();
    for column in ["payload", "key", "headers"] {
        let text = |other: &str| if column == other { "repeat('x', 30000000)" } else { "'{}'" };
        let insert = format!(
            "insert into outbox.event (id, name, payload, key, headers)
             values (gen_random_uuid(), 'event_one', {}, {}, {})",
            text("payload"),
            text("key"),
            text("headers")
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut publisher).await.unwrap();
    }
    world.relay();
    world.worker();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    assert_eq!(parked(&world).await, ["EntryTooLarge"; 3]);
    let kept = "select max(greatest(octet_length(payload), octet_length(key), octet_length(headers))) from outbox.parked";
    assert_eq!(world.scalar::<i32>(kept).await, 1_048_576);
    world.finish().await;
}
