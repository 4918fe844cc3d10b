//! Events that are refused, fail for ever, or all at once.

use std::time::Duration;

use connectrpc::ConnectError;

use super::desk::{Drill, ROUTER, one, pasted};
use crate::operator::{Said, misbehave, n};
use crate::world::until;

const LABELS: [&str; 1] = ["rpc=\"Test/One\""];

fn mend(drill: &Drill) {
    drill.world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
}

/// Guards promise 8, drill 3: one event is refused. It is dead with the reason, is delivered by the command that was printed, or
/// dropped, and is told as such.
#[tokio::test(flavor = "multi_thread")]
async fn drill_3_an_event_is_refused() {
    let mut drill = Drill::start("3", ROUTER).await;
    let _never = misbehave(&drill.world);
    drill.incident();
    let ids = drill.publish([one(1), one(13), one(13)]).await;
    let named = drill.named(&["2 dead letters of Test/One"]).await;
    let listed = drill.paste(&named.command).await;
    assert!(listed.out.contains("no such card") && listed.out.contains(&ids[1].to_string()), "{listed:?}");
    drill
        .fires("OutboxDeadLetters", &drill.workers[0], "outbox_worker_dead_letters", &LABELS, |many| {
            many > 0.0
        })
        .await;
    let why = drill.why(ids[1], &["dead ", "after 1 attempt: invalid_argument: no such card"]).await;
    assert_eq!(why.code, 1, "{why:?}");

    mend(&drill);
    let redriven = drill.paste(&why.command("outbox dlq redrive")).await;
    assert_eq!((redriven.code, redriven.out.as_str()), (0, "redriven 1 dead letter"), "{redriven:?}");
    drill.world.rpcs.until_done("Test/One", &ids[..2]).await;
    let dropped = drill.outbox(&format!("dlq drop --event {} --yes", ids[2])).await;
    assert_eq!((dropped.code, dropped.out.as_str()), (0, "dropped 1 dead letter"), "{dropped:?}");
    let why = drill.why(ids[2], &["dropped   20", " by operator-a@"]).await;
    assert!(why.code == 0 && !why.out.contains("to repair"), "{why:?}");
    drill.until_well().await;
    drill.finish().await;
}

/// Guards promise 8, drill 3b: one event fails for ever, while others are delivered. It is named with its error, listed, given up
/// and redriven, each by a command that was printed.
#[tokio::test(flavor = "multi_thread")]
async fn drill_3b_an_event_fails_for_ever() {
    let mut drill = Drill::start("3b", ROUTER).await;
    drill.world.rpcs.on("Test/One", |called| {
        let locked = n(called) == 13;
        Box::pin(
            async move { if locked { Err(ConnectError::internal("the ledger is locked")) } else { Ok(()) } },
        )
    });
    drill.incident();
    let poison = drill.publish([one(13)]).await[0];
    let others = async {
        for n in 100.. {
            let id = drill.publish([one(n)]).await;
            drill.world.rpcs.until_done("Test/One", &id).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let event = format!("event {poison} of Test/One failed at attempt ");
    let words = [event.as_str(), " with internal: the ledger is locked"];
    let named = tokio::select! {
        named = drill.named(&words) => named,
        () = others => unreachable!("it has no end"),
    };
    let often = "outbox_worker_retried_often_total";
    drill.fires("OutboxRetriedOften", &drill.workers[0], often, &LABELS, |many| many > 0.0).await;
    drill.why(poison, &["Test/One", "internal: the ledger is locked"]).await;

    // At this moment it may be called: then it is not listed as retried.
    let listed = until_said(&drill, &named.command, |said| said.out.contains(&poison.to_string())).await;
    assert!(listed.out.contains("outbox queue retry --rpc Test/One --all"), "{listed:?}");
    let give_up = pasted(&listed.out, "outbox queue give-up");
    let given = until_said(&drill, &give_up, |said| said.out.starts_with("given up 1 message")).await;
    let why = drill.why(poison, &["dead ", "given_up: given up by operator-a@"]).await;
    assert_eq!(why.code, 1, "{why:?}");
    mend(&drill);
    let redriven = drill.paste(&given.command("outbox dlq redrive")).await;
    assert_eq!((redriven.code, redriven.out.as_str()), (0, "redriven 1 dead letter"), "{redriven:?}");
    drill.world.rpcs.until_done("Test/One", &[poison]).await;
    drill.until_well().await;
    drill.finish().await;
}

/// Pastes a line again and again, until the answer is so.
async fn until_said(drill: &Drill, line: &str, is_so: impl Fn(&Said) -> bool) -> Said {
    let mut found = None;
    until(line, async || {
        let said = drill.paste(line).await;
        let so = is_so(&said);
        found = so.then_some(said);
        so
    })
    .await;
    found.unwrap()
}

/// Guards promise 8, drill 4: after a bad deploy every event is refused. Few of them die, and the RPC is held. It is paused and
/// resumed, and the dead ones are one group with one command.
#[tokio::test(flavor = "multi_thread")]
async fn drill_4_a_bad_deploy() {
    let mut drill = Drill::start("4", ROUTER).await;
    drill
        .world
        .rpcs
        .on("Test/One", |_| Box::pin(async { Err(ConnectError::invalid_argument("no column amount")) }));
    drill.incident();
    let ids = drill.publish((0..100).map(one)).await;
    let named =
        drill.named(&["Test/One is held", "refused alike (invalid_argument: no column amount)"]).await;
    assert!(named.text.contains("if the server is broken, repair it"), "{named:?}");
    drill.fires("OutboxHeld", &drill.workers[0], "outbox_worker_held", &LABELS, |held| held == 1.0).await;
    drill.named(&["of Test/One", "dead letter"]).await;
    let paused = drill.outbox("pause --rpc Test/One --why 'a bad deploy'").await;
    assert_eq!(paused.code, 0, "{paused:?}");
    let resume = paused.command("outbox resume");
    drill
        .world
        .until(
            "select exists (select from outbox.process as p cross join lateral json_array_elements(p.report::json -> 'rpcs') as r
                 where r ->> 'rpc' = 'Test/One' and (r ->> 'paused')::boolean and (r ->> 'calls')::integer = 0)",
        )
        .await;
    let waits =
        drill.json("queue list --rpc Test/One --newest").await[0]["event"].as_str().unwrap().to_owned();
    drill.why(waits.parse().unwrap(), &["paused until 20", "it is held: invalid_argument"]).await;
    let summary = drill.json("dlq summary").await;
    let groups = summary["groups"].as_array().unwrap();
    assert!(groups.len() == 1 && groups[0]["count"].as_i64() < Some(50), "most wait: {summary}");

    mend(&drill);
    let shown = drill.named(&["Test/One is paused until 20", "a bad deploy"]).await;
    assert_eq!(shown.command, resume);
    let resumed = drill.paste(&resume).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    // What waited proves that the server is well, before the dead ones come.
    until("it is held no more", async || drill.problem(&["Test/One is held"]).await.is_none()).await;
    let redriven = drill.paste(groups[0]["redrive"].as_str().unwrap()).await;
    assert_eq!(redriven.code, 0, "{redriven:?}");
    drill.world.rpcs.until_done("Test/One", &ids).await;
    drill.until_well().await;
    drill.finish().await;
}
