//! The history of failed attempts and repairs: its size and its age.

use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

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

/// The newest entry, with another kind.
async fn mark(world: &World) {
    world.execute("insert into outbox.history (event_id, what) values (outbox.uuid_v7(), 'newest')").await;
}

async fn is_marked(world: &World) -> bool {
    world.scalar("select exists (select from outbox.history where what = 'newest')").await
}

/// Guards promise 7: while a dump holds the oldest slot, the ring turns and that slot stays. Then the oldest entries go, and
/// not the newest.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_entries_survive_a_dump() {
    let world = World::new(ROUTER).await;
    let mut dump = PgConnection::connect(&world.url).await.unwrap();
    fail(&world, 5000).await;
    dump.execute("begin; lock table outbox.history_0 in access share mode").await.unwrap();
    turn(&world).await;
    for _ in 0..7 {
        fail(&world, 5000).await;
        turn(&world).await;
    }
    assert!(world.scalar::<bool>("select not outbox.slot_is_empty('history', 0)").await);
    dump.execute("rollback").await.unwrap();
    mark(&world).await;
    let oldest: Uuid = world.scalar("select event_id from outbox.history order by at limit 1").await;
    for _ in 0..3 {
        fail(&world, 5000).await;
        turn(&world).await;
    }
    assert!(is_marked(&world).await);
    let newer: Uuid = world.scalar("select event_id from outbox.history order by at limit 1").await;
    assert!(newer > oldest);
    world.finish().await;
}

/// Guards promise 7: a turn whose transaction is taken back leaves no slot with an old time and new entries.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_entries_survive_a_turn_that_was_taken_back() {
    let world = World::new(ROUTER).await;
    fail(&world, 10).await;
    world
        .execute(
            "update outbox.ring set entered_at = entered_at - case slot when 0 then interval '22 days' else interval '30 days' end
             where ring = 'history'",
        )
        .await;
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    conn.execute("begin; select outbox.turn('history', 8); rollback").await.unwrap();
    mark(&world).await;
    for _ in 0..3 {
        turn(&world).await;
    }
    assert!(is_marked(&world).await);
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
