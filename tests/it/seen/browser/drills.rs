//! Incidents that a person solves in the browser. The faults are those of `seen/drills`.

use std::time::Duration;

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio::process::Command;

use super::journey::Journey;
use crate::operator::{misbehave, n};
use crate::seen::drills::desk::{Drill, ROUTER, Started, one, pasted};
use crate::world::{One, Two, World};

const OPEN: &str = "the console is open";
const LETTERS: &str = "select count(*) from outbox.dead_letter";

fn succeed(drill: &Drill, rpc: &str) {
    drill.world.rpcs.on(rpc, |_| Box::pin(async { Ok(()) }));
}

/// The journey ends, these events are done at this RPC, and nothing is stuck.
async fn solved(drill: Drill, journey: Journey, (rpc, ids): (&str, &[EventId])) {
    journey.arrives().await;
    drill.world.rpcs.until_done(rpc, ids).await;
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 1: in the browser the server that is away is named with its address, and the page says when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_away_by_mouse() {
    a_server_is_away("mouse").await;
}

/// Guards promise 8, drill 1: the same by keys alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_away_by_keyboard() {
    a_server_is_away("keyboard").await;
}

async fn a_server_is_away(hands: &str) {
    let (drill, mut door) = Drill::behind_a_door("1", ROUTER).await;
    let Some(mut journey) = Journey::begin(&drill, "serverIsAway", hands, &[]).await else { return };
    door.close().await;
    let waiting = drill.publish((0..20).map(one)).await;
    journey.until(OPEN).await;
    journey.goes_on_with(json!({"address": door.addr})).await;
    journey.until("the server is named").await;
    door.open_again(&drill.world).await;
    journey.goes_on().await;
    solved(drill, journey, ("Test/One", &waiting)).await;
}

/// Guards promise 8, drill 3b: in the browser an event that fails for ever is found with its error, given up, and redriven.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_fails_for_ever_by_mouse() {
    let drill = Drill::start("3b", ROUTER).await;
    drill.world.rpcs.on("Test/One", |called| {
        let is_locked = n(called) == 13;
        Box::pin(async move {
            if is_locked { Err(ConnectError::internal("the ledger is locked")) } else { Ok(()) }
        })
    });
    let Some(mut journey) = Journey::begin(&drill, "failsForEver", "mouse", &[]).await else { return };
    let poison = drill.publish([one(13)]).await;
    let others = async {
        for n in 100.. {
            let id = drill.publish([one(n)]).await;
            drill.world.rpcs.until_done("Test/One", &id).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let given_up = async {
        journey.until(OPEN).await;
        journey.goes_on_with(json!({"event": poison[0].to_string()})).await;
        journey.until("the event is given up").await;
    };
    tokio::select! {
        () = given_up => {}
        () = others => unreachable!("it has no end"),
    }
    succeed(&drill, "Test/One");
    journey.goes_on().await;
    solved(drill, journey, ("Test/One", &poison)).await;
}

/// Guards promise 8, drill 4: in the browser a bad deploy is paused, its reason is read, and all that died is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_deploy_by_mouse() {
    a_bad_deploy("mouse").await;
}

/// Guards promise 8, drill 4: the same by keys alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_deploy_by_keyboard() {
    a_bad_deploy("keyboard").await;
}

/// Guards promise 8, drill 4: the same without scripts.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_deploy_without_scripts() {
    a_bad_deploy("plain").await;
}

async fn a_bad_deploy(hands: &str) {
    let drill = Drill::start("4", ROUTER).await;
    drill
        .world
        .rpcs
        .on("Test/One", |_| Box::pin(async { Err(ConnectError::invalid_argument("no column amount")) }));
    let Some(mut journey) = Journey::begin(&drill, "badDeploy", hands, &[]).await else { return };
    let ids = drill.publish((0..100).map(one)).await;
    journey.until(OPEN).await;
    journey.goes_on().await;
    journey.until("the RPC is paused, and its reason is known").await;
    let dead: i64 = drill.world.scalar(LETTERS).await;
    assert!((1..50).contains(&dead), "most wait: {dead} are dead");
    succeed(&drill, "Test/One");
    journey.goes_on().await;
    journey.arrives().await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    let audit = "select bool_and(who like 'operator-a@%, console') from outbox.audit";
    assert!(drill.world.scalar::<bool>(audit).await, "the audit has who it was");
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 5: in the browser a wrong redrive is stopped, and taken back as far as no call has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_redrive_by_mouse() {
    a_wrong_redrive("mouse").await;
}

/// Guards promise 8, drill 5: the same without scripts.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_redrive_without_scripts() {
    a_wrong_redrive("plain").await;
}

async fn a_wrong_redrive(hands: &str) {
    let mut drill = Drill::without_workers("5", World::new(ROUTER).await).await;
    let ids = drill.publish((0..60).map(|n| Entry::new(Two { n }))).await;
    drill.world.until("select count(*) = 60 from outbox.delivery").await;
    let given = drill.outbox("queue give-up --rpc Test/Slow --all --yes --reason 'a drill'").await;
    assert_eq!(given.code, 0, "{given:?}");
    let answer = misbehave(&drill.world);
    drill.start_worker().await;
    let Some(mut journey) = Journey::begin(&drill, "wrongRedrive", hands, &[]).await else { return };
    journey.until(OPEN).await;
    journey.goes_on().await;
    journey.until("the wrong redrive runs").await;
    drill.world.rpcs.until("two are called", |rpcs| rpcs.calls().len() == 2).await;
    journey.goes_on().await;
    journey.until("the redrive is taken back").await;
    let left: i64 = drill.world.scalar(LETTERS).await;
    assert!((10..=58).contains(&left), "what no worker had is dead again: {left}");
    answer.cancel();
    journey.goes_on().await;
    solved(drill, journey, ("Test/Slow", &ids)).await;
}

/// Guards promise 8, drill 6: in the browser the transaction that stays open is named, and the statement that is there to copy ends
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_transaction_by_mouse() {
    let drill = Drill::start("6", ROUTER).await;
    let mut open = drill.publisher().begin().await.unwrap();
    sqlx::raw_sql("set application_name = 'card batch'").execute(&mut *open).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *open).await.unwrap();
    outbox::enqueue(&mut open, One { n: 1 }).await.unwrap();
    let Some(mut journey) = Journey::begin(&drill, "idleTransaction", "mouse", &[]).await else { return };
    journey.until(OPEN).await;
    journey.goes_on_with(json!({"pid": pid})).await;
    let shown = journey.until("the statement is there").await;
    // The text says who may do it: the session's own role.
    let end = pasted(&shown, "select pg_terminate_backend(");
    let end = end.split(';').next().unwrap().to_owned();
    sqlx::query(AssertSqlSafe(end)).execute(drill.publisher()).await.unwrap();
    journey.goes_on().await;
    journey.arrives().await;
    drop(open);
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 11: in the browser the relay whose routes are older is named with what it lacks, and the page says when
/// all have the same.
#[tokio::test(flavor = "multi_thread")]
async fn two_routers_by_mouse() {
    const OLDER: &str = "event: [{ name: event_one, subscriber: [{ id: Test/One }] }]";
    const NEWER: &str = "event: [{ name: event_one, subscriber: [{ id: Test/One }, { id: Test/New }] }]";
    let world = World::new(NEWER).await;
    let (newer, older) = (world.router_file.clone(), world.router_file.with_extension("older.yaml"));
    std::fs::write(&older, OLDER).unwrap();
    let relay = Started::relay(&world, &older).await;
    let mut drill = Drill::led_by("11", world, relay).await;
    let standby = Started::relay(&drill.world, &newer).await;
    drill.start_worker().await;
    let Some(mut journey) = Journey::begin(&drill, "twoRouters", "mouse", &[]).await else { return };
    journey.until(OPEN).await;
    let pid = format!(":{}:", drill.relay.process.pid());
    journey.goes_on_with(json!({"relay": pid})).await;
    journey.until("the relay is named").await;
    let old = std::mem::replace(&mut drill.relay, standby);
    old.process.stop().await.unwrap();
    journey.goes_on().await;
    solved(drill, journey, ("Test/One", &[])).await;
}

/// Guards promise 8, drill 12: in the browser the queue of a subscriber that was removed is named, and dropped by one who may.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_subscriber_by_mouse() {
    const WITH_OLD: &str = "event: [{ name: event_one, subscriber: [{ id: Test/One }, { id: Test/Old }] }]";
    const WITHOUT: &str = "event: [{ name: event_one, subscriber: [{ id: Test/One }] }]";
    let mut drill = Drill::start("12", WITH_OLD).await;
    let before = drill.publish([one(0)]).await;
    drill.world.rpcs.until_done("Test/Old", &before).await;
    drill.stop_worker().await;
    let ids = drill.publish((1..=20).map(one)).await;
    drill.world.until("select count(*) = 42 from outbox.delivery").await;
    std::fs::write(&drill.world.router_file, WITHOUT).unwrap();
    let relay = Started::relay(&drill.world, &drill.world.router_file).await;
    let old = std::mem::replace(&mut drill.relay, relay);
    old.process.stop().await.unwrap();
    drill.start_worker().await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    let may = ["--allow", "destroy=local"];
    let Some(mut journey) = Journey::begin(&drill, "removedSubscriber", "mouse", &may).await else { return };
    journey.until(OPEN).await;
    journey.goes_on().await;
    journey.arrives().await;
    drill.world.until("select not exists (select from outbox.queue where rpc = 'Test/Old')").await;
    let why = drill.outbox(&format!("why {}", ids[0])).await;
    assert!(why.out.contains("dropped by operator-a@"), "{why:?}");
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 14: in the browser a long replay that was interrupted is continued, and each event is called for once.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_by_mouse() {
    const ONE: &str = "event: [{ name: event_one, subscriber: [{ id: Test/One }] }]";
    const WITH_NEW: &str = "event: [{ name: event_one, subscriber: [{ id: Test/One }, { id: Test/New }] }]";
    let mut drill = Drill::start("14", ONE).await;
    let ids = drill.publish((0..600).map(one)).await;
    drill.world.rpcs.until_done("Test/One", &ids).await;
    drill.world.until_settled().await;
    drill.stop_worker().await;
    std::fs::write(&drill.world.router_file, WITH_NEW).unwrap();
    let relay = Started::relay(&drill.world, &drill.world.router_file).await;
    let old = std::mem::replace(&mut drill.relay, relay);
    old.process.stop().await.unwrap();
    drill.start_worker().await;
    let replay = drill.begin("outbox replay --since 12h --rpc Test/New --rate 100 --run");
    let of_new =
        |rpcs: &crate::world::Rpcs| rpcs.calls().iter().filter(|call| call.rpc == "Test/New").count();
    drill.world.rpcs.until("some are sent", |rpcs| of_new(rpcs) >= 50).await;
    let pid = replay.id().unwrap().to_string();
    let interrupted = Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
    assert!(interrupted.success() && replay.wait_with_output().await.unwrap().status.code() == Some(1));
    let Some(mut journey) = Journey::begin(&drill, "interruptedReplay", "mouse", &[]).await else { return };
    journey.until(OPEN).await;
    journey.goes_on().await;
    journey.arrives().await;
    drill.world.rpcs.until_done("Test/New", &ids).await;
    assert_eq!(of_new(&drill.world.rpcs), ids.len());
    drill.until_well().await;
    drill.finish().await;
}

/// Publishes a card that dies, and then one that does not: else the RPC would be held.
async fn dies(drill: &Drill, card: i64) -> EventId {
    let id = drill.publish([one(card)]).await[0];
    let is_dead = format!("select exists (select from outbox.dead_letter where event_id = '{id}')");
    drill.world.until(&is_dead).await;
    let good = drill.publish([one(1000 + card)]).await;
    drill.world.rpcs.until_done("Test/One", &good).await;
    id
}

/// Guards promise 8, drill 15: in the browser an event's id tells what became of it a week ago, though it has left the outbox.
#[tokio::test(flavor = "multi_thread")]
async fn a_week_later_by_mouse() {
    a_week_later("mouse").await;
}

/// Guards promise 8, drill 15: the same by keys alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_week_later_by_keyboard() {
    a_week_later("keyboard").await;
}

/// Guards promise 8, drill 15: the same without scripts.
#[tokio::test(flavor = "multi_thread")]
async fn a_week_later_without_scripts() {
    a_week_later("plain").await;
}

async fn a_week_later(hands: &str) {
    let router = ROUTER.replace("max_attempts: 100", "max_attempts: 3");
    let drill = Drill::start("15", &router).await;
    let Some(mut journey) = Journey::begin(&drill, "aWeekLater", hands, &[]).await else { return };
    drill.world.rpcs.on("Test/One", |called| {
        let card = n(called);
        Box::pin(async move {
            match card {
                1 => Err(ConnectError::internal("the ledger is locked")),
                2 => Err(ConnectError::invalid_argument("no such card")),
                _ => Ok(()),
            }
        })
    });
    let (locked, unknown) = (dies(&drill, 1).await, dies(&drill, 2).await);
    succeed(&drill, "Test/One");
    for repair in [format!("dlq redrive --event {locked} --yes"), format!("dlq drop --event {unknown} --yes")]
    {
        let said = drill.outbox(&repair).await;
        assert_eq!(said.code, 0, "{said:?}");
    }
    drill.world.rpcs.until_done("Test/One", &[locked]).await;
    drill.world.until("select count(*) = 1 from outbox.history where what = 'done'").await;
    for statement in [
        "update outbox.history set at = at - interval '7 days'",
        "update outbox.audit set at = at - interval '7 days'",
        "delete from outbox.event",
    ] {
        drill.world.execute(statement).await;
    }
    journey.until(OPEN).await;
    let known = json!({"locked": locked.to_string(), "unknown": unknown.to_string()});
    journey.goes_on_with(known).await;
    solved(drill, journey, ("Test/One", &[locked])).await;
}

/// Guards promise 8, drill 17: in the browser a pause that was forgotten is named with who set it, and ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_pause_by_mouse() {
    a_forgotten_pause("mouse").await;
}

/// Guards promise 8, drill 17: the same by keys alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_pause_by_keyboard() {
    a_forgotten_pause("keyboard").await;
}

/// Guards promise 8, drill 17: the same without scripts.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_pause_without_scripts() {
    a_forgotten_pause("plain").await;
}

async fn a_forgotten_pause(hands: &str) {
    let drill = Drill::start("17", ROUTER).await;
    let Some(mut journey) = Journey::begin(&drill, "forgottenPause", hands, &[]).await else { return };
    let paused = drill.outbox("pause --rpc Test/One --for 12h --why 'a bad deploy'").await;
    assert_eq!(paused.code, 0, "{paused:?}");
    let waiting = drill.publish((0..20).map(one)).await;
    journey.until(OPEN).await;
    journey.goes_on().await;
    journey.until("the RPC is resumed").await;
    journey.goes_on().await;
    journey.arrives().await;
    drill.world.rpcs.until_done("Test/One", &waiting).await;
    let who = "select who like 'operator-a@%, console' from outbox.audit where command like '%resume%'";
    assert!(drill.world.scalar::<bool>(who).await, "the audit has who it was");
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8: on a page that changes by itself, what has the focus keeps it, and keys hold the page still.
#[tokio::test(flavor = "multi_thread")]
async fn the_focus_stays_by_keyboard() {
    let drill = Drill::start("focus", ROUTER).await;
    let Some(mut journey) = Journey::begin(&drill, "focusStays", "keyboard", &[]).await else { return };
    let first = drill.publish([one(1)]).await;
    drill.world.rpcs.until_done("Test/One", &first).await;
    journey.until(OPEN).await;
    journey.goes_on().await;
    journey.until("a link has the focus").await;
    let ids = drill.publish((2..30).map(one)).await;
    journey.goes_on().await;
    journey.until("the link is open").await;
    journey.goes_on().await;
    solved(drill, journey, ("Test/One", &ids)).await;
}
