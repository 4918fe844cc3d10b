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
        rows.push(Bad { name: name.to_owned(), ..sound("MalformedEvent") });
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

/// Guards promises 6 and 7: of a text that is larger than any event's, the relay reads nothing and keeps the beginning.
/// Some hundred such rows take neither its memory nor the time of other events.
#[tokio::test(flavor = "multi_thread")]
async fn huge_rows_are_not_copied() {
    let world = World::new(ROUTER).await;
    let mut publisher = PgConnection::connect(&role(&world, "publisher").await).await.unwrap();
    let huge = "insert into outbox.event (id, name, key, payload, headers)
                select gen_random_uuid(), case when n % 2 = 0 then repeat('n', 1048576) else 'event_one' end,
                       repeat('k', 1048576), repeat('p', case when n % 3 = 0 then 1048576 else 245760 end), repeat('h', 1048576)
                from generate_series(1, 300) as n";
    sqlx::raw_sql(huge).execute(&mut publisher).await.unwrap();
    let relay = world.relay_process();
    let worker = world.worker_process();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    let codes = parked(&world).await;
    assert_eq!(codes.iter().filter(|code| *code == "MalformedEvent").count(), 150);
    assert_eq!(codes.iter().filter(|code| *code == "EntryTooLarge").count(), 150);
    let kept = "select max(greatest(octet_length(name), octet_length(key), octet_length(payload), octet_length(headers)))
                from outbox.parked where cut";
    assert_eq!(world.scalar::<i32>(kept).await, 1024);
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 300_000, "the relay had {peak} kB");
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promises 1 and 6: a row at each limit is an event.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_row_is_delivered() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let mut publisher = PgConnection::connect(&role(&world, "publisher").await).await.unwrap();
    let (id, payload) = (EventId::new(), format!("{{\"n\":1}}{}", " ".repeat(outbox::PAYLOAD_BYTES_MAX - 7)));
    let headers = format!("{{\"tenant\":\"t\"}}{}", " ".repeat(8192 - 14));
    insert(&mut publisher, id, "event_one", Some(&"k".repeat(512)), &payload, Some(&headers)).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    assert_eq!(parked(&world).await, [] as [&str; 0]);
    world.finish().await;
}
