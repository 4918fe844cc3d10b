//! Repairs of many things: seen by everybody, stopped, continued, and taken back.

use std::process::Stdio;

use connectrpc::ConnectError;
use outbox::Entry;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::operator::{ROUTER, outbox, shell};
use crate::world::{One, World};

const LETTERS: &str = "select count(*) from outbox.dead_letter";

/// A world with so many dead letters of different events, and no worker.
pub(super) async fn buried(many: i64) -> World {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    world.publish_all((0..many).map(|n| Entry::new(One { n: 1000 + n }))).await;
    world.until(&format!("select count(*) = {many} from outbox.delivery")).await;
    world.stop_relay(&relay).await;
    for statement in [
        "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
         select seq, queue, event_id, body, enqueued_at, 20, 'unavailable', 'down' from outbox.delivery",
        "insert into outbox.claim (queue, token, first_seq, last_seq, until, worker)
         select queue, 7, min(seq), max(seq), null, 'test' from outbox.delivery group by queue",
    ] {
        world.execute(statement).await;
    }
    world
}

pub(super) fn begin(world: &World, args: &str) -> Child {
    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", router.as_str())];
    let mut command = shell(&env, &format!("exec outbox {args}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn listed(world: &World) -> Value {
    outbox(world, "repair list --format json").await.json()
}

/// A page of 1,000 letters takes four seconds from now on.
pub(super) async fn letters_are_read_slowly(world: &World) {
    world
        .execute(
            "create or replace function outbox.body_field(body text, field text, header text default null) returns text
             language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
             begin
                 perform pg_sleep(0.004);
                 return 'event_one';
             end $$",
        )
        .await;
}

/// The id of the first in the list.
async fn id(world: &World) -> String {
    listed(world).await[0]["id"].as_str().unwrap().to_owned()
}

/// Guards promise 8: a second operator sees the first one's redrive, may stop it, and goes on with it. Each letter is
/// moved once.
#[tokio::test(flavor = "multi_thread")]
async fn two_operators_know_of_each_other() {
    let world = buried(200).await;
    let first = begin(&world, "dlq redrive --rpc Test/One --rate 20");
    world.until("select count(*) > 0 from outbox.retry").await;
    let refused = outbox(&world, "dlq redrive --all --yes").await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for words in ["another redrive runs for Test/One", "--also", "outbox repair stop"] {
        assert!(refused.err.contains(words), "{words}: {refused:?}");
    }
    let id = id(&world).await;
    let list = listed(&world).await;
    assert_eq!(
        (&list[0]["state"], &list[0]["progress"]["kind"]),
        (&json!("running"), &json!("redrive")),
        "{list}"
    );
    let beside = outbox(&world, "dlq redrive --rpc Test/One --also --code internal").await;
    assert_eq!((beside.code, beside.out.as_str()), (0, "redriven 0 dead letters"), "{beside:?}");
    let undone = outbox(&world, &format!("repair undo {id}")).await;
    assert!(undone.code == 1 && undone.err.contains("still runs"), "{undone:?}");

    let stopped = outbox(&world, &format!("repair stop {id}")).await;
    assert!(stopped.code == 0 && stopped.out.contains("asked to stop"), "{stopped:?}");
    let ended = first.wait_with_output().await.unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.code() == Some(1) && out.contains("stopped by "), "{out}");
    let left: i64 = world.scalar(LETTERS).await;
    assert!(left > 0, "it went on to the end");
    let shown = outbox(&world, &format!("repair show {id}")).await;
    assert!(
        shown.out.contains("stopped") && shown.out.contains(&format!("outbox repair continue {id}")),
        "{shown:?}"
    );
    let audit = outbox(&world, "audit --format json --rpc Test/One").await.json();
    assert!(audit.as_array().unwrap().iter().any(|one| one["outcome"] == "stopped"), "{audit}");

    let continued = outbox(&world, &format!("repair continue {id}")).await;
    assert_eq!(continued.code, 0, "{continued:?}");
    assert!(continued.out.starts_with(&format!("redriven {left} dead letter")), "{continued:?}");
    assert_eq!(world.scalar::<i64>(LETTERS).await, 0);
    let moved = "select count(*) filter (where what = 'redriven') from outbox.history";
    assert_eq!(world.scalar::<i64>(moved).await, 200);
    assert_eq!(world.scalar::<i64>("select count(distinct event_id) from outbox.retry").await, 200);
    world.finish().await;
}

/// Guards promise 8: a redrive whose command was killed is silent, keeps no other away, and can be ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redrive_is_silent_and_in_nobodys_way() {
    let world = buried(100).await;
    let mut killed = begin(&world, "dlq redrive --rpc Test/One --rate 10");
    world.until("select count(*) > 0 from outbox.retry").await;
    killed.kill().await.unwrap();
    let id = id(&world).await;
    world.execute("update outbox.audit set beat_at = clock_timestamp() - interval '1 minute'").await;
    assert_eq!(listed(&world).await[0]["state"], json!("silent"));
    let left: i64 = world.scalar(LETTERS).await;
    let redriven = outbox(&world, "dlq redrive --rpc Test/One --rate 10000 --format json").await;
    assert_eq!((redriven.code, redriven.json()["moved"].as_i64()), (0, Some(left)), "{redriven:?}");
    let stopped = outbox(&world, &format!("repair stop {id}")).await;
    assert!(stopped.code == 0 && stopped.out.contains("it was silent"), "{stopped:?}");
    let again = outbox(&world, &format!("repair stop {id}")).await;
    assert!(again.code == 0 && again.out.contains("had ended"), "{again:?}");
    world.finish().await;
}

/// Guards promise 8: a redrive that was stopped, continued, killed and continued again moves no more than its limit, and nothing of
/// it is silent at the end. The id of the first one is enough for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_is_continued() {
    const MOVED: &str = "select count(*) from outbox.retry";
    let world = buried(100).await;
    let first = begin(&world, "dlq redrive --rpc Test/One --rate 20 --limit 60");
    world.until("select count(*) > 0 from outbox.retry").await;
    let before = id(&world).await;
    assert_eq!(outbox(&world, &format!("repair stop {before}")).await.code, 0);
    assert_eq!(first.wait_with_output().await.unwrap().status.code(), Some(1));
    let moved: i64 = world.scalar(MOVED).await;
    assert!(moved < 60, "it went on to the end");

    let mut killed = begin(&world, &format!("repair continue {before}"));
    world.until(&format!("select count(*) > {moved} from outbox.retry")).await;
    killed.kill().await.unwrap();
    let silent =
        "update outbox.audit set beat_at = clock_timestamp() - interval '1 minute' where ended_at is null";
    world.execute(silent).await;
    let list = listed(&world).await;
    let states: Vec<_> = list.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["silent", "ended"], "{list}");
    let next = id(&world).await;

    let continued = outbox(&world, &format!("repair continue {before}")).await;
    assert_eq!(continued.code, 0, "{continued:?}");
    assert!(continued.err.contains(&format!("was continued by {next}")), "{continued:?}");
    assert_eq!((world.scalar(MOVED).await, world.scalar(LETTERS).await), (60_i64, 40_i64));
    let list = listed(&world).await;
    assert!(list.as_array().unwrap().iter().all(|one| one["state"] == "ended"), "{list}");
    let shown = outbox(&world, &format!("repair show {next}")).await;
    assert!(shown.out.contains("continued by"), "{shown:?}");
    let again = outbox(&world, &format!("repair continue {before}")).await;
    assert!(again.code == 1 && again.err.contains("has ended"), "{again:?}");
    world.finish().await;
}

/// Guards promise 8: a redrive says that it runs while it counts its letters.
#[tokio::test(flavor = "multi_thread")]
async fn what_counts_runs() {
    let world = buried(3000).await;
    letters_are_read_slowly(&world).await;
    let mut counting = begin(&world, "dlq redrive --name event_one");
    world
        .until(
            "select count(*) > 0 from outbox.audit
             where ended_at is null and total is null and beat_at > at + interval '1 second'",
        )
        .await;
    let id = id(&world).await;
    assert_eq!(listed(&world).await[0]["state"], json!("running"));
    assert_eq!(outbox(&world, &format!("repair stop {id}")).await.code, 0);
    world.until("select count(*) = 0 from outbox.audit where ended_at is null").await;
    assert_eq!(counting.wait().await.unwrap().code(), Some(1));
    assert_eq!(world.scalar::<i64>(LETTERS).await, 3000, "it counted, and moved nothing");
    world.finish().await;
}

/// Guards promise 8: what a redrive or replay put into a queue is taken back, and nothing that was begun.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_begun_is_taken_back() {
    let world = buried(20).await;
    assert_eq!(outbox(&world, "dlq redrive --rpc Test/One --rate 10000").await.code, 0);
    let redrive = id(&world).await;
    world
        .execute(
            "update outbox.retry set token = 7, attempts = 1, due_at = clock_timestamp() + interval '1 hour'
             where seq in (select seq from outbox.retry order by seq limit 5)",
        )
        .await;
    let undone = outbox(&world, &format!("repair undo {redrive}")).await;
    assert_eq!(undone.code, 0, "{undone:?}");
    assert!(undone.out.starts_with("taken back: 15 messages\n  5 had begun"), "{undone:?}");
    let as_before = "select count(*) from outbox.dead_letter where code = 'unavailable' and reason = 'down' and attempts = 20";
    assert_eq!(world.scalar::<i64>(as_before).await, 15);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry").await, 5);
    let again = outbox(&world, &format!("repair undo {redrive}")).await;
    assert!(again.out.starts_with("taken back: 0 messages\n  5 had begun"), "{again:?}");

    let sent = outbox(&world, "replay --since 1h --rpc Test/One --run --rate 10000").await;
    assert!(sent.code == 0 && sent.out.starts_with("sent 20 messages"), "{sent:?}");
    let undone = outbox(&world, &format!("repair undo {}", id(&world).await)).await;
    assert_eq!((undone.code, undone.out.as_str()), (0, "taken back: 20 messages"), "{undone:?}");
    assert_eq!(world.scalar::<i64>(LETTERS).await, 15, "a replayed event was never dead");
    let dropped = outbox(&world, "dlq drop --all --yes").await;
    assert_eq!(dropped.code, 0, "{dropped:?}");
    let refused = outbox(&world, &format!("repair undo {}", id(&world).await)).await;
    assert!(refused.code == 1 && refused.err.contains("put nothing into a queue"), "{refused:?}");
    world.finish().await;
}

/// Guards promise 2: a letter that retention would soon remove is taken back, and stays for some days.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_not_removed_at_once() {
    let world = buried(2).await;
    let old = "update outbox.dead_letter set dead_at = clock_timestamp() - interval '20 days'
               where seq = (select min(seq) from outbox.dead_letter)";
    world.execute(old).await;
    assert_eq!(outbox(&world, "dlq redrive --rpc Test/One --rate 10000").await.code, 0);
    let undone = outbox(&world, &format!("repair undo {}", id(&world).await)).await;
    assert_eq!((undone.code, undone.out.as_str()), (0, "taken back: 2 messages"), "{undone:?}");
    let kept =
        "select count(*) from outbox.dead_letter where dead_at > clock_timestamp() - interval '12 days'";
    assert_eq!(world.scalar::<i64>(kept).await, 2);
    let as_it_was =
        "select count(*) from outbox.dead_letter where dead_at > clock_timestamp() - interval '1 day'";
    assert_eq!(world.scalar::<i64>(as_it_was).await, 1);
    world.finish().await;
}

/// Guards promise 8: what a redrive moved counts as its own until it is done, also if it is given up, expires, or is moved to
/// another RPC. There it can still be taken back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_redrive_moved_stays_known() {
    let mut world = buried(4).await;
    assert_eq!(outbox(&world, "dlq redrive --rpc Test/One --rate 10000").await.code, 0);
    let redrive = id(&world).await;
    let event: String = world.scalar("select event_id::text from outbox.retry order by seq limit 1").await;
    let given = outbox(&world, &format!("queue give-up --rpc Test/One --event {event}")).await;
    assert_eq!(given.code, 0, "{given:?}");
    world
        .execute(
            "update outbox.retry set enqueued_at = clock_timestamp() - interval '15 days', due_at = clock_timestamp()
             where seq = (select min(seq) from outbox.retry)",
        )
        .await;
    let relay = world.relay();
    world.until("select count(*) = 2 from outbox.dead_letter").await;
    world.stop_relay(&relay).await;
    let died = "select string_agg(code, ' ' order by code) from outbox.dead_letter where repair is not null";
    assert_eq!(world.scalar::<String>(died).await, "expired given_up");

    let moved = outbox(&world, "queue move --from Test/One --to Test/Slow --yes").await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert_eq!(world.scalar::<String>(died).await, "expired given_up");
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry where repair is not null").await, 2);
    let undone = outbox(&world, &format!("repair undo {redrive}")).await;
    assert!(undone.code == 0 && undone.out.starts_with("taken back: 2 messages"), "{undone:?}");
    let as_before = "select count(*) from outbox.dead_letter as l join outbox.queue as q on q.id = l.queue
                     where q.rpc = 'Test/Slow' and l.code = 'unavailable' and l.attempts = 20";
    assert_eq!(world.scalar::<i64>(as_before).await, 2);
    world.finish().await;
}

/// Guards promise 8: a redrive stops after the first letter has died again, and goes on once it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_stops_what_dies_again() {
    let mut world = buried(20).await;
    world.rpcs.on("Test/One", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    world.worker();
    let stopped = outbox(&world, "dlq redrive --rpc Test/One --canary 1").await;
    assert_eq!(stopped.code, 1, "{stopped:?}");
    for words in ["redriven 1 dead letter", "died again (--canary)", "outbox repair continue"] {
        assert!(stopped.out.contains(words), "{words}: {stopped:?}");
    }
    assert_eq!(world.scalar::<i64>(LETTERS).await, 20);
    assert_eq!(listed(&world).await[0]["state"], json!("stopped"));

    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let redriven = outbox(&world, "dlq redrive --rpc Test/One --canary 1 --rate 10000").await;
    assert_eq!((redriven.code, redriven.out.as_str()), (0, "redriven 20 dead letters"), "{redriven:?}");
    world.until_settled().await;
    assert_eq!(world.scalar::<i64>(LETTERS).await, 0);
    world.finish().await;
}

/// Guards promise 6: what dies while a redrive runs is not moved by it, whatever its number is.
#[tokio::test(flavor = "multi_thread")]
async fn what_dies_meanwhile_stays() {
    let world = buried(60).await;
    let running = begin(&world, "dlq redrive --rpc Test/One --rate 20");
    world.until("select count(*) > 0 from outbox.retry").await;
    world
        .execute(
            "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
             select max(seq), min(queue), outbox.uuid_v7(), '{}', clock_timestamp(), 1, 'internal', 'later' from outbox.dead_letter",
        )
        .await;
    let ended = running.wait_with_output().await.unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert_eq!((ended.status.code(), out.trim()), (Some(0), "redriven 60 dead letters"));
    assert_eq!(world.scalar::<String>("select reason from outbox.dead_letter").await, "later");
    world.finish().await;
}

/// Guards SECURITY.md: who has looked at a payload is in the audit.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_payload_is_kept() {
    let world = buried(1).await;
    let letter: i64 = world.scalar("select seq from outbox.dead_letter").await;
    assert_eq!(outbox(&world, &format!("dlq show {letter}")).await.code, 0);
    assert_eq!(outbox(&world, "audit").await.out, "No repairs.");
    assert_eq!(outbox(&world, &format!("dlq show {letter} --payload")).await.code, 0);
    let audit = outbox(&world, "audit --format json").await.json();
    assert_eq!(audit[0]["result"]["looked_at_payload_of"], json!(letter.to_string()), "{audit}");
    world.finish().await;
}
