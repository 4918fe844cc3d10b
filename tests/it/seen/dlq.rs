use std::time::Duration;

use connectrpc::ConnectError;
use outbox::Entry;
use outbox_event::EventId;
use serde_json::json;

use crate::operator::{ROUTER, misbehave, n, outbox, paste, shell};
use crate::world::{One, World, until};

const LETTERS: &str = "select count(*) from outbox.dead_letter";

/// Guards promise 8: dead letters are listed with their reasons, shown without payload, filtered, and counted before a
/// redrive. A redriven one is called again, and a dropped one is gone.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_seen_and_delivered_again() {
    let mut world = World::new(ROUTER).await;
    misbehave(&world);
    world.relay();
    world.worker();
    let ids = world
        .publish_all((0..4).map(|_| Entry::new(One { n: 13 }).header("tenant", "t-1").key("key-1")))
        .await;
    world.until("select count(*) = 4 from outbox.dead_letter").await;

    let listed = outbox(&world, "dlq list --oldest-first --format json").await;
    let letters = listed.json();
    assert_eq!((listed.code, letters.as_array().unwrap().len()), (0, 4));
    assert_eq!(letters[0]["event"], json!(ids[0]));
    assert_eq!(
        [&letters[0]["code"], &letters[0]["reason"]],
        [&json!("invalid_argument"), &json!("no such card")]
    );
    assert!(letters[0]["dead_seconds"].as_f64().unwrap() >= 0.0);
    for (filter, count) in [
        ("--limit 3", 3),
        ("--rpc Test/One", 4),
        ("--rpc Test/Slow", 0),
        ("--code invalid_argument", 4),
        ("--code unavailable", 0),
        (&format!("--event {}", ids[2]), 1),
        ("--older-than 1h", 0),
        ("--older-than 0s", 4),
    ] {
        let listed = outbox(&world, &format!("dlq list --format json {filter}")).await;
        assert_eq!(listed.json().as_array().unwrap().len(), count, "{filter}");
    }
    let told = outbox(&world, "dlq list --limit 3").await;
    assert!(told.out.contains("3 of 4 dead letters are shown. There are more: --limit is 3."), "{told:?}");
    let filtered = outbox(&world, "dlq list --limit 3 --code invalid_argument").await;
    assert!(filtered.out.contains("There are more") && !filtered.out.contains(" of 4"), "{filtered:?}");

    // A pasted command contains no address; the rest of the line is kept.
    let list = format!(
        "outbox dlq list --limit 1 --database-url {} --router {}",
        world.url,
        world.router_file.display()
    );
    let told = paste(&[], &list).await;
    let command = told.command("outbox dlq redrive");
    assert!(
        command.contains("--database-url \"$DATABASE_URL\" --router /") && !told.out.contains(&world.url),
        "{told:?}"
    );
    let counted = paste(&[("DATABASE_URL", &world.url)], &format!("{command} --dry-run")).await;
    assert_eq!(counted.out, "would redrive 4 dead letters", "{counted:?}");

    let id = letters[0]["id"].as_str().unwrap();
    let shown = outbox(&world, &format!("dlq show {id}")).await;
    for words in ["tenant", "key-1", "no such card", &format!("outbox why {}", ids[0])] {
        assert!(shown.out.contains(words), "{words}: {shown:?}");
    }
    assert!(!shown.out.contains("\"n\""), "a payload: {shown:?}");
    let payload = outbox(&world, &format!("dlq show {id} --payload --format json")).await;
    assert_eq!(payload.json()["payload"], json!({"n": 13}));

    let counted = outbox(&world, "dlq redrive --rpc Test/One --dry-run").await;
    assert_eq!(counted.out, "would redrive 4 dead letters");
    assert_eq!(world.scalar::<i64>(LETTERS).await, 4);

    // The RPC is repaired: one is redriven as `why` says, two as the list says, and one is dropped.
    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &router)];
    let why = outbox(&world, &format!("why {}", ids[0])).await;
    let redriven = paste(&env, &why.command("outbox dlq redrive")).await;
    assert_eq!((redriven.code, redriven.out.as_str()), (0, "redriven 1 dead letter"), "{redriven:?}");
    let dropped = outbox(&world, &format!("dlq drop --yes --event {}", ids[3])).await;
    assert_eq!(dropped.out, "dropped 1 dead letter");
    let list = outbox(&world, "dlq list").await;
    assert_eq!(paste(&env, &list.command("outbox dlq redrive")).await.out, "redriven 2 dead letters");
    world.rpcs.until_done("Test/One", &ids[..3]).await;
    world.until_settled().await;
    assert_eq!(world.scalar::<i64>(LETTERS).await, 0);
    assert!(world.rpcs.calls_of(ids[0]).iter().all(|call| call.attempt == 1), "attempts are counted anew");
    assert_eq!(world.rpcs.calls_of(ids[3]).len(), 1, "dropped, and called");
    assert_eq!(outbox(&world, &format!("why {}", ids[0])).await.code, 0);
    world.finish().await;
}

/// Guards promise 6: a count says until when its letters died, and a drop that is begun later drops those alone. A time to come, or a
/// time alone, is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_is_what_is_dropped() {
    let world = World::new(ROUTER).await;
    world.execute("insert into outbox.queue (rpc) values ('Test/One')").await;
    let dies = async |seq: i32, code: &str| {
        let dies = format!(
            "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
             select {seq}, q.id, gen_random_uuid(), '{{}}', now(), 1, '{code}', 'down' from outbox.queue as q"
        );
        world.execute(&dies).await;
    };
    dies(1, "internal").await;
    let counted = outbox(&world, "dlq drop --rpc Test/One --dry-run --format json").await.json();
    assert_eq!(counted["found"], 1, "{counted}");
    let dead_by = counted["dead_by"].as_str().unwrap();
    dies(2, "unknown").await;
    let again =
        outbox(&world, &format!("dlq drop --rpc Test/One --dead-by {dead_by} --dry-run --format json")).await;
    assert_eq!((&again.json()["found"], &again.json()["dead_by"]), (&json!(1), &json!(dead_by)), "{again:?}");
    let listed = outbox(&world, &format!("dlq list --dead-by {dead_by} --format json")).await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["code"]), (1, &json!("internal")));
    for refused in ["--rpc Test/One --dead-by 2999-01-01T00:00:00Z", &format!("--dead-by {dead_by}")] {
        let said = outbox(&world, &format!("dlq drop {refused} --yes")).await;
        assert_eq!(said.code, 2, "{refused}: {said:?}");
    }
    assert_eq!(world.scalar::<i64>(LETTERS).await, 2);
    let dropped = outbox(&world, &format!("dlq drop --rpc Test/One --dead-by {dead_by} --yes")).await;
    assert_eq!(dropped.out, "dropped 1 dead letter", "{dropped:?}");
    assert_eq!(world.scalar::<String>("select code from outbox.dead_letter").await, "unknown");
    world.finish().await;
}

/// Guards promise 8: the last ones that died are listed first, page after page, each once; or the oldest first.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_dead_letters_are_the_first() {
    let world = World::new(ROUTER).await;
    world.execute("insert into outbox.queue (rpc) values ('Test/One')").await;
    // Many died at one time, and one at none that is a date.
    world
        .execute(
            "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, dead_at)
             select n, q.id, gen_random_uuid(), '{}', now(), 1, 'internal', 'down',
                    case n when 17 then 'infinity' else now() - n * 7919 % 50 * interval '1 second' end
             from outbox.queue as q, generate_series(1, 250) as n",
        )
        .await;
    let list = async |args: &str| {
        let listed = outbox(&world, &format!("dlq list --format json {args}")).await.json();
        let of = |letter: &serde_json::Value, name: &str| letter[name].as_str().map(str::to_owned);
        let listed: Vec<_> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (of(one, "id").unwrap(), of(one, "dead_at")))
            .collect();
        listed
    };
    let all = list("--limit 1000").await;
    let ids: std::collections::BTreeSet<&String> = all.iter().map(|(id, _)| id).collect();
    assert_eq!((all.len(), ids.len()), (250, 250), "each once");
    assert!(all[..249].iter().all(|(_, at)| at.is_some()) && all[249].0 == "17", "{all:?}");
    assert!(all[..249].is_sorted_by(|one, next| one.1 >= next.1), "{all:?}");
    assert_eq!(list("--limit 2").await[..1], all[..1]);
    let oldest = list("--limit 3 --oldest-first").await;
    assert_eq!(oldest.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    world.finish().await;
}

/// Guards promise 3: a redriven dead letter of a done event calls nothing, and the output says so. Only --force calls again,
/// and never beside a call under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_done_event_is_called_again_only_by_force() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until_settled().await;
    // The log's ring may turn while this test runs.
    world
        .execute(
            "create table public.copied as select queue, event_id, body, enqueued_at from outbox.delivery",
        )
        .await;
    let bury = "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
                select nextval('outbox.delivery_seq'), queue, event_id, body, enqueued_at, 1, 'internal', 'a copy' from public.copied";
    world.execute(bury).await;
    let why = outbox(&world, &format!("why {id}")).await;
    assert!(why.code == 1 && why.out.contains("outbox dlq drop --event"), "{why:?}");

    let redriven = outbox(&world, "dlq redrive --all").await;
    assert!(redriven.out.contains("1 of them had been done before"), "{redriven:?}");
    world.until_settled().await;
    assert_eq!((world.rpcs.calls_of(id).len(), world.scalar::<i64>(LETTERS).await), (1, 0));

    world.execute(bury).await;
    world.rpcs.forget();
    let redriven = outbox(&world, "dlq redrive --all --force --yes").await;
    assert!(redriven.err.contains("--force: what is recorded as done is forgotten"), "{redriven:?}");
    assert!(redriven.out.contains("1 of them had been done: their RPC runs again"), "{redriven:?}");
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls_of(id).len(), 2);

    // A call is under way.
    world.execute(bury).await;
    world
        .execute("update outbox.dedup set done_at = null, until = clock_timestamp() + interval '1 hour'")
        .await;
    let redriven = outbox(&world, "dlq redrive --all --force --yes --format json").await;
    assert_eq!(
        (redriven.code, &redriven.json()["busy"], &redriven.json()["moved"]),
        (1, &json!(1), &json!(0))
    );
    assert_eq!(world.scalar::<i64>(LETTERS).await, 1);
    world.finish().await;
}

/// Guards promise 8: an interrupted redrive says so, loses nothing, and continues when it is run again. It keeps its rate,
/// and does not redrive for ever what dies at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_redrive_goes_on() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.rpcs.on("Test/One", |called| {
        let n = n(called);
        Box::pin(async move { if n == 13 { Err(ConnectError::invalid_argument("no")) } else { Ok(()) } })
    });
    let ids = world.publish_all((0..300).map(|n| Entry::new(One { n: 1000 + n }))).await;
    let dies = world.publish(One { n: 13 }).await;
    world.until("select count(*) = 301 from outbox.delivery").await;
    world
        .execute(
            "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
             select seq, queue, event_id, body, enqueued_at, 20, 'unavailable', 'down' from outbox.delivery",
        )
        .await;
    world
        .execute(
            "insert into outbox.claim (queue, token, first_seq, last_seq, until, worker)
             select queue, 7, min(seq), max(seq), null, 'test' from outbox.delivery group by queue",
        )
        .await;
    world.worker();

    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &router)];
    let mut slow = shell(&env, "exec outbox dlq redrive --all --yes --rate 50");
    let child =
        slow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id().unwrap().to_string();
    let began = std::time::Instant::now();
    until("some are redriven", async || world.scalar::<i64>(LETTERS).await < 250).await;
    assert!(
        began.elapsed() > Duration::from_millis(700),
        "too fast for 50 per second: {:?}",
        began.elapsed()
    );
    std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let ended = child.wait_with_output().await.unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{out}");
    assert!(out.contains("interrupted: the rest is where it was"), "{out}");
    let left = world.scalar::<i64>(LETTERS).await;
    let redriven: i64 = out.strip_prefix("redriven ").unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(left > 0 && redriven + left == 301, "{redriven} + {left}");

    let again = outbox(&world, "dlq redrive --all --yes --rate 10000 --format json").await;
    assert_eq!((again.code, again.json()["moved"].as_i64()), (0, Some(left)), "{again:?}");
    world.rpcs.until_done("Test/One", &ids).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    assert_eq!(world.rpcs.calls_of(dies).len(), 1, "redriven once");
    let calls = |id: &EventId| world.rpcs.calls_of(*id).len();
    assert!(ids.iter().all(|id| calls(id) == 1));
    world.finish().await;
}

/// Guards promise 8: irreversible commands need a confirmation, and each repair is kept with its role and result.
#[tokio::test(flavor = "multi_thread")]
async fn repairs_need_a_confirmation_and_are_kept() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    world.relay();
    world.worker();
    world.publish(One { n: 1 }).await;
    world.until(&format!("select ({LETTERS}) = 1")).await;

    for command in [
        "dlq drop --all",
        "dlq redrive --all --force",
        "parked drop --all",
        "replay --since 1h --force --run",
    ] {
        let refused = outbox(&world, command).await;
        assert!(refused.code == 2 && refused.err.contains("pass --yes"), "{command}: {refused:?}");
    }
    assert_eq!(world.scalar::<i64>(LETTERS).await, 1);
    assert_eq!(outbox(&world, "audit").await.out, "No repairs.");

    assert_eq!(outbox(&world, "dlq redrive --all --dry-run").await.code, 0);
    assert_eq!(outbox(&world, "dlq drop --all --yes").await.code, 0);
    let kept = outbox(&world, "audit --format json").await.json();
    let [kept] = kept.as_array().unwrap().as_slice() else { panic!("{kept}") };
    assert!(kept["command"].as_str().unwrap().starts_with("outbox dlq drop --all --yes"), "{kept}");
    assert_eq!((&kept["role"], &kept["result"]["moved"]), (&json!("outbox"), &json!(1)));
    assert!(kept["who"].as_str().unwrap().contains('@'), "{kept}");
    assert!(!kept.to_string().contains("postgres://"), "{kept}");
    let told = outbox(&world, "audit").await.out;
    assert!(told.contains("WHO") && told.contains("outbox dlq drop --all --yes"), "{told}");
    world.finish().await;
}

/// Guards promise 8: of dead letters that share a number each is shown. A sequence that was set back deals its numbers out
/// twice, and every database has its own.
#[tokio::test(flavor = "multi_thread")]
async fn letters_that_share_a_number_are_all_shown() {
    let world = World::new(ROUTER).await;
    let second = world.beside(ROUTER).await;
    for (world, rpcs) in [(&world, "('Test/One'), ('Test/Slow')"), (&second, "('Test/Third')")] {
        world.execute(&format!("insert into outbox.queue (rpc) values {rpcs}")).await;
        world
            .execute(
                "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
                 select 7, id, outbox.uuid_v7(), '{}', clock_timestamp(), 1, 'internal', 'of ' || rpc from outbox.queue",
            )
            .await;
    }
    let sources = format!("--source cards={} --source notes={}", world.url, second.url);
    let shown = paste(&[], &format!("outbox dlq show 7 {sources}")).await;
    for reason in ["of Test/One", "of Test/Slow", "of Test/Third"] {
        assert!(shown.out.contains(reason), "{reason}: {shown:?}");
    }
    let sources_told = shown.out.lines().filter(|line| line.starts_with(" source "));
    assert_eq!(sources_told.map(|line| &line[11..]).collect::<Vec<_>>(), ["cards", "cards", "notes"]);
    let shown = paste(&[], &format!("outbox dlq show 7 --format json {sources}")).await;
    let each = serde_json::Deserializer::from_str(&shown.out).into_iter::<serde_json::Value>();
    let each: Vec<String> = each.map(|one| one.unwrap()["source"].as_str().unwrap().to_owned()).collect();
    assert_eq!(each, ["cards", "cards", "notes"], "{shown:?}");
    let one = paste(&[], &format!("outbox dlq show 7 --rpc Test/Slow {sources}")).await;
    assert!(one.out.contains("of Test/Slow") && !one.out.contains("of Test/One"), "{one:?}");
    second.finish().await;
    world.finish().await;
}
