use std::process::Stdio;
use std::time::Instant;

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use serde_json::json;
use tokio::process::Command;

use super::line::{Line, named};
use crate::operator::{n, shell};
use crate::world::One;

const ROUTER: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One, max_attempts: 3, backoff: { min: 10ms, max: 20ms } }]
";
const WITH_NEW: &str = "
event:
  - name: event_one
    subscriber: [{ id: Test/One }, { id: Test/New }]
";

fn card(number: i64) -> Entry {
    Entry::new(One { n: number }).key(format!("card-{number}"))
}

/// Card 1 is locked, and there is no card 2.
fn fail(line: &Line) {
    line.world.rpcs.on("Test/One", |called| {
        let n = n(called);
        Box::pin(async move {
            match n {
                1 => Err(ConnectError::internal("the ledger is locked")),
                2 => Err(ConnectError::invalid_argument("no such card")),
                _ => Ok(()),
            }
        })
    });
}

/// Publishes one that dies, and then one that does not: else the RPC would be held.
async fn dies(line: &Line, number: i64) -> EventId {
    let id = line.publish([card(number)]).await[0];
    line.world
        .until(&format!("select exists (select from outbox.dead_letter where event_id = '{id}')"))
        .await;
    let good = line.publish([card(1000 + number)]).await;
    line.world.rpcs.until_done("Test/One", &good).await;
    id
}

/// Guards promises 3 and 8, drill 14: a new subscriber gets what it missed. The plan says how long that takes, an interrupted
/// replay prints how it goes on, and each event is called for once.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_replay_is_planned_interrupted_and_continued() {
    const EVENTS: i64 = 600;
    let line = Line::new(ROUTER).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    let ids = line.publish((1..=EVENTS).map(card)).await;
    line.world.rpcs.until_done("Test/One", &ids).await;
    line.world.until_settled().await;
    worker.stop().await;
    relay.stop().await;
    line.route(WITH_NEW);
    let (relay, worker) = (line.relay().await, line.worker().await);
    let incident = Instant::now();
    let why = line.outbox(&format!("why {}", ids[0])).await;
    assert!(why.code == 1 && why.out.contains("it was put before this RPC subscribed"), "{why:?}");
    assert!(why.command("outbox replay").contains("--rpc Test/New"), "{why:?}");
    named("14", incident);

    let plan = line.outbox("replay --since 12h --rpc Test/New").await;
    for words in ["To send 600 messages", "at 100 a second it takes 6.0s"] {
        assert!(plan.code == 0 && plan.out.contains(words), "{words}: {plan:?}");
    }
    let router = line.router();
    let mut command = shell(&line.env(&router), &format!("exec {}", plan.command("outbox replay")));
    let replay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let of_new =
        |rpcs: &crate::world::Rpcs| rpcs.calls().iter().filter(|call| call.rpc == "Test/New").count();
    line.world.rpcs.until("some are sent", |rpcs| of_new(rpcs) >= 50).await;
    let pid = replay.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let ended = replay.wait_with_output().await.unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.code() == Some(1) && out.contains("\ninterrupted\nto go on: "), "{out}");
    assert!(!out.starts_with("sent 600 "), "{out}");
    let listed = line.outbox("repair list --format json").await.json();
    assert_eq!(
        (&listed[0]["state"], &listed[0]["progress"]["total"]),
        (&json!("interrupted"), &json!(EVENTS)),
        "{listed}"
    );
    let go_on = &out[out.find("outbox repair continue").unwrap()..];
    let went = line.run(go_on.trim_end()).await;
    assert!(went.code == 0 && went.out.starts_with("sent "), "{went:?}");
    line.world.rpcs.until_done("Test/New", &ids).await;
    line.world.until_settled().await;
    assert_eq!(of_new(&line.world.rpcs), ids.len());
    line.is_well().await;
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}

/// Guards promise 8, drill 15: a week later `why` shows each attempt with its answer, who redrove one event, and who dropped
/// another, though both have left the outbox.
#[tokio::test(flavor = "multi_thread")]
async fn a_week_later_it_is_known_what_happened() {
    let line = Line::new(ROUTER).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    fail(&line);
    let incident = Instant::now();
    let (locked, unknown) = (dies(&line, 1).await, dies(&line, 2).await);
    line.named("15", incident, &["2 dead letters of Test/One: outbox dlq list --rpc Test/One"]).await;
    let labels = line.labels("Test/One");
    worker.shows(&format!("outbox_worker_dead_letters{labels} 2")).await;
    line.world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let why = line.outbox(&format!("why {locked}")).await;
    assert!(why.code == 1 && why.out.contains("the ledger is locked"), "{why:?}");
    let redriven = line.run(&why.command("outbox dlq redrive")).await;
    assert_eq!((redriven.code, redriven.out.as_str()), (0, "redriven 1 dead letter"), "{redriven:?}");
    let dropped = line.outbox(&format!("dlq drop --event {unknown} --yes")).await;
    assert_eq!((dropped.code, dropped.out.as_str()), (0, "dropped 1 dead letter"), "{dropped:?}");
    line.world.rpcs.until_done("Test/One", &[locked]).await;
    line.world.until("select count(*) = 1 from outbox.history where what = 'done'").await;
    line.is_well().await;

    for statement in [
        "update outbox.history set at = at - interval '7 days'",
        "update outbox.audit set at = at - interval '7 days'",
        "delete from outbox.event",
    ] {
        line.world.execute(statement).await;
    }
    let why = line.outbox(&format!("why {locked}")).await;
    assert_eq!(why.code, 0, "{why:?}");
    let mut rest = why.out.as_str();
    for words in [
        "Test/One\n  done ",
        "attempt 1 failed with internal: the ledger is locked (worker ",
        "attempt 2 failed with internal: the ledger is locked (worker ",
        "dead at attempt 3 with internal: ",
        "redriven by operator-a@",
        "done at attempt 1 (worker ",
    ] {
        let at = rest.find(words).unwrap_or_else(|| panic!("{words}: {why:?}"));
        rest = &rest[at + words.len()..];
    }
    let why = line.outbox(&format!("why {unknown}")).await;
    for words in ["dead at attempt 1 with invalid_argument: no such card", "dropped by operator-a@"] {
        assert!(why.out.contains(words), "{words}: {why:?}");
    }
    for (event, command) in [(locked, "outbox dlq redrive"), (unknown, "outbox dlq drop")] {
        let audit = line.outbox(&format!("audit --who operator-a --since 8days --event {event}")).await;
        assert!(audit.out.contains(command) && audit.out.contains("ended"), "{audit:?}");
    }
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}

/// Guards promise 8, drill 16: all events of a card are found by its key, also a dead one, and a printed command explains it.
#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_card_are_found() {
    let line = Line::new(ROUTER).await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    fail(&line);
    let good = line.publish([Entry::new(One { n: 7 }).key("card-2"), card(20)]).await;
    line.world.rpcs.until_done("Test/One", &good).await;
    let incident = Instant::now();
    let dead = dies(&line, 2).await;
    let found = line.outbox("find --key card-2").await;
    let lines: Vec<&str> = found.out.lines().filter(|line| line.contains("event_one")).collect();
    assert!(found.code == 0 && lines.len() == 2, "{found:?}");
    assert!(lines[0].contains(&dead.to_string()) && lines[0].contains("dead at Test/One"), "{found:?}");
    assert!(lines[1].contains(&good[0].to_string()) && !found.out.contains("\"n\""), "{found:?}");
    let why = line.run(&found.command("outbox why")).await;
    assert!(why.code == 1 && why.out.contains("no such card"), "{why:?}");
    named("16", incident);

    line.world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let redriven = line.run(&why.command("outbox dlq redrive")).await;
    assert_eq!(redriven.code, 0, "{redriven:?}");
    line.world.rpcs.until_done("Test/One", &[dead]).await;
    line.is_well().await;
    let found = line.outbox("find --key card-2").await;
    assert!(found.code == 0 && !found.out.contains("dead at"), "{found:?}");
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}
