use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox::{Entry, EventId};

use crate::world::{One, PATIENCE, ROUTER, World, relay_settings};

/// Guards promises 1, 2 and 4: 8 writers lock a row, enqueue, and roll back at random, with small and large pages. The
/// delivered ids are the committed ones, and no rolled-back event is seen. Each key is on the bus in the order in which its
/// writers had the lock.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_lose_nothing_and_keep_each_keys_order() {
    for page_max in [1000, 7] {
        let mut world = World::new(ROUTER).await;
        world.execute("create table account (key text primary key, version bigint not null)").await;
        world.execute("insert into account select 'key-' || n, 0 from generate_series(0, 4) as n").await;
        world.relay_with(outbox_relay::relay::Settings { page_max, ..relay_settings() });
        world.worker();

        let pool = world.pool.clone();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let pool = pool.clone();
                tokio::spawn(async move { write(pool, fastrand::Rng::with_seed(writer)).await })
            })
            .collect();
        let (mut committed, mut rolled_back) = (HashSet::new(), HashSet::new());
        for writer in writers {
            let (kept, undone) = writer.await.unwrap();
            committed.extend(kept);
            rolled_back.extend(undone);
        }
        assert!(committed.len() > 300 && rolled_back.len() > 50, "{} committed", committed.len());

        let all: Vec<EventId> = committed.iter().copied().collect();
        world.rpcs.until_done("Test/One", &all).await;
        world.until_settled().await;
        let seen: HashSet<EventId> = world.rpcs.calls().iter().map(|call| call.event).collect();
        assert_eq!(seen, committed, "page_max {page_max}");
        assert!(seen.is_disjoint(&rolled_back));

        // The queue's log has the deliveries in the order of their puts.
        let bodies: Vec<String> = sqlx::query_scalar("select body from outbox.delivery order by seq")
            .fetch_all(&world.pool)
            .await
            .unwrap();
        assert_eq!(bodies.len(), committed.len(), "each was put once");
        let mut last: HashMap<String, i64> = HashMap::new();
        for body in bodies {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let key = body["event"]["key"].as_str().unwrap().to_owned();
            let version = body["event"]["payload"]["n"].as_i64().unwrap();
            let before = last.insert(key.clone(), version).unwrap_or(0);
            assert!(version > before, "page_max {page_max}: {key} put {version} after {before}");
        }
        world.finish().await;
    }
}

/// One writer: locks a row, raises its version, enqueues that, and commits three times out of four.
async fn write(pool: sqlx::PgPool, mut random: fastrand::Rng) -> (Vec<EventId>, Vec<EventId>) {
    let (mut committed, mut rolled_back) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let mut tx = pool.begin().await.unwrap();
        // An xid that is drawn before the row's lock: the order of xids is not the order of the key.
        if random.bool() {
            sqlx::query("select pg_current_xact_id()").execute(&mut *tx).await.unwrap();
        }
        let key = format!("key-{}", random.u8(0..5));
        let version: i64 =
            sqlx::query_scalar("update account set version = version + 1 where key = $1 returning version")
                .bind(&key)
                .fetch_one(&mut *tx)
                .await
                .unwrap();
        if random.u8(0..5) == 0 {
            sqlx::query("savepoint undo").execute(&mut *tx).await.unwrap();
            rolled_back.push(Entry::new(One { n: -1 }).key(&key).enqueue(&mut tx).await.unwrap());
            sqlx::query("rollback to savepoint undo").execute(&mut *tx).await.unwrap();
        }
        let id = Entry::new(One { n: version }).key(&key).enqueue(&mut tx).await.unwrap();
        if random.u8(0..3) == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(0..8))).await;
        }
        if random.u8(0..4) == 0 {
            tx.rollback().await.unwrap();
            rolled_back.push(id);
        } else {
            tx.commit().await.unwrap();
            committed.push(id);
        }
    }
    (committed, rolled_back)
}

/// Guards promise 6: a long transaction that has enqueued delays no other event, and its own arrive right after its commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_delays_only_itself() {
    let mut world = World::alone(ROUTER).await;
    world.relay();
    world.worker();
    let mut long = world.pool.begin().await.unwrap();
    let late = outbox::enqueue(&mut long, &One { n: 0 }).await.unwrap();

    let mut slowest = Duration::ZERO;
    for n in 1..=50 {
        let began = Instant::now();
        let id = world.publish(One { n }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "an event took {slowest:?} beside a long transaction");
    assert!(world.rpcs.calls_of(late).is_empty(), "not committed, and already delivered");

    let began = Instant::now();
    long.commit().await.unwrap();
    world.rpcs.until_done("Test/One", &[late]).await;
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?} after its commit", began.elapsed());
    world.finish().await;
}

/// Guards promise 2: events from before the first relay are delivered in pages. Transactions that were in flight meanwhile
/// are not skipped.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_paged_through_without_loss() {
    let mut world = World::new(ROUTER).await;
    let mut open = Vec::new();
    let mut ids = Vec::new();
    for n in 0..5 {
        // In flight with a low seq while the window is fixed, and committed during its pages.
        let mut tx = world.pool.begin().await.unwrap();
        ids.push(outbox::enqueue(&mut tx, &One { n: -n }).await.unwrap());
        open.push(tx);
        ids.extend(world.publish_all((0..200).map(|n| Entry::new(One { n }))).await);
    }
    world.relay_with(outbox_relay::relay::Settings { page_max: 10, ..relay_settings() });
    world.worker();
    world.until("select count(*) > 3 from outbox.cursor").await;
    for tx in open {
        tx.commit().await.unwrap();
    }
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls().len(), ids.len(), "each was put and called once");
    assert!(
        world.scalar::<bool>("select bool_or(page_seq is not null) from outbox.cursor").await,
        "it did page"
    );
    world.finish().await;
}

/// Guards promise 7: pages of large payloads are bounded by their bytes, and no event is skipped.
#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_are_paged_by_their_bytes() {
    #[derive(serde::Serialize)]
    struct Large {
        text: String,
    }
    impl outbox::Event for Large {
        const NAME: &'static str = "event_one";
    }
    let mut world = World::new(ROUTER).await;
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(world.publish(Large { text: "x".repeat(200 * 1024) }).await);
        ids.push(world.publish(One { n: 1 }).await);
    }
    world.relay();
    world.worker();
    world.rpcs.until_done("Test/One", &ids).await;
    assert!(
        world.scalar::<bool>("select bool_or(page_seq is not null) from outbox.cursor").await,
        "it did page"
    );
    let order: Vec<uuid::Uuid> = sqlx::query_scalar("select event_id from outbox.delivery order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(order, ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>());
    world.finish().await;
}

/// Guards promise 2 across a restore: xids start anew in another cluster. Still no unput event is skipped, and no put event
/// is put again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_outbox_goes_on_where_it_was() {
    let mut world = World::new(ROUTER).await;
    let stop = world.relay();
    let worker = world.worker();
    let put = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &put).await;
    stop.cancel();
    worker.cancel();
    world.until("select not exists (select from pg_stat_activity where application_name like 'outbox relay%' and datname = current_database())").await;

    // As in a dump of an older, busier cluster, whose xids are far ahead. A gap below the cursor was in flight at the dump
    // and has committed, and some events were never put.
    let unput = world.publish_all((20..30).map(|n| Entry::new(One { n }))).await;
    world.execute("update outbox.event set xid = ('1000' || xid)::xid8").await;
    let hole = put[3];
    world.execute(&format!("update outbox.event set xid = '50000000' where id = '{hole}'")).await;
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             values ('50000000:90000000:50000000', 20, 20, 42, 'elsewhere', 0)",
        )
        .await;
    world.execute("update outbox.event set xid = '60000000' where seq <= 20 and xid <> '50000000'").await;
    // Published in the new cluster before the relay starts: its xid is small, and the old snapshot would count it as seen.
    let new = world.publish(One { n: 99 }).await;

    let mut expected: HashSet<EventId> = unput.into_iter().collect();
    expected.extend([new, hole]);
    world.relay();
    let deliveries = Arc::new(world.pool.clone());
    let again = tokio::time::timeout(PATIENCE, async {
        loop {
            let ids: Vec<uuid::Uuid> =
                sqlx::query_scalar("select event_id from outbox.delivery where seq > 20 order by seq")
                    .fetch_all(&*deliveries)
                    .await
                    .unwrap();
            if ids.len() >= expected.len() {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the restored events are put");
    let later = world.publish(One { n: 100 }).await;
    world.until(&format!("select exists (select from outbox.delivery where event_id = '{later}')")).await;
    let again: HashSet<EventId> = again.into_iter().map(EventId::from).collect();
    assert_eq!(again, expected);
    assert_eq!(
        world.scalar::<i64>("select count(*) from outbox.delivery where seq > 20").await,
        expected.len() as i64 + 1
    );
    world.finish().await;
}
