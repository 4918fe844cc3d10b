//! Events and deliveries leave after their retention, by truncation.

use std::time::Duration;

use outbox::Entry;

use crate::world::{One, ROUTER, Two, World, relay_settings};

fn short_retention() -> outbox_relay::relay::Settings {
    outbox_relay::relay::Settings { retention: Duration::from_millis(1200), ..relay_settings() }
}

/// Guards promise 7: events leave by truncation after their retention, deliveries once settled. The rings turn many times
/// over without losing an event.
#[tokio::test(flavor = "multi_thread")]
async fn rings_turn_and_lose_nothing() {
    let mut world = World::new(ROUTER).await;
    world.relay_with(short_retention());
    world.worker();
    let mut ids = Vec::new();
    let mut slots = std::collections::HashSet::new();
    while slots.len() < 8 {
        ids.extend(world.publish_all((0..20).map(|n| Entry::new(One { n }))).await);
        slots.insert(world.scalar::<i64>("select last_value from outbox.event_slot").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.rpcs.until_done("Test/One", &ids).await;
    world.until("select count(*) = 0 from outbox.event").await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls().len(), ids.len());
    let dead: i64 = world
        .scalar("select sum(n_dead_tup)::bigint from pg_stat_user_tables where schemaname = 'outbox' and relname ~ '^(event|cursor|delivery)_'")
        .await;
    assert_eq!(dead, 0);
    world.finish().await;
}

/// Guards promise 2: a slot with an event that is not put yet is not truncated, at any age.
#[tokio::test(flavor = "multi_thread")]
async fn unput_events_are_not_truncated() {
    let mut world = World::new(ROUTER).await;
    world.worker();
    let mut long = world.pool.begin().await.unwrap();
    let late = outbox::enqueue(&mut long, &One { n: 0 }).await.unwrap();
    let early = world.publish(One { n: 1 }).await;
    world.relay_with(short_retention());
    world.rpcs.until_done("Test/One", &[early]).await;
    // The ring turns meanwhile. A second event shows that truncation goes on around the open transaction.
    let turned = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[turned]).await;
    world.until("select last_value <> 0 from outbox.event_slot").await;
    for slot in 0..8_i16 {
        // As retention does, with a retention time of zero.
        let became: String = sqlx::query_scalar("select outbox.truncate_slot('event', $1, '0', 0)")
            .bind(slot)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert!(became != "truncated" || slot != 0, "truncated under an open transaction");
    }
    long.commit().await.unwrap();
    world.rpcs.until_done("Test/One", &[late]).await;
    world.until("select count(*) = 0 from outbox.event").await;
    world.finish().await;
}

/// Guards promises 6 and 7: a queue without a worker does not hold back the ring for the others, and loses no delivery.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_worker_blocks_no_other() {
    let mut world = World::new(ROUTER).await;
    world.relay_with(short_retention());
    // Without a worker, slots fill until the oldest deliveries are evicted to retry.
    let mut ids = Vec::new();
    let mut moved = 0;
    while moved == 0 {
        ids.extend(world.publish_all((0..10).map(|n| Entry::new(Two { n }))).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
        moved = world.scalar::<i64>("select count(*) from outbox.retry").await;
    }
    world.worker();
    world.rpcs.until_done("Test/TwoA", &ids).await;
    world.rpcs.until_done("Other/TwoB", &ids).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls().len(), 2 * ids.len());
    assert!(world.rpcs.calls().iter().all(|call| call.attempt == 1), "moving aside is no attempt");
    world.finish().await;
}
