use outbox::EventId;
use serde_json::{Value, json};

use crate::operator::{ROUTER, outbox, publish_malformed};
use crate::world::{One, World};

/// Guards promise 8: a parked event is listed with its reason. A retry after the repair wakes a sleeping relay, and the same
/// event reaches its RPC. A retry before the repair parks it again, and a dropped event is gone.
#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_published_once_more() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let (mended, given_up) = (publish_malformed(&world).await, publish_malformed(&world).await);
    world.until("select count(*) = 2 from outbox.parked").await;
    let listed = outbox(&world, "parked list --format json").await;
    assert_eq!((listed.code, listed.json().as_array().unwrap().len()), (0, 2));
    let first = &listed.json()[0];
    assert_eq!(
        [&first["id"], &first["name"], &first["key"]],
        [&json!(mended), &json!("event_one"), &json!("key-9")]
    );
    assert_eq!(first["code"], "MalformedDetail");
    assert!(!listed.out.contains("not json"), "a payload: {listed:?}");
    for (filter, count) in [
        ("--code MalformedDetail", 2),
        ("--code EntryTooLarge", 0),
        ("--event-name event_two", 0),
        ("--limit 1", 1),
    ] {
        let listed = outbox(&world, &format!("parked list --format json {filter}")).await;
        assert_eq!(listed.json().as_array().unwrap().len(), count, "{filter}");
    }

    // Too early.
    world.until_relay_sleeps().await;
    let retried = outbox(&world, "parked retry --all").await;
    assert_eq!(retried.code, 0);
    assert!(retried.out.starts_with("retried 2 parked events\n"), "{retried:?}");
    assert!(retried.out.contains("after what was published of their keys meanwhile"), "{retried:?}");
    world.until("select count(*) = 2 from outbox.parked where seq > 2").await;

    // A repair by hand.
    world.execute(&format!("update outbox.parked set payload = '{{\"n\":7}}' where id = '{mended}'")).await;
    world.until_relay_sleeps().await;
    let occurred = "select occurred_at from outbox.event where seq = 1";
    let occurred: chrono::DateTime<chrono::Utc> = world.scalar(occurred).await;
    let list = outbox(&world, "parked list").await;
    let retried =
        crate::operator::paste(&[("DATABASE_URL", &world.url)], &list.command("outbox parked retry")).await;
    assert_eq!(retried.code, 0, "{retried:?}");
    world.rpcs.until_done("Test/One", &[mended]).await;
    world.until_settled().await;
    let why = outbox(&world, &format!("why {mended} --format json")).await;
    assert_eq!((why.code, &why.json()["deliveries"][0]["state"]), (0, &json!("done")), "{why:?}");
    assert_eq!(why.json()["enqueued"]["occurred_at"], json!(occurred), "it is the same event");

    let dry = outbox(&world, &format!("parked drop {given_up} --dry-run")).await;
    assert_eq!((dry.code, dry.out.as_str()), (0, "would drop 1 parked event"));
    let dropped = outbox(&world, &format!("parked drop --yes {given_up} {mended}")).await;
    assert_eq!((dropped.code, dropped.out), (1, format!("dropped 1 parked event\nnot parked: {mended}")));
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked").await, 0);
    let good = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[good]).await;
    world.finish().await;
}

/// Guards promise 8: of a text over its limit only the beginning is parked. Such an event is never published again, and the
/// commands say why.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_cut_is_not_retried() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    // The beginning of each of them is a valid event.
    let cut = [EventId::new(), EventId::new()];
    for (id, rest) in cut.iter().zip(["", "nonsense"]) {
        world
            .execute(&format!(
                "insert into outbox.event (id, name, payload)
                 select '{id}', 'event_one', '{{\"n\":1}}' || repeat(' ', 250000) || '{rest}' where outbox.wake()"
            ))
            .await;
    }
    let whole = publish_malformed(&world).await;
    world.until("select count(*) = 3 from outbox.parked").await;
    let why = outbox(&world, &format!("why {} --format json", cut[0])).await;
    assert_eq!(why.json()["commands"], json!([format!("outbox parked drop {}", cut[0])]), "{why:?}");
    let listed = outbox(&world, "parked list --format json").await.json();
    let is_cut: Vec<&Value> = listed.as_array().unwrap().iter().map(|one| &one["cut"]).collect();
    assert_eq!(is_cut, [true, true, false]);

    let retried = outbox(&world, &format!("parked retry {} {}", cut[0], cut[1])).await;
    assert_eq!(retried.code, 1, "{retried:?}");
    assert!(retried.out.starts_with("retried 0 parked events\n2 can't be retried: "), "{retried:?}");
    let retried = outbox(&world, "parked retry --all --format json").await;
    assert_eq!((retried.code, &retried.json()["changed"], &retried.json()["cut"]), (1, &json!(1), &json!(2)));
    // Nor by the function itself.
    world.execute("select outbox.repair_begin('0198c7e2-0000-7000-8000-000000000001', 'me', 'it')").await;
    let tried =
        "select outbox.retry_parked('0198c7e2-0000-7000-8000-000000000001', array_agg(seq), array_agg(id))
                 from outbox.parked where cut";
    assert_eq!(world.scalar::<i64>(tried).await, 0);
    world.until(&format!("select count(*) = 1 from outbox.parked where id = '{whole}' and seq > 3")).await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked where cut").await, 2);
    let dropped = outbox(&world, "parked drop --yes --all --format json").await;
    assert_eq!((dropped.code, &dropped.json()["changed"]), (0, &json!(3)), "{dropped:?}");
    world.finish().await;
}
