//! Sequences that were set back or not copied.

use outbox::Entry;

use crate::world::{One, ROUTER, World};

/// Guards promise 2: logical replication copies neither xids nor sequences. New events then have ids and numbers that the
/// old cursor counts as put.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_that_were_not_copied_are_corrected() {
    let mut world = World::new(ROUTER).await;
    let (stop_relay, stop_worker) = (world.relay(), world.worker());
    let before = world.publish_all((0..40).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &before).await;
    world.until_settled().await;
    stop_worker.cancel();
    world.stop_relay(&stop_relay).await;
    // Another server's cursor: its row was copied, without its xmin.
    world.execute("update outbox.cursor set relay = relay || '?'").await;
    for sequence in ["event_seq", "delivery_seq", "claim_id", "cursor_id"] {
        world.execute(&format!("select setval('outbox.{sequence}', 1, false)")).await;
    }
    world.execute("select setval('outbox.event_slot', 7), setval('outbox.delivery_slot', 5)").await;

    let mut fresh = Vec::new();
    for n in 40..49 {
        fresh.push(world.publish(One { n }).await);
    }
    // In a savepoint, whose rows have an xmin of their own.
    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query("savepoint a").execute(&mut *tx).await.unwrap();
    fresh.push(outbox::enqueue(&mut tx, One { n: 49 }).await.unwrap());
    tx.commit().await.unwrap();
    let behind: Vec<String> = sqlx::query_scalar("select name from outbox.check_sequences(false) order by 1")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(behind, ["claim_id", "cursor_id", "delivery_seq", "event_seq"]);
    world.relay();
    world.worker();
    world.rpcs.until_done("Test/One", &fresh).await;
    let later = world.publish(One { n: 50 }).await;
    world.rpcs.until_done("Test/One", &[later]).await;
    assert_eq!(world.rpcs.calls().len(), before.len() + fresh.len() + 1, "each once");
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.check_sequences(false)").await, 0);
    assert_eq!(world.scalar::<i64>("select count(*) - count(distinct seq) from outbox.event").await, 0);
    world.finish().await;
}

/// A world with a worker and without a relay. 41 events were put in two windows, so that the cursor's floor lies above the
/// first one. Then the sequence was set back, and 60 events were published. Their seqs begin below the floor and end above
/// it.
async fn set_back() -> (World, Vec<outbox::EventId>) {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    world.worker();
    let before = world.publish_all((0..40).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &before).await;
    let before = world.publish(One { n: -1 }).await;
    world.rpcs.until_done("Test/One", &[before]).await;
    world.stop_relay(&relay).await;
    assert!(world.scalar::<i64>("select floor_seq from outbox.newest_cursor").await >= 40);
    world.execute("select setval('outbox.event_seq', 3)").await;
    let fresh = world.publish_all((40..100).map(|n| Entry::new(One { n }))).await;
    (world, fresh)
}

/// Guards promise 2: a sequence was set back under a valid cursor, and the backlog is read page by page. Events below the
/// floor are found, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_was_set_back_hides_nothing() {
    let (mut world, fresh) = set_back().await;
    let settings = outbox_relay::relay::Settings { page_max: 5, ..crate::world::relay_settings() };
    world.relay_with(settings);
    world.rpcs.until_done("Test/One", &fresh).await;
    world.finish().await;
}

/// Guards promise 2: the same, where a new leader corrected the sequence and ended before it wrote a cursor.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_was_set_back_is_remembered_until_a_cursor_is_written() {
    let (mut world, fresh) = set_back().await;
    let term: i64 = world.scalar("select term from outbox.leader").await;

    // Like a leader's session that is frozen in the middle of a statement: the next leader waits for a while and tries
    // again.
    let mut frozen = world.pool.begin().await.unwrap();
    sqlx::query("lock table outbox.cursor in row exclusive mode").execute(&mut *frozen).await.unwrap();
    world.relay_with(outbox_relay::relay::Settings { page_max: 5, ..crate::world::relay_settings() });
    world.until(&format!("select term > {term} + 1 from outbox.leader")).await;
    frozen.rollback().await.unwrap();
    world.rpcs.until_done("Test/One", &fresh).await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.check_sequences(false)").await, 0);
    world.finish().await;
}

/// Guards promise 2: the same, where the sequence is above all rows and below the cursor's floor. A transaction that was
/// rolled back had drawn those numbers.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_below_the_cursors_floor_is_behind() {
    let mut world = World::new(ROUTER).await;
    let stop = world.relay();
    world.worker();
    world.execute("select nextval('outbox.event_seq') from generate_series(1, 200)").await;
    for n in 0..3 {
        let id = world.publish(One { n }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
    }
    world.stop_relay(&stop).await;
    world.execute("delete from outbox.event").await;
    world.execute("update outbox.cursor set last_seq = 100").await;
    // Rewriting this row would make it another history's: so it is appended, as the relay does.
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select snapshot, last_seq, floor_seq, system_identifier, relay, slot from outbox.newest_cursor",
        )
        .await;
    world.execute("select setval('outbox.event_seq', 120)").await;
    let fresh = world.publish_all((40..100).map(|n| Entry::new(One { n }))).await;
    world.relay_with(outbox_relay::relay::Settings { page_max: 5, ..crate::world::relay_settings() });
    world.rpcs.until_done("Test/One", &fresh).await;
    world.finish().await;
}

/// Guards promise 2: an open transaction drew its seqs before the sequence was set back. Its rows lie above the corrected
/// sequence, because the correction can't see them. They are found when they are committed, soon or late.
#[tokio::test(flavor = "multi_thread")]
async fn events_above_a_corrected_sequence_are_found() {
    let mut world = World::new(ROUTER).await;
    let stop = world.relay();
    world.worker();
    for n in 0..3 {
        let id = world.publish(One { n }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
    }
    world.execute("select setval('outbox.event_seq', 1000000)").await;
    let mut soon = world.pool.begin().await.unwrap();
    let mut ids = outbox::enqueue_all(&mut soon, (0..20).map(|n| Entry::new(One { n }))).await.unwrap();
    let mut late = world.pool.begin().await.unwrap();
    ids.extend(outbox::enqueue_all(&mut late, (20..40).map(|n| Entry::new(One { n }))).await.unwrap());
    world.stop_relay(&stop).await;
    world.execute("select setval('outbox.event_seq', 1)").await;
    let fresh = world.publish_all((40..60).map(|n| Entry::new(One { n }))).await;
    let again =
        world.relay_with(outbox_relay::relay::Settings { page_max: 5, ..crate::world::relay_settings() });
    world.rpcs.until_done("Test/One", &fresh).await;
    soon.commit().await.unwrap();
    world.rpcs.until_done("Test/One", &ids[..20]).await;
    for n in 60..64 {
        let more = world.publish_all((0..20).map(|m| Entry::new(One { n: n * 100 + m }))).await;
        world.rpcs.until_done("Test/One", &more).await;
    }
    late.commit().await.unwrap();
    world.rpcs.until_done("Test/One", &ids[20..]).await;
    again.cancel();
    world.finish().await;
}

/// Guards promise 2: a sequence that is set back under a leader ends its term. The next leader finds the events that were
/// numbered again.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_is_set_back_under_the_leader_ends_its_term() {
    let mut world = World::new(ROUTER).await;
    world.relay_with(outbox_relay::relay::Settings { page_max: 5, ..crate::world::relay_settings() });
    world.worker();
    for n in 0..3 {
        let ids = world.publish_all((0..20).map(|m| Entry::new(One { n: n * 100 + m }))).await;
        world.rpcs.until_done("Test/One", &ids).await;
    }
    for n in 3..6 {
        world.execute("select setval('outbox.event_seq', 3)").await;
        let ids = world.publish_all((0..20).map(|m| Entry::new(One { n: n * 100 + m }))).await;
        world.rpcs.until_done("Test/One", &ids).await;
    }
    world.finish().await;
}
