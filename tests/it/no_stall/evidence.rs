//! Failures that an event causes are kept apart from failures of its server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use testkit::scrape;

use crate::operator::{n, outbox, paste};
use crate::world::{One, Rpcs, World};

const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - { id: Test/One, timeout: 2s }
";

/// The rule allows two seconds; the rest is for a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Publishes events that the RPC accepts, now and then, and returns the longest wait of one.
async fn slowest(world: &World, from: i64, count: i64) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in from..from + count {
        let id = world.publish(One { n }).await;
        let committed = Instant::now();
        world.rpcs.until_done("Test/One", &[id]).await;
        slowest = slowest.max(committed.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    slowest
}

/// Guards promise 6: ten events that exceed the server's limit fail for ever, and delay no small one.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_fail_by_themselves_delay_no_other() {
    let mut world = World::alone(ROUTER).await;
    world.rpcs.on("Test/One", |called| {
        let too_large = n(called) < 10;
        Box::pin(async move {
            if too_large {
                Err(ConnectError::resource_exhausted("message is larger than 1000"))
            } else {
                Ok(())
            }
        })
    });
    world.relay();
    world.worker();
    let large = world.publish_all((0..10).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until("each was called", |rpcs| large.iter().all(|id| !rpcs.calls_of(*id).is_empty())).await;
    let waited = slowest(&world, 100, 15).await;
    assert!(waited < WAIT_MAX, "a small event waited {waited:?} for large ones");
    world.finish().await;
}

/// Guards promise 6 with real processes: every kind of failure delays no other event, with many slots and with one.
#[tokio::test(flavor = "multi_thread")]
async fn a_mixture_of_failures_slows_no_other() {
    for concurrency in [1, 4] {
        let router = format!(
            "event:\n  - name: event_one\n    subscriber:\n      - {{ id: Test/One, timeout: 200ms, concurrency: {concurrency}, backoff: {{ min: 50ms, max: 10m }} }}\n"
        );
        let mut world = World::alone(&router).await;
        world.rpcs.on("Test/One", |called| {
            let n = n(called);
            Box::pin(async move {
                match n {
                    100.. => Ok(()),
                    0..10 => Err(ConnectError::permission_denied("not this tenant")),
                    10..20 => Err(ConnectError::unimplemented("not this kind of event")),
                    20..30 => Err(ConnectError::unavailable("the tenant's database is away")),
                    30..40 => Err(ConnectError::invalid_argument("poison")),
                    40..50 => Err(ConnectError::internal("a bug")),
                    _ => std::future::pending().await,
                }
            })
        });
        world.relay();
        world.worker();
        let failing = world.publish_all((0..53).map(|n| Entry::new(One { n }))).await;
        let called = |rpcs: &Rpcs| failing.iter().all(|id| !rpcs.calls_of(*id).is_empty());
        world.rpcs.until("each was called", called).await;
        let waited = slowest(&world, 100, 10).await;
        assert!(waited < WAIT_MAX, "an event waited {waited:?}, {concurrency} at a time");
        // The hanging calls end at their timeout, which this test does not wait for.
        world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
        world.finish().await;
    }
}

/// Refuses every call until the flag is set.
fn broken(world: &World) -> Arc<AtomicBool> {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    world.rpcs.on("Test/One", move |called| {
        let refuses = !is_mended.load(Ordering::SeqCst);
        let reason = format!("event {} of card {}: can't parse \"{}\"", called.event, n(called), n(called));
        Box::pin(async move { if refuses { Err(ConnectError::invalid_argument(reason)) } else { Ok(()) } })
    });
    mended
}

async fn dead(world: &World) -> Vec<EventId> {
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select event_id from outbox.dead_letter").fetch_all(&world.pool).await.unwrap();
    ids.into_iter().map(EventId::from).collect()
}

/// Guards promise 2: a server that refuses everything for a while does not move its queue to the dead letters, with any
/// content of its messages. A worker that restarts meanwhile adds a few. Afterwards all others are delivered, and a single
/// event that is refused among successes is dead at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_deploy_is_held() {
    let mut world = World::new(ROUTER).await;
    let mended = broken(&world);
    world.relay();
    let stop = world.worker();
    let ids = world.publish_all((0..300).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until("it refused a lot", |rpcs| rpcs.calls().len() >= 100).await;
    stop.cancel();
    world.worker();
    let more = world.publish_all((300..600).map(|n| Entry::new(One { n }))).await;
    let last = *more.last().unwrap();
    world.rpcs.until("it refused the last one", |rpcs| !rpcs.calls_of(last).is_empty()).await;
    mended.store(true, Ordering::SeqCst);
    world.until_settled().await;
    let dead_letters = dead(&world).await;
    // Five for each start of a worker. The first success ends the hold, and refused calls under way may still die: as many
    // as there are slots.
    assert!(dead_letters.len() <= 20, "{} died", dead_letters.len());
    let others: Vec<EventId> = ids.into_iter().chain(more).filter(|id| !dead_letters.contains(id)).collect();
    world.rpcs.until_done("Test/One", &others).await;

    world.rpcs.on("Test/One", |called| {
        let poison = n(called) == 1000;
        Box::pin(async move { if poison { Err(ConnectError::invalid_argument("no")) } else { Ok(()) } })
    });
    let poison = world.publish(One { n: 1000 }).await;
    world.rpcs.until("it is called", |rpcs| !rpcs.calls_of(poison).is_empty()).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls_of(poison).len(), 1);
    assert!(dead(&world).await.contains(&poison));
    world.finish().await;
}

/// Guards promise 8: a hold and its reason stand in a metric, in `outbox status` and, for each event, in `outbox why`.
/// `outbox poison` lets the events die, and its end begins the hold again.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_shown_and_ended_by_an_operator() {
    let world = World::new(ROUTER).await;
    broken(&world);
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    relay.wait_for("leading").await.unwrap();
    let metrics = scrape::addr(&mut worker).await.unwrap();
    let ids = world.publish_all((0..30).map(|n| Entry::new(One { n }))).await;
    let last = *ids.last().unwrap();
    world.until("select count(*) = 26 from outbox.retry where last_error like 'held, %'").await;
    assert_eq!(dead(&world).await.len(), 4);

    let held = format!(
        "outbox_worker_held{{source=\"{}\",rpc=\"Test/One\",code=\"invalid_argument\",reason=\"event # of card #: can't parse '…'\"}}",
        world.source.name()
    );
    let scraped = scrape::get(&metrics, "/metrics").await.unwrap().1;
    assert!(scraped.lines().any(|line| line == format!("{held} 1")), "{scraped}");
    let level =
        format!("outbox_worker_breaker_state{{source=\"{}\",rpc=\"Test/One\"}} 3", world.source.name());
    assert!(scraped.lines().any(|line| line == level), "{scraped}");
    let status = outbox(&world, &format!("status --worker http://{metrics}")).await;
    assert_eq!(status.code, 1);
    let said = "Test/One is held, as different events are refused alike (invalid_argument: event # of card #: can't parse '…')";
    assert!(status.out.contains(said) && status.out.contains("held"), "{status:?}");
    let why = outbox(&world, &format!("why {last}")).await;
    assert!(why.out.contains("held, as others were refused alike"), "{why:?}");

    let env = [("DATABASE_URL", world.url.as_str())];
    let command = status.command("outbox poison --rpc Test/One");
    let command = command.split(": ").next().unwrap();
    let unsure = paste(&env, command).await;
    assert!(unsure.code == 2 && unsure.err.contains("pass --yes"), "{unsure:?}");
    let spoken = paste(&env, &format!("{command} --yes --for 10m")).await;
    assert!(spoken.code == 0 && spoken.out.contains("is dead-lettered for 10m"), "{spoken:?}");
    world.until("select count(*) = 30 from outbox.dead_letter").await;
    let scraped = scrape::get(&metrics, "/metrics").await.unwrap().1;
    assert!(scraped.lines().any(|line| line == format!("{held} 0")), "{scraped}");
    assert!(outbox(&world, "audit").await.out.contains("outbox poison --rpc Test/One"));

    let spoken = outbox(&world, "poison --rpc Test/One --for 0s").await;
    assert!(spoken.code == 0 && spoken.out.contains("is held again"), "{spoken:?}");
    worker
        .wait_for("events that the RPC refuses are dead-lettered and not held rpc=Test/One seconds=0")
        .await
        .unwrap();
    world.publish_all((30..60).map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 26 from outbox.retry where last_error like 'held, %'").await;
    let nowhere = outbox(&world, "poison --rpc Test/Nothing --yes").await;
    assert!(nowhere.code == 2 && nowhere.err.contains("there is no RPC Test/Nothing"), "{nowhere:?}");
    worker.stop().await.unwrap();
    relay.stop().await.unwrap();
    world.finish().await;
}
