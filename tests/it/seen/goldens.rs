//! What `outbox status` and `outbox why` print in each state, word for word.
//!
//! The product's own commands make each state on a real database. A file in `goldens/` has the output, with ids, times and
//! sizes masked. After a change of wording run `BLESS=1 cargo test -p tests goldens`, and read the difference.

mod masked; // what differs from run to run

use std::time::Duration;

use connectrpc::ConnectError;
use outbox::{Entry, Event, EventId};
use testkit::process::root;
use testkit::scrape;

use self::masked::Mask;
use crate::operator::{ROUTER, Said, misbehave, outbox, paste, publish_malformed};
use crate::world::{One, Two, World, until};

/// Compares the output with the file of this name, or writes the file.
fn compare(name: &str, said: &Said, mask: &Mask) {
    let file = root().join("tests/it/seen/goldens").join(name).with_extension("txt");
    let says = format!("{}\nexit {}\n", mask.hide(&format!("{}{}", said.out, said.err)), said.code);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, says).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(says == expected, "{}\nexpected:\n{expected}\nbut it said:\n{says}", file.display());
}

/// The same for one event, which the file calls by a word.
async fn compare_why(name: &str, world: &World, id: EventId, mask: &Mask) {
    compare(&format!("why/{name}"), &outbox(world, &format!("why {id}")).await, mask);
}

async fn compare_status(name: &str, world: &World, more: &str, mask: &Mask) {
    let mut shown = None;
    until("no process of ours writes", async || {
        let said = outbox(world, &format!("status {more}")).await;
        let quiet = is_quiet(&said);
        shown = quiet.then_some(said);
        quiet
    })
    .await;
    compare(&format!("status/{name}"), &shown.unwrap(), mask);
}

/// Relays and workers have a transaction for some milliseconds now and then. Such an output is not compared.
fn is_quiet(said: &Said) -> bool {
    !said.out.lines().any(|line| line.contains("oldest transaction") && line.contains(", outbox "))
}

/// The relay and the worker of a test have written that they are ready.
const READY: &str = "select count(*) = 2 and bool_and(report like '{\"ready\":true,%') from outbox.process";

#[derive(Debug, Clone, serde::Serialize)]
struct Unheard {}

impl Event for Unheard {
    const NAME: &'static str = "event_unheard";
}

/// Guards promise 8: where nothing is stuck, `status` says so, and `why` shows when an event was done.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stuck() {
    let mut world = World::new(&format!("{ROUTER}  - name: event_unheard\n    subscriber: []\n")).await;
    let mask = Mask::of(&world);
    compare_status("new", &world, "", &mask).await;
    world.relay();
    world.worker();
    let done = world.publish(One { n: 1 }).await;
    let unheard = world.publish(Unheard {}).await;
    world.until("select count(*) = 1 from outbox.done").await;
    world.until("select last_seq = 2 from outbox.cursor_now()").await;
    world.until_settled().await;
    world.until_relay_sleeps().await;
    world.until(READY).await;
    compare_status("well", &world, "", &mask).await;
    compare_why("done", &world, done, &mask).await;
    compare_why("nobody_subscribes", &world, unheard, &mask).await;
    world.execute(&format!("delete from outbox.event where id = '{done}'")).await;
    compare_why("done_and_gone", &world, done, &mask).await;
    let older = "0198c7e2-0000-7000-8000-000000000001".parse().unwrap();
    compare_why("older_than_the_outbox", &world, older, &mask).await;
    world.finish().await;
}

/// Guards promise 8: `why` shows each delivery's state: dead, failed, called, queued. It also shows parked and uncommitted
/// events.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_in_every_state() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    world.relay();
    world.worker_with(Duration::from_secs(30));
    let (dead, failed) = (world.publish(One { n: 13 }).await, world.publish(One { n: 14 }).await);
    let called = world.publish(Two { n: 1 }).await;
    world.rpcs.until("it is being called", |rpcs| !rpcs.calls_of(called).is_empty()).await;
    let (next, last) = (world.publish(Two { n: 2 }).await, world.publish(Two { n: 3 }).await);
    let parked = publish_malformed(&world).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.retry where last_code = 'unavailable'").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    world.until("select count(*) = 5 from outbox.delivery").await;
    world.until(READY).await;
    // A row is some seconds old.
    world.until("select exists (select from outbox.process where report like '%\"calls\":1,%')").await;
    // Not sooner: an idle one is a problem after some seconds.
    let mut open = world.pool.begin().await.unwrap();
    let uncommitted = outbox::enqueue(&mut open, One { n: 2 }).await.unwrap();

    let mask = Mask::of(&world);
    compare_status("stuck", &world, "", &mask).await;
    for (name, id) in [
        ("dead", dead),
        ("failed", failed),
        ("called", called),
        ("queued_next", next),
        ("queued_behind_another", last),
        ("parked", parked),
        ("not_committed_yet", uncommitted),
    ] {
        compare_why(name, &world, id, &mask).await;
    }
    open.rollback().await.unwrap();
    compare_why("rolled_back", &world, uncommitted, &mask).await;
    answer.cancel();
    world.rpcs.until_done("Test/Slow", &[called, next, last]).await;
    world.finish().await;
}

/// Guards promise 8: without a leader, or with a stalled one, `status` and `why` say so, and count the waiting events.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_not_put() {
    let world = World::new(ROUTER).await;
    let mask = Mask::of(&world);
    let first = world.publish(One { n: 1 }).await;
    let second = world.publish(Two { n: 2 }).await;
    compare_status("nobody_relays", &world, "", &mask).await;
    compare_why("not_put_and_nobody_relays", &world, first, &mask).await;
    compare_why("not_put_behind_another", &world, second, &mask).await;

    let mut relay = world.relay_process();
    relay.wait_for("leading").await.unwrap();
    world.until("select count(*) = 2 from outbox.delivery").await;
    world.until_relay_sleeps().await;
    relay.signal("STOP").unwrap();
    let stands = world.publish(One { n: 3 }).await;
    compare_why("not_put_yet", &world, stands, &mask).await;
    relay.signal("CONT").unwrap();
    world.until("select count(*) = 3 from outbox.delivery").await;
    relay.stop().await.unwrap();
    // No worker receives, and one of the RPCs is no longer in this file.
    compare_why("queued_without_a_worker", &world, stands, &mask).await;
    let router = world.router_file.with_extension("other.yaml");
    std::fs::write(
        &router,
        "event:\n  - name: event_two\n    subscriber: [{ id: Test/Slow }, { id: Test/New }]\n",
    )
    .unwrap();
    let router = router.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &router)];
    compare("status/not_routed_any_more", &paste(&env, "outbox status").await, &mask);
    compare("why/subscribed_later", &paste(&env, &format!("outbox why {second}")).await, &mask);
    world.finish().await;
}

/// Guards promise 8: under another server's cursor, the commands report as unknown which events were put.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_server() {
    let world = World::new(ROUTER).await;
    let id = world.publish(One { n: 1 }).await;
    world
        .execute(
            "insert into outbox.cursor (xid, snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select '5', pg_current_snapshot()::text, 1, 0, system_identifier, 'theirs', 0 from pg_control_system()",
        )
        .await;
    let mask = Mask::of(&world);
    compare_status("restored", &world, "", &mask).await;
    compare_why("put_not_known", &world, id, &mask).await;
    world.finish().await;
}

/// Guards promise 8: a dead worker's delivery is shown as abandoned until it is received again.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_worker_died() {
    let world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    let (mut relay, worker) = (world.relay_process(), world.worker_process());
    relay.wait_for("leading").await.unwrap();
    let called = world.publish(Two { n: 1 }).await;
    world.rpcs.until("it is being called", |rpcs| !rpcs.calls_of(called).is_empty()).await;
    relay.stop().await.unwrap();
    worker.kill().await.unwrap();
    world.until("select bool_and(until < clock_timestamp()) from outbox.claim where until is not null").await;
    let mask = Mask::of(&world);
    compare_why("abandoned", &world, called, &mask).await;
    answer.cancel();
    world.finish().await;
}

const ONE_HELD_AND_ONE_AWAY: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One, concurrency: 1 }]
  - name: event_two
    subscriber: [{ id: Other/Two }]
";

/// Guards promise 8: `status` shows facts of workers alone: holds, open breakers, and workers without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn facts_that_only_workers_know() {
    let mut world = World::new(ONE_HELD_AND_ONE_AWAY).await;
    world.rpcs.on("Test/One", |_| Box::pin(async { Err(ConnectError::data_loss("the card is lost")) }));
    world.relay();
    let here = format!("Test=http://{}", world.rpcs.addr);
    // A port on which nothing listens.
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("Other=http://{away}");
    let mut worker = world.worker_process_with(&["--endpoint", &here, "--endpoint", &away]);
    let addr = scrape::addr(&mut worker).await.unwrap();
    let asked = format!("--worker http://{addr}");
    world.until(READY).await;
    world.publish_all((0..12).map(|n| Entry::new(One { n }))).await;
    world.publish_all((0..12).map(|n| Entry::new(Two { n }))).await;
    // A breaker is half-open for a moment, again and again: the output that is waited for is the one that is compared.
    let mut shown = None;
    until("one is held and one is away", async || {
        let said = outbox(&world, &format!("status {asked}")).await;
        let both = said.out.contains("is held") && said.out.contains("is away") && is_quiet(&said);
        shown = both.then_some(said);
        both
    })
    .await;
    let mask = Mask::of(&world).and_counts();
    compare("status/held_and_away", &shown.unwrap(), &mask);
    worker.stop().await.unwrap();
    compare_status("worker_does_not_answer", &world, "--worker http://127.0.0.1:1", &mask).await;
    world.finish().await;
}

/// Guards promise 8: one database that is down does not hide what is wrong with the others.
#[tokio::test(flavor = "multi_thread")]
async fn one_database_that_is_down() {
    let world = World::new(ROUTER).await;
    let sources = format!("{} postgres://me:hunter2@127.0.0.1:1/cards", world.url);
    let said = paste(&[("OUTBOX_SOURCES", &sources)], "cd / && outbox status").await;
    compare("status/one_database_is_down", &said, &Mask::of(&world));
    world.finish().await;
}
