use outbox::EventId;

use crate::world::{One, ROUTER, World};

/// Guards promises 6 and 8: a row that was written past `enqueue` and is not a valid event is parked with its code, and
/// delays no other.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_rows_are_parked() {
    let mut world = World::new(ROUTER).await;
    let odd = [
        ("'{}'", "null", "'infinity'", "MalformedEvent"),
        ("'{}'", "null", "'-infinity'", "MalformedEvent"),
        ("'{}'", "null", "'290000-01-01'", "MalformedEvent"),
        ("'{}'", "null", "'4000-01-01 BC'", "MalformedEvent"),
        ("'{\"a\":\"' || repeat('x', 2000000) || '\"}'", "null", "now()", "EntryTooLarge"),
        ("'{}'", "'{\"a\":\"' || repeat('x', 2000000) || '\"}'", "now()", "EntryTooLarge"),
        ("'[]'", "null", "now()", "MalformedDetail"),
        ("'nothing'", "null", "now()", "MalformedDetail"),
        ("'{}'", "'[1]'", "now()", "MalformedDetail"),
    ];
    for (payload, headers, at, _) in odd {
        world
            .execute(&format!(
                "insert into outbox.event (id, name, payload, headers, occurred_at, slot)
             values (outbox.uuid_v7(), 'event_one', {payload}, {headers}, {at}, 0)"
            ))
            .await;
    }
    let id = world.publish(One { n: 1 }).await;
    world.relay();
    world.worker();
    world.rpcs.until_done("Test/One", &[id]).await;
    let parked: Vec<String> = sqlx::query_scalar("select code from outbox.parked order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(parked, odd.map(|(.., code)| code));
    // A row is kept unchanged, so that an operator can find its cause. Of a text over its limit the beginning is kept.
    assert_eq!(
        world.scalar::<i64>("select count(*) from outbox.parked where not isfinite(occurred_at)").await,
        2
    );
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked where cut").await, 2);
    let later = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[later]).await;
    world.finish().await;
}

/// Guards promise 6: odd times in the queue's tables delay no delivery.
#[tokio::test(flavor = "multi_thread")]
async fn odd_times_in_a_queue_are_read() {
    let mut world = World::new(ROUTER).await;
    let stop = world.relay();
    let ids = world.publish_all((0..6).map(|n| outbox::Entry::new(One { n }))).await;
    world.until("select count(*) = 6 from outbox.delivery").await;
    stop.cancel();
    world.execute("update outbox.delivery set enqueued_at = 'infinity' where seq % 3 = 0").await;
    world.execute("update outbox.delivery set enqueued_at = '-infinity' where seq % 3 = 1").await;
    world.execute(
        "with moved as (delete from outbox.delivery where seq > 3 returning *)
         insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
         select seq, queue, event_id, body, enqueued_at, 1, case seq when 4 then '-infinity' when 5 then '4000-01-01 BC' else now() end::timestamptz, '', ''
         from moved",
    )
    .await;
    world.worker();
    let ids: Vec<EventId> = ids;
    world.rpcs.until_done("Test/One", &ids).await;
    world.finish().await;
}
