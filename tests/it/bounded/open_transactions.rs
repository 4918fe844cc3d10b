use std::time::Duration;

use outbox::Entry;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::world::{One, ROUTER, World, relay_settings};

/// How many blocks of the events' table were read, by sessions that ended or were idle long enough to report it.
const LOOKED_AT: &str =
    "select coalesce(sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read), 0)::bigint
     from pg_statio_user_tables where schemaname = 'outbox' and relname ~ '^event_'";

/// Guards promise 6: the relay's reads do not walk over an open transaction's rows. Blocks are counted: 300 reads of 100,000
/// invisible rows would be some 600,000.
#[tokio::test(flavor = "multi_thread")]
async fn uncommitted_events_are_not_walked_over() {
    let mut world = World::new(ROUTER).await;
    let mut open = PgConnection::connect(&world.url).await.unwrap();
    open.execute("begin").await.unwrap();
    open.execute(
        "select outbox.enqueue_all(array_agg('event_one'::text), array_agg('{\"n\":1}'::text), array_agg(null::text), array_agg(null::text),
             array_agg(null::uuid)) from generate_series(1, 100000)",
    )
    .await
    .unwrap();
    let relay = world.relay();
    world.worker();
    let first = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    let before: i64 = world.scalar(LOOKED_AT).await;
    for n in 0..100 {
        let id = world.publish(One { n }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
    }
    world.stop_relay(&relay).await;
    // Sessions report their statistics when they end.
    world.until("select not exists (select from pg_stat_activity where application_name ~ '^outbox relay' and datname = current_database())").await;
    let looked_at = world.scalar::<i64>(LOOKED_AT).await - before;
    assert!(looked_at < 100_000, "{looked_at} blocks");
    open.execute("rollback").await.unwrap();
    world.finish().await;
}

/// Guards promise 6: a new leader compares sequences and tables without walking over an open transaction's rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_term_begins_without_a_walk_over_uncommitted_events() {
    let world = World::new(ROUTER).await;
    world.publish(One { n: 0 }).await;
    let mut open = PgConnection::connect(&world.url).await.unwrap();
    open.execute("begin").await.unwrap();
    open.execute(
        "insert into outbox.event (id, name, payload, slot)
         select gen_random_uuid(), 'event_one', '{}', 0 from generate_series(1, 10000)",
    )
    .await
    .unwrap();
    let mut relay = PgConnection::connect(&world.url).await.unwrap();
    relay.execute("begin; set local enable_seqscan = off; set local enable_bitmapscan = off").await.unwrap();
    relay.execute("select * from outbox.check_sequences(true)").await.unwrap();
    let entries: i64 = sqlx::query_scalar(
        "select sum(pg_stat_get_xact_tuples_returned(i.indexrelid))::bigint from pg_index as i
         where i.indrelid in (select h.inhrelid from pg_inherits as h where h.inhparent = 'outbox.event'::regclass)",
    )
    .fetch_one(&mut relay)
    .await
    .unwrap();
    assert!(entries < 100, "{entries} entries of the events' indexes");
    open.execute("rollback").await.unwrap();
    world.finish().await;
}

/// Guards promise 7: a transaction that stays open for ten times the retention holds one slot, and the ring turns through
/// the others. The table stays below twice what retention keeps.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_one_slot() {
    let mut world = World::new(ROUTER).await;
    world.worker();
    let mut open = PgConnection::connect(&world.url).await.unwrap();
    open.execute("begin").await.unwrap();
    open.execute("select outbox.enqueue('event_one', '{\"n\":-1}')").await.unwrap();
    let held: i64 = world.scalar("select last_value from outbox.event_slot").await;
    let retention = Duration::from_millis(1200);
    world.relay_with(outbox_relay::relay::Settings { retention, ..relay_settings() });
    let (mut published, mut most) = (0_i64, 0);
    let began = std::time::Instant::now();
    while began.elapsed() < 10 * retention {
        let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
        published += 20;
        world.rpcs.until_done("Test/One", &ids).await;
        most = most.max(world.scalar::<i64>("select count(*) from outbox.event").await);
    }
    // Retention keeps 1.2 of 12 seconds. A slot is a sixth of it, and rounds are slower on a busy machine.
    assert!(most < published / 2, "{most} of {published} rows stood at once");
    // The held slot keeps what was written to it meanwhile, which is more on a faster machine.
    world.until(&format!("select not exists (select from outbox.event where slot <> {held})")).await;
    open.execute("commit").await.unwrap();
    world.until("select count(*) = 0 from outbox.event").await;
    world.finish().await;
}

/// Guards promise 7: neither a clock that was ahead once nor rows with future times keep the ring from turning.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_pins_no_slot() {
    let mut world = World::new(ROUTER).await;
    world.worker();
    world
        .execute(
            "update outbox.ring set entered_at = now() + interval '1 day', put_at = now() + interval '1 day'",
        )
        .await;
    world.execute(
        "insert into outbox.event (id, name, payload, occurred_at, slot) values (outbox.uuid_v7(), 'event_one', '{\"n\":1}', now() + interval '1 day', 0)",
    )
    .await;
    world.relay_with(outbox_relay::relay::Settings {
        retention: Duration::from_millis(600),
        ..relay_settings()
    });
    let id = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until("select count(*) = 0 from outbox.event").await;
    world.finish().await;
}

/// Guards `relay --retention`: events are kept for that long after their put. It also holds for a put long after the write,
/// and for an old parked event among new ones.
#[tokio::test(flavor = "multi_thread")]
async fn retention_counts_from_the_put() {
    let mut world = World::new(ROUTER).await;
    world.worker();
    world.execute(
        "insert into outbox.event (id, name, payload, occurred_at, slot)
         select outbox.uuid_v7(), 'event_one', '{\"n\":1}', now() - interval '2 days', 0 from generate_series(1, 50)",
    )
    .await;
    let retention = Duration::from_secs(6);
    world.relay_with(outbox_relay::relay::Settings { retention, ..relay_settings() });
    world.until("select count(*) = 50 from outbox.done").await;
    // Retention has seen that everything is put, and runs many rounds before it truncates.
    world.until("select put_at is not null from outbox.ring where ring = 'event' and slot = 0").await;
    world.until("select count(*) = 0 from outbox.event").await;
    let kept: bool = world
        .scalar("select clock_timestamp() - put_at >= interval '6 s' from outbox.ring where ring = 'event' and slot = 0")
        .await;
    assert!(kept, "truncated before its time");
    world.finish().await;
}

/// Guards promise 6: the cleanup of the dedup record delays no delivery. A worker's statement names the slots it needs, so
/// an old one may stay locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_old_slot_of_the_record_delays_nothing() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let mut cleaner = PgConnection::connect(&world.url).await.unwrap();
    let now: i16 = world.scalar("select outbox.dedup_slot(outbox.uuid_v7())").await;
    cleaner.execute("begin").await.unwrap();
    for slot in (0..5).filter(|slot| *slot != now) {
        cleaner
            .execute(AssertSqlSafe(format!(
                "lock table outbox.dedup_{slot}, outbox.receipt_{slot} in access exclusive mode"
            )))
            .await
            .unwrap();
    }
    world.rpcs.on("Test/One", |called| {
        let fails = called.attempt <= 2;
        Box::pin(
            async move { if fails { Err(connectrpc::ConnectError::internal("not yet")) } else { Ok(()) } },
        )
    });
    let ids = world.publish_all((0..50).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    cleaner.execute("rollback").await.unwrap();
    world.finish().await;
}

/// Guards promise 2: a page spans a bounded number of seqs, and an empty page moves on. A gap in the sequence, or other
/// transactions' rows, may be wider than a page.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_sequence_is_stepped_over() {
    let mut world = World::new(ROUTER).await;
    let stop = world.relay();
    world.worker();
    let first = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    world.stop_relay(&stop).await;
    let mut ids = Vec::new();
    for gap in [3_500_000, 7_000_000] {
        world.execute(&format!("select setval('outbox.event_seq', {gap})")).await;
        ids.extend(world.publish_all((0..150).map(|n| Entry::new(One { n }))).await);
    }
    world.relay();
    world.rpcs.until_done("Test/One", &ids).await;
    let last = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[last]).await;
    world.finish().await;
}
