//! Events and deliveries leave after their retention, by truncation.

use std::time::Duration;

use outbox::Entry;

use crate::world::{One, ROUTER, Two, World, relay_settings};

fn short_retention() -> outbox_relay::relay::Settings {
    outbox_relay::relay::Settings { retention: Duration::from_millis(1200), ..relay_settings() }
}

/// Guards promise 7: events leave after their retention by truncation, deliveries once settled, and the rings turn many
/// times over without losing anything on the way.
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

/// Guards: a slot with an event that is not put yet is not truncated, however old it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_put_is_not_truncated() {
    let mut world = World::new(ROUTER).await;
    world.worker();
    let mut long = world.pool.begin().await.unwrap();
    let late = outbox::enqueue(&mut long, &One { n: 0 }).await.unwrap();
    let early = world.publish(One { n: 1 }).await;
    world.relay_with(short_retention());
    world.rpcs.until_done("Test/One", &[early]).await;
    // Ring turns meanwhile, and a second event shows that truncation goes on around the open transaction.
    let turned = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[turned]).await;
    world.until("select last_value <> 0 from outbox.event_slot").await;
    for slot in 0..8_i16 {
        // As retention does, and with no retention time at all.
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

/// Guards promise 6 and 7: a queue that nobody receives from does not hold back the ring for the others, and loses
/// nothing itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_worker_holds_nobody_back() {
    let mut world = World::new(ROUTER).await;
    world.relay_with(short_retention());
    // No worker at all: slots fill until the oldest must be moved aside.
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
