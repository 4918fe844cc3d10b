//! Repairs of many things: paused, resumed, and given another rate while they run.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr};

use super::many::{begin, buried, letters_are_read_slowly};
use crate::operator::outbox;
use crate::world::{PATIENCE, World};

const MOVED: &str = "select count(*) from outbox.retry";
const LETTERS: &str = "select count(*) from outbox.dead_letter";

/// The repair that runs.
async fn running(world: &World) -> Value {
    outbox(world, "repair list --format json").await.json()[0].clone()
}

/// The lines that a command says on standard error.
struct Heard(BufReader<ChildStderr>);

impl Heard {
    fn of(command: &mut Child) -> Self {
        Self(BufReader::new(command.stderr.take().unwrap()))
    }

    async fn until(&mut self, part: &str) {
        let wait = async {
            let mut line = String::new();
            while !line.contains(part) {
                line.clear();
                assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "it ended before it said {part}");
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {part}"));
    }
}

/// Guards promise 8: another operator pauses a redrive, which then moves nothing, says so, and keeps its beat. Status and the list name who
/// did it. Resumed at another rate, it moves each letter once.
#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_is_paused_and_goes_on() {
    let world = buried(120).await;
    let mut first = begin(&world, "dlq redrive --rpc Test/One --rate 5");
    let mut heard = Heard::of(&mut first);
    world.until("select count(*) > 0 from outbox.retry").await;
    let one = running(&world).await;
    let id = one["id"].as_str().unwrap();
    assert_eq!((&one["progress"]["rate"], &one["progress"]["paused_by"]), (&json!(5), &Value::Null));
    assert_eq!(one["can"], json!(["stop", "pause", "pace"]));
    let shown = outbox(&world, &format!("repair show {id}")).await;
    assert!(shown.out.contains(&format!("outbox repair pace {id} --rate 2")), "{shown:?}");

    let paused = outbox(&world, &format!("repair pause {id}")).await;
    assert!(paused.code == 0 && paused.out.contains("asked to pause"), "{paused:?}");
    heard.until("paused by ").await;
    let moved: i64 = world.scalar(MOVED).await;
    assert!(moved < 120, "it went on to the end");
    let beat: String = world.scalar("select max(beat_at)::text from outbox.audit").await;
    let later = format!("'{beat}'::timestamptz + interval '4 seconds'");
    world.until(&format!("select count(*) > 0 from outbox.audit where beat_at > {later}")).await;
    assert_eq!(world.scalar::<i64>(MOVED).await, moved, "it holds still");
    let status = outbox(&world, "status").await;
    let is_named = status.out.contains("a redrive of Test/One by ") && status.out.contains("is paused by ");
    assert!(is_named, "{status:?}");
    let listed = outbox(&world, "repair list").await;
    assert!(listed.out.contains("running, paused"), "{listed:?}");
    let second = outbox(&world, "dlq redrive --all --yes").await;
    assert!(second.code == 1 && second.err.contains("paused by "), "{second:?}");

    let paced = outbox(&world, &format!("repair pace {id} --rate 10000")).await;
    assert!(paced.code == 0 && paced.out.contains("stays paused"), "{paced:?}");
    heard.until("it goes at 10,000 a second").await;
    assert_eq!(world.scalar::<i64>(MOVED).await, moved, "another rate ends no pause");
    let resumed = outbox(&world, &format!("repair resume {id}")).await;
    assert!(resumed.code == 0 && resumed.out.contains("asked to go on"), "{resumed:?}");
    assert!(first.wait().await.unwrap().success());
    assert_eq!((world.scalar(MOVED).await, world.scalar(LETTERS).await), (120_i64, 0_i64));
    assert_eq!(world.scalar::<i64>("select count(distinct event_id) from outbox.retry").await, 120);

    let again = outbox(&world, &format!("repair pause {id}")).await;
    assert!(again.code == 1 && again.err.contains("has ended"), "{again:?}");
    let audit = outbox(&world, "audit --format json").await.json();
    for what in ["pause", "pace", "resume"] {
        let command = format!("outbox repair {what} {id}");
        let is_its = |one: &&Value| one["command"].as_str().unwrap().starts_with(&command);
        let kept: Vec<&Value> = audit.as_array().unwrap().iter().filter(is_its).collect();
        assert!(kept.len() == 1 && kept[0]["outcome"] == "ended", "{what}: {audit}");
    }
    world.finish().await;
}

/// Guards promise 8: a paused replay sends nothing, and is stopped during its pause. What goes on with it has the rate of its end, and is
/// not paused.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_replay_is_stopped() {
    let world = buried(60).await;
    let mut sending = begin(&world, "replay --since 1h --rpc Test/One --run --rate 5");
    let mut heard = Heard::of(&mut sending);
    world.until("select count(*) > 0 from outbox.retry").await;
    let id = running(&world).await["id"].as_str().unwrap().to_owned();
    assert_eq!(outbox(&world, &format!("repair pace {id} --rate 4")).await.code, 0);
    heard.until("it goes at 4 a second, as ").await;
    assert_eq!(outbox(&world, &format!("repair pause {id}")).await.code, 0);
    heard.until("paused by ").await;
    let moved: i64 = world.scalar(MOVED).await;
    assert!(moved < 60, "it went on to the end");
    assert_eq!(outbox(&world, &format!("repair stop {id}")).await.code, 0);
    let ended = sending.wait_with_output().await.unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.code() == Some(1) && out.contains("stopped by "), "{out}");
    assert_eq!(world.scalar::<i64>(MOVED).await, moved, "it sent nothing while it was paused");

    let mut next = begin(&world, &format!("repair continue {id}"));
    world.until(&format!("select count(*) > {moved} from outbox.retry")).await;
    let one = running(&world).await;
    assert_eq!((&one["progress"]["rate"], &one["progress"]["paused_by"]), (&json!(4), &Value::Null), "{one}");
    let id = one["id"].as_str().unwrap();
    assert_eq!(outbox(&world, &format!("repair pace {id} --rate 10000")).await.code, 0);
    assert!(next.wait().await.unwrap().success());
    assert_eq!(world.scalar::<i64>("select count(distinct event_id) from outbox.retry").await, 60);
    world.finish().await;
}

/// Guards promise 8: a drop has no rate. It is paused while it counts, and then drops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_paused() {
    let world = buried(1000).await;
    letters_are_read_slowly(&world).await;
    let mut dropping = begin(&world, "dlq drop --name event_one --yes");
    let mut heard = Heard::of(&mut dropping);
    heard.until("to stop it: ").await;
    let id = running(&world).await["id"].as_str().unwrap().to_owned();
    let paced = outbox(&world, &format!("repair pace {id} --rate 5")).await;
    assert!(paced.code == 1 && paced.err.contains("has no rate"), "{paced:?}");
    let resumed = outbox(&world, &format!("repair resume {id}")).await;
    assert!(resumed.code == 1 && resumed.err.contains("is not paused"), "{resumed:?}");
    assert_eq!(outbox(&world, &format!("repair pause {id}")).await.code, 0);
    heard.until("paused by ").await;
    world.until("select count(*) = 1 from outbox.audit where total = 1000 and beat_at > at + interval '8 seconds'").await;
    assert_eq!(world.scalar::<i64>(LETTERS).await, 1000, "it drops nothing while it is paused");
    assert_eq!(outbox(&world, &format!("repair resume {id}")).await.code, 0);
    assert!(dropping.wait().await.unwrap().success());
    assert_eq!(world.scalar::<i64>(LETTERS).await, 0);
    world.finish().await;
}
