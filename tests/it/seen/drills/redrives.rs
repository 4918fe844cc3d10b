//! Redrives of two operators, and of the wrong letters.

use outbox::{Entry, EventId};

use super::desk::{Drill, ROUTER, one, pasted};
use crate::operator::misbehave;
use crate::world::{Two, World, until};

const LETTERS: &str = "select count(*) from outbox.dead_letter";

/// Dead letters, which an operator gave up while no worker ran.
async fn buried(number: &'static str, rpc: &str, entries: Vec<Entry>) -> (Drill, Vec<EventId>) {
    let drill = Drill::without_workers(number, World::new(ROUTER).await).await;
    let many = entries.len();
    let ids = drill.publish(entries).await;
    drill.world.until(&format!("select count(*) = {many} from outbox.delivery")).await;
    let given = drill.outbox(&format!("queue give-up --rpc {rpc} --all --yes --reason 'a drill'")).await;
    assert!(given.out.starts_with(&format!("given up {many} messages")), "{given:?}");
    (drill, ids)
}

/// Guards promise 8, drill 4b: two operators redrive at once, and one command is killed. `status` names the redrive, the second one
/// is refused, and the rest is moved by the commands that were printed. Each event is delivered once.
#[tokio::test(flavor = "multi_thread")]
async fn drill_4b_two_redrives_at_once() {
    let (mut drill, ids) = buried("4b", "Test/One", (0..120).map(one).collect()).await;
    drill.start_worker().await;
    let labels = ["rpc=\"Test/One\""];
    let worker = &drill.workers[0];
    drill
        .fires("OutboxDeadLetters", worker, "outbox_worker_dead_letters", &labels, |many| many == 120.0)
        .await;
    drill.incident();
    let first = drill.begin("outbox dlq redrive --rpc Test/One --rate 10");
    let named = drill.named(&["a redrive of Test/One by operator-a@", " runs: "]).await;
    let second = drill.outbox("dlq redrive --all --yes").await;
    assert!(second.code == 1 && second.err.contains("another redrive runs for Test/One"), "{second:?}");
    let shown = drill.paste(&named.command).await;
    assert_eq!(pasted(&shown.out, "outbox repair stop"), pasted(&second.err, "outbox repair stop"));
    let stopped = drill.paste(&shown.command("outbox repair stop")).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let ended = first.wait_with_output().await.unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.code() == Some(1) && out.contains("stopped by operator-a@"), "{out}");
    let left: i64 = drill.world.scalar(LETTERS).await;
    assert!(left > 0, "it went on to the end");

    let mut killed = drill.begin(&pasted(&out, "outbox repair continue"));
    drill.world.until(&format!("select count(*) < {left} from outbox.dead_letter")).await;
    killed.kill().await.unwrap();
    // Not half a minute of waiting.
    drill
        .world
        .execute("update outbox.audit set beat_at = clock_timestamp() - interval '1 minute' where ended_at is null")
        .await;
    let named = drill.named(&["a redrive of Test/One by operator-a@", " is silent: "]).await;
    let shown = drill.paste(&named.command).await;
    let ended = drill.paste(&shown.command("outbox repair continue")).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    drill.world.rpcs.until_done("Test/One", &ids).await;
    drill.why(ids[0], &["done ", "redriven by operator-a@"]).await;
    drill.until_well().await;
    let status = drill.outbox("status").await;
    assert!(!status.out.contains("a redrive of"), "{status:?} {:?}", drill.outbox("repair list").await);
    drill.finish().await;
}

/// Guards promise 8, drill 5: a redrive of the wrong letters is seen, stopped, and taken back as far as no call has begun.
#[tokio::test(flavor = "multi_thread")]
async fn drill_5_a_wrong_redrive() {
    let entries = (0..60).map(|n| Entry::new(Two { n })).collect();
    let (mut drill, ids) = buried("5", "Test/Slow", entries).await;
    let answer = misbehave(&drill.world);
    drill.start_worker().await;
    drill.incident();
    let wrong = drill.begin("outbox dlq redrive --rpc Test/Slow --rate 3");
    let named = drill.named(&["a redrive of Test/Slow by operator-a@", " runs: "]).await;
    drill.world.rpcs.until("two are called", |rpcs| rpcs.calls().len() == 2).await;
    let shown = drill.paste(&named.command).await;
    let stopped = drill.paste(&shown.command("outbox repair stop")).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(wrong.wait_with_output().await.unwrap().status.code(), Some(1));
    let shown = drill.paste(&named.command).await;
    let undo = drill.paste(&shown.command("outbox repair undo")).await;
    assert!(undo.code == 0 && undo.out.starts_with("taken back: "), "{undo:?}");
    let left: i64 = drill.world.scalar(LETTERS).await;
    assert!((50..=58).contains(&left), "what no worker had is dead again: {left}, {undo:?}");
    let named = drill.named(&[&format!("{left} dead letters of Test/Slow")]).await;
    let labels = ["rpc=\"Test/Slow\""];
    let is_left = |many| many == left as f64;
    drill.fires("OutboxDeadLetters", &drill.workers[0], "outbox_worker_dead_letters", &labels, is_left).await;
    let why = drill.why(ids[59], &["dead ", "given up by operator-a@"]).await;
    assert_eq!(why.code, 1, "{why:?}");

    answer.cancel();
    let listed = drill.paste(&named.command).await;
    assert!(listed.out.contains("given_up"), "{listed:?}");
    let redriven = drill.paste(&pasted(&listed.out, "outbox dlq redrive")).await;
    assert_eq!(redriven.code, 0, "{redriven:?}");
    until("no letter is left", async || drill.world.scalar::<i64>(LETTERS).await == 0).await;
    drill.world.rpcs.until_done("Test/Slow", &ids).await;
    drill.until_well().await;
    drill.finish().await;
}
