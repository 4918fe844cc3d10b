//! The history of failed attempts and repairs: its size and its age.

use crate::world::{ROUTER, World};

const BYTES_MAX: i64 = 8 << 20;

/// So many entries of a failed attempt, 224 bytes each.
async fn fail(world: &World, many: u32) {
    world
        .execute(&format!(
            "insert into outbox.history (event_id, queue, attempt, what, code, error, worker)
             select outbox.uuid_v7(), 1, 1, 'failed', 'unavailable', repeat('x', 70), 'test'
             from generate_series(1, {many})"
        ))
        .await;
}

async fn turn(world: &World) {
    world.execute(&format!("select outbox.turn_history('21 days', {BYTES_MAX})")).await;
}

/// Guards promise 7: the history has its size at most, plus what is written between two looks. The oldest entries go first.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_a_size() {
    let world = World::new(ROUTER).await;
    for _ in 0..30 {
        fail(&world, 5000).await;
        turn(&world).await;
    }
    let bytes: i64 = world
        .scalar("select sum(pg_total_relation_size(('outbox.history_' || n)::regclass))::bigint from generate_series(0, 7) as n")
        .await;
    assert!((BYTES_MAX / 2..BYTES_MAX + BYTES_MAX / 4).contains(&bytes), "{bytes} bytes");
    let empty: i64 = world
        .scalar(
            "select count(*) from outbox.ring where ring = 'history' and outbox.slot_is_empty(ring, slot)",
        )
        .await;
    assert!(empty >= 1, "the ring can turn");
    let is_newest: bool = world
        .scalar(
            "select min(at) > (select min(entered_at) from outbox.ring where ring = 'history')
                    and clock_timestamp() - max(at) < interval '1 minute' from outbox.history",
        )
        .await;
    assert!(is_newest);
    world.finish().await;
}

/// Guards promise 7: entries leave when all of their slot is older than 21 days, and no sooner.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_an_age() {
    let world = World::new(ROUTER).await;
    let age = async |days: u32| {
        world
            .execute(&format!(
                "update outbox.ring set entered_at = entered_at - interval '{days} days' where ring = 'history'"
            ))
            .await;
        turn(&world).await;
        turn(&world).await;
        world.scalar::<i64>("select count(*) from outbox.history").await
    };
    fail(&world, 10).await;
    assert_eq!(age(4).await, 10, "its slot was left just now");
    fail(&world, 1).await;
    assert_eq!(age(20).await, 11);
    assert_eq!(age(2).await, 1, "the slot of the first ten is too old");
    world.finish().await;
}

/// Guards promise 7: both transports keep the same attempts.
#[tokio::test(flavor = "multi_thread")]
async fn both_transports_keep_the_same_attempts() {
    let world = World::new(ROUTER).await;
    let kept: Vec<i32> = world
        .scalar(
            "select array_agg(n order by n) from generate_series(1, 200) as n where outbox.keeps_attempt(n)",
        )
        .await;
    let expected: Vec<i32> =
        (1..=200).filter(|n| outbox_transport::keeps_attempt(u32::try_from(*n).unwrap())).collect();
    assert_eq!(kept, expected);
    world.finish().await;
}
