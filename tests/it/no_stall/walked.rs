use std::cell::Cell;
use std::time::{Duration, Instant};

use outbox::{Entry, EventId};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::world::{One, ROUTER, World, relay_settings, until};

/// The cost of a statement since the last reading: scans of these tables' indexes, and blocks of tables and indexes.
struct Meter {
    query: String,
    seen: Cell<(i64, i64)>,
}

impl Meter {
    fn of(tables: &str) -> Self {
        let query = format!(
            "select coalesce(sum(t.idx_scan), 0)::bigint,
                    coalesce(sum(io.heap_blks_hit + io.heap_blks_read + io.idx_blks_hit + io.idx_blks_read), 0)::bigint
             from pg_stat_user_tables as t join pg_statio_user_tables as io using (relid)
             where t.schemaname = 'outbox' and t.relname ~ '^{tables}$'"
        );
        Self { query, seen: Cell::new((0, 0)) }
    }

    async fn look(&self, world: &World) -> (i64, i64) {
        sqlx::query_as(AssertSqlSafe(self.query.clone())).fetch_one(&world.pool).await.unwrap()
    }

    /// Waits until these indexes were scanned so many times more. Returns how many blocks each scan read.
    async fn blocks_per_scan(&self, world: &World, scans: i64) -> i64 {
        let before = self.look(world).await;
        until("the tables were looked into", async || {
            self.seen.set(self.look(world).await);
            self.seen.get().0 >= before.0 + scans
        })
        .await;
        let (scanned, blocks) = self.seen.get();
        (blocks - before.1) / (scanned - before.0)
    }
}

/// The cost of walking over 20,000 dead rows of `outbox.retry`, in blocks.
const WALK: i64 = 1_700;

/// One read in ten seconds covers all rows, so a slow machine has more of these among the same number. A session reports its
/// statistics up to ten seconds later, so earlier reads may be counted as well.
fn walks_in(began: Instant) -> i64 {
    4 + i64::try_from(began.elapsed().as_secs() / 10).unwrap()
}

/// A transaction with many events that stays open.
async fn open_with_events(world: &World, events: u32) -> PgConnection {
    let mut open = PgConnection::connect(&world.url).await.unwrap();
    let enqueue = format!(
        "select outbox.enqueue_all(array_agg('event_one'::text), array_agg('{{\"n\":1}}'::text), array_agg(null::text),
             array_agg(null::text), array_agg(null::uuid)) from generate_series(1, {events})"
    );
    open.execute("begin").await.unwrap();
    open.execute(AssertSqlSafe(enqueue)).await.unwrap();
    open
}

/// Guards promise 6: a relay that has put nothing since an open transaction began does not walk over its rows with every
/// read.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_open_transaction_are_not_walked_over() {
    let mut world = World::new(ROUTER).await;
    // Awake or asleep, the relay reads again and again.
    world.relay_with(outbox_relay::relay::Settings {
        fallback: Duration::from_millis(10),
        ..relay_settings()
    });
    world.worker();
    let first = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    let mut open = open_with_events(&world, 50_000).await;
    // Snapshots reach beyond the open transaction from here on.
    world.execute("select pg_current_xact_id()").await;
    let meter = Meter::of("event_[0-9]");
    // Skips the reads that ran while the transaction wrote.
    meter.blocks_per_scan(&world, 100).await;
    let blocks = meter.blocks_per_scan(&world, 400).await;
    // One of 8 slots is filled, with a thousand blocks.
    println!("{blocks} blocks for each scan of an index");
    assert!(blocks < 20, "{blocks} blocks for each scan of an index");
    open.execute("rollback").await.unwrap();
    world.finish_found_by_fallback().await;
}

/// Guards promises 2 and 6: the last page of a window does not walk over events that were published after the window's end.
/// The first page does not walk over an older transaction's uncommitted rows. One transaction writes both here and stays
/// open, so that no window contains them.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_bounded_on_both_sides() {
    let mut world = World::new(ROUTER).await;
    let mut open = open_with_events(&world, 100_000).await;
    open.execute(
        "insert into outbox.event (seq, id, name, payload, slot)
         select 1000000000 + n, outbox.uuid_v7(), 'event_one', '{\"n\":1}', 0 from generate_series(1, 100000) as n",
    )
    .await
    .unwrap();
    let relay = world.relay_with(outbox_relay::relay::Settings { page_max: 5, ..relay_settings() });
    world.worker();
    for _ in 0..5 {
        let ids = world.publish_all((0..8).map(|n| Entry::new(One { n }))).await;
        world.rpcs.until_done("Test/One", &ids).await;
    }
    let meter = Meter::of("event_[0-9]");
    let (_, before) = meter.look(&world).await;
    for _ in 0..50 {
        let ids = world.publish_all((0..8).map(|n| Entry::new(One { n }))).await;
        world.rpcs.until_done("Test/One", &ids).await;
    }
    world.stop_relay(&relay).await;
    // Sessions report their statistics when they end.
    world.until("select not exists (select from pg_stat_activity where application_name ~ '^outbox relay' and datname = current_database())").await;
    let blocks = meter.look(&world).await.1 - before;
    println!("{blocks} blocks for 50 windows of two pages");
    // A walk over either half is two thousand blocks for each window.
    assert!(blocks < 40_000, "{blocks} blocks for 50 windows of two pages");
    assert!(
        world.scalar::<bool>("select bool_or(page_seq is not null) from outbox.cursor").await,
        "it did page"
    );
    open.execute("rollback").await.unwrap();
    world.finish().await;
}

/// Guards promise 6: claims that were settled under an old snapshot stay in their indexes. Once they are known as settled,
/// neither worker nor relay walks over them.
#[tokio::test(flavor = "multi_thread")]
async fn settled_claims_are_not_walked_over() {
    let mut world = World::new(ROUTER).await;
    let settings =
        outbox_relay::relay::Settings { retention: Duration::from_millis(1200), ..relay_settings() };
    world.relay_with(settings);
    world.until("select count(*) = 3 from outbox.queue").await;
    world
        .execute(
            "insert into outbox.claim (queue, token, first_seq, last_seq, until, worker)
             select q.id, 1, 0, 0, null, 'somebody' from outbox.queue as q, generate_series(1, 20001) where q.rpc = 'Test/One'",
        )
        .await;
    let mut holder = PgConnection::connect(&world.url).await.unwrap();
    holder.execute("begin isolation level repeatable read").await.unwrap();
    holder.execute("select count(*) from outbox.claim").await.unwrap();
    world.execute("delete from outbox.claim where id < (select max(id) from outbox.claim)").await;
    world.worker();
    let meter = Meter::of("claim");
    let blocks = Cell::new(0);
    // Ids of the last ten seconds are not yet known as settled.
    until("no look walks over them", async || {
        blocks.set(meter.blocks_per_scan(&world, 50).await);
        // A walk over them is 260. Some reads cover all rows, on a busy machine several among 50 scans.
        blocks.get() < 60
    })
    .await;
    println!("{} blocks for each scan of an index", blocks.get());
    holder.execute("rollback").await.unwrap();
    world.finish().await;
}

/// Guards promise 6: deliveries from `outbox.retry` under an old snapshot stay in its indexes. Neither a worker's polls nor
/// its receives walk over them, except one poll in ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn retries_under_an_old_snapshot_are_not_walked_over() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.until("select count(*) = 3 from outbox.queue").await;
    world
        .execute(
            "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
             select -n, q.id, outbox.uuid_v7(), repeat('x', 500), now(), 1, now() - interval '1 hour' + n * interval '1 ms', '', ''
             from outbox.queue as q, generate_series(1, 20000) as n where q.rpc = 'Test/One'",
        )
        .await;
    let mut holder = PgConnection::connect(&world.url).await.unwrap();
    holder.execute("begin isolation level repeatable read").await.unwrap();
    holder.execute("select count(*) from outbox.retry").await.unwrap();
    world.execute("delete from outbox.retry").await;
    let worker = world.worker();
    let meter = Meter::of("retry");
    // The first poll and the first receives cover all rows. One poll is a scan for each of three queues.
    let blocks = Cell::new(0);
    until("no look walks over them", async || {
        blocks.set(meter.blocks_per_scan(&world, 12).await);
        // Four walks are 560 blocks a scan. One poll in ten seconds covers all rows. Polls of a queue at rest are rare, so that may
        // be three of four.
        blocks.get() < 480
    })
    .await;
    println!("{} blocks for each scan of an index by a look", blocks.get());

    let (began, (_, before)) = (Instant::now(), meter.look(&world).await);
    for n in 0..100 {
        let id = world.publish(One { n }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
    }
    worker.cancel();
    world.until("select not exists (select from pg_stat_activity where application_name ~ '^outbox worker' and datname = current_database())").await;
    let blocks = meter.look(&world).await.1 - before;
    println!("{blocks} blocks for 100 receives");
    // A hundred walks are 165,000.
    let most = 30_000 + WALK * walks_in(began);
    assert!(blocks < most, "{blocks} blocks for 100 receives, and at most {most}");
    holder.execute("rollback").await.unwrap();
    world.finish().await;
}

/// Guards promise 2: a long transaction commits a retry whose due time lies before the start of a worker's read. The retry
/// is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_was_committed_late_is_found() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1;
        Box::pin(
            async move { if first { Err(connectrpc::ConnectError::internal("not yet")) } else { Ok(()) } },
        )
    });
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    let late = EventId::new();
    sqlx::query(
        "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
         select nextval('outbox.delivery_seq'), q.id, $1, format('{\"rpc\":\"Test/One\",\"event\":{\"id\":\"%s\",\"name\":\"event_one\",\"key\":null,\"occurred_at\":\"2026-11-22T03:04:05Z\",\"headers\":{},\"payload\":{\"n\":1}}}', $1::uuid),
                now(), 1, now() - interval '1 hour', 'internal', ''
         from outbox.queue as q where q.rpc = 'Test/One'",
    )
    .bind(late.as_uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    world.rpcs.until_done("Test/One", &[late]).await;
    world.finish().await;
}
