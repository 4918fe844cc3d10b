use std::time::{Duration, Instant};

use sqlx::postgres::PgListener;

use crate::world::{One, ROUTER, World, relay_settings};

/// Guards promise 5 and the doorbell: publishers send no notification while the relay is awake, and the first commit wakes a
/// sleeping relay. (Every test checks at its end that no event waited for the fallback poll.)
#[tokio::test(flavor = "multi_thread")]
async fn publishers_ring_only_when_the_relay_sleeps() {
    let mut world = World::alone(ROUTER).await;
    // The fallback poll comes too late to help this test.
    world
        .relay_with(outbox_relay::relay::Settings { fallback: Duration::from_secs(600), ..relay_settings() });
    world.worker();
    let mut ears = PgListener::connect(&world.url).await.unwrap();
    ears.listen("outbox").await.unwrap();

    for n in 0..20 {
        world.until_relay_sleeps().await;
        let began = Instant::now();
        let id = world.publish(One { n }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
        assert!(began.elapsed() < Duration::from_secs(2), "it took {:?} to wake up", began.elapsed());
    }
    let mut rings = heard(&mut ears).await;
    assert!((1..=20).contains(&rings), "{rings} rings for 20 events, one at a time");

    // A publisher that saw the relay awake and is still in its transaction keeps it awake.
    let mut keeps_awake = loop {
        world.publish(One { n: 0 }).await;
        let mut tx = world.pool.begin().await.unwrap();
        outbox::enqueue(&mut tx, &One { n: 0 }).await.unwrap();
        let awake: bool = sqlx::query_scalar(
            "select exists (select from pg_locks where locktype = 'advisory' and classid = 1869968994 and objid = 1
                 and mode = 'ShareLock' and pid = pg_backend_pid())",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        if awake {
            break tx;
        }
        tx.rollback().await.unwrap();
    };
    heard(&mut ears).await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(world.publish(One { n }).await);
    }
    world.rpcs.until_done("Test/One", &ids).await;
    rings = heard(&mut ears).await;
    assert_eq!(rings, 0, "a publisher sent a notification while the relay was awake");

    sqlx::query("select 1").execute(&mut *keeps_awake).await.unwrap();
    keeps_awake.commit().await.unwrap();
    world.until_relay_sleeps().await;
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.finish().await;
}

/// The notifications so far. One of the test's own marks the end, because notifications come in the order of commits.
async fn heard(ears: &mut PgListener) -> usize {
    sqlx::query("select pg_notify('outbox', 'end')").execute(&mut *ears).await.unwrap();
    let mut rings = 0;
    loop {
        if ears.recv().await.unwrap().payload() == "end" {
            return rings;
        }
        rings += 1;
    }
}

/// Guards the doorbell's race: a commit between the relay's empty read and its sleep is never missed, at any timing.
#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_missed_at_any_timing() {
    let mut world = World::new(ROUTER).await;
    world
        .relay_with(outbox_relay::relay::Settings { fallback: Duration::from_secs(600), ..relay_settings() });
    world.worker();
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..300 {
        // The first commit wakes the relay. The second one comes around its next read and its decision to sleep.
        let pause = Duration::from_micros(random.u64(0..4000));
        let late = async {
            tokio::time::sleep(pause).await;
            world.publish(One { n }).await
        };
        let (first, second) = tokio::join!(world.publish(One { n }), late);
        world.rpcs.until_done("Test/One", &[first, second]).await;
    }
    world.finish().await;
}

/// Guards: deliveries from another process wake a worker by notification, not by its poll.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_woken_by_notification() {
    let mut world = World::alone(ROUTER).await;
    world.relay();
    world.worker();
    let mut fastest = Duration::MAX;
    for n in 0..20 {
        world.until_settled().await;
        let began = Instant::now();
        let id = world.publish(One { n }).await;
        world.rpcs.until_done("Test/One", &[id]).await;
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < Duration::from_millis(200), "the quickest of 20 took {fastest:?}: that is the poll");
    world.finish().await;
}
