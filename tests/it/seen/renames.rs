//! Queues get another name, or are removed, with the role that is documented for it.

use outbox::EventId;
use outbox_postgres::SESSION;
use serde_json::json;

use super::hands::{Operator, abandoned, card, events};
use crate::operator::ROUTER;
use crate::world::{One, World};

/// Guards promises 2 and 3: an RPC gets another name. What its old queue has is delivered under the new one, and what was done is
/// not called again, not even by a replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_rpc_takes_its_queue_along() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    let worker = world.worker();
    let done = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[done]).await;
    world.until_settled().await;
    worker.cancel();
    world.until("select not exists (select from pg_stat_activity where application_name ~ '^outbox worker' and datname = current_database())").await;
    let ids = world.publish_all([card(1, "t-1"), card(2, "t-1"), card(3, "t-1")]).await;
    world.until("select count(*) = 4 from outbox.delivery").await;
    world.stop_relay(&relay).await;
    let operator = Operator::of(&world).await;

    let dry = operator.run("queue move --from Test/One --to Test/Slow --dry-run").await;
    assert!(dry.out.starts_with("would move 3 messages and 0 dead letters"), "{dry:?}");
    let asked = operator.run("queue move --from Test/One --to Test/Slow").await;
    assert!(asked.code == 2 && asked.err.contains("moves 3 messages and 0 dead letters"), "{asked:?}");
    let moved = operator.run("queue move --from Test/One --to Test/Slow --yes --format json").await;
    let answer = moved.json();
    assert_eq!((moved.code, &answer["messages"], &answer["records"]), (0, &json!(3), &json!(1)), "{moved:?}");
    world.worker();
    world.rpcs.until_done("Test/Slow", &ids).await;
    world.until_settled().await;
    assert!(ids.iter().all(|id| world.rpcs.calls_of(*id).iter().all(|call| call.rpc == "Test/Slow")));
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.done where rpc = 'Test/Slow'").await, 4);
    let why = operator.run(&format!("why {}", ids[0])).await;
    assert!(why.out.contains("moved here from the queue of another RPC by operator-a@"), "{why:?}");
    world.finish().await;
}

/// Guards promise 3: what is called under the old name is not given to the new one, and the command says that it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_rpc_is_not_called_twice_at_once() {
    let world = World::new(ROUTER).await;
    let ids = abandoned(&world, 3).await;
    let (leased, claimed) = (ids[0], ids[1]);
    // Two calls under way: the lease of a row, and a claim of the log that has another message of the event.
    for statement in [
        format!(
            "insert into outbox.dedup (slot, event_id, rpc, lease, until)
             values (outbox.dedup_slot('{leased}'), '{leased}', 'Old/Gone', 7, clock_timestamp() + interval '1 hour')"
        ),
        format!(
            "with called as (
                 insert into outbox.delivery (queue, event_id, body, slot)
                 select queue, event_id, body, 0 from outbox.retry where event_id = '{claimed}' returning queue, seq, event_id
             )
             insert into outbox.claim (queue, token, first_seq, last_seq, until, leased_until, first_id, last_id, worker)
             select queue, 7, seq, seq, clock_timestamp() + interval '1 hour', clock_timestamp() + interval '1 hour',
                    event_id, event_id, 'test' from called"
        ),
    ] {
        world.execute(&statement).await;
    }
    let operator = Operator::of(&world).await;
    let moved = operator.run("queue move --from Old/Gone --to Test/Slow --yes").await;
    assert_eq!(moved.code, 1, "{moved:?}");
    for words in ["moved 1 message and 0", "2 messages still wait under the old name: run it again"] {
        assert!(moved.out.contains(words), "{words}: {moved:?}");
    }
    let there = operator.json("queue list --rpc Test/Slow").await;
    assert_eq!(events(&there), [ids[2].to_string()]);

    world.execute("update outbox.dedup set until = clock_timestamp() - interval '1 second'").await;
    world.execute("update outbox.claim set until = null").await;
    let moved = operator.json("queue move --from Old/Gone --to Test/Slow --yes").await;
    assert_eq!((&moved["messages"], &moved["left"]), (&json!(2), &json!(0)), "{moved}");
    world.finish().await;
}

/// Guards promise 3: the relay folds receipts while they are copied for a new name, and every one of their events is copied.
#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_lost_when_receipts_are_folded_meanwhile() {
    let world = World::new(ROUTER).await;
    // Four receipts of one minute, whose ids lie between each other's. Folded, they have other ends.
    world
        .execute(
            "do $$
             declare
                 minute constant text := lpad(to_hex((floor(extract(epoch from now()) / 60) * 60000)::bigint), 12, '0');
                 s      constant smallint := outbox.dedup_slot((minute || '70008000000000000001')::uuid);
                 repair constant uuid := gen_random_uuid();
                 upto   uuid;
             begin
                 insert into outbox.receipt (slot, small, done_at, first_id, last_id, rpc, ids)
                 select s, true, now(), made.ids[1], made.ids[cardinality(made.ids)], 'Test/One', made.ids
                 from (select array_agg((minute || '70008000' || lpad(to_hex(n), 12, '0'))::uuid order by n) as ids
                       from generate_series(1, 1000) as n group by n % 4) as made;
                 perform outbox.repair_begin(repair, 'me@host', 'move');
                 upto := (select c.upto from outbox.carry_records(repair, 'Test/One', 'Test/Slow', s, null, 1) as c);
                 perform outbox.fold_receipts(s, '-infinity', 'infinity', 2000);
                 while upto is not null loop
                     upto := (select c.upto from outbox.carry_records(repair, 'Test/One', 'Test/Slow', s, upto, 1) as c);
                 end loop;
             end $$",
        )
        .await;
    let copied = "select count(distinct event_id) from outbox.done where rpc = 'Test/Slow'";
    assert_eq!(world.scalar::<i64>(copied).await, 1000);
    world.finish().await;
}

/// Guards promise 2: a queue is not removed while a replay that is not committed yet puts a message into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_not_removed_under_a_replay() {
    let world = World::new(ROUTER).await;
    world.execute("insert into outbox.queue (rpc) values ('Old/Gone')").await;
    let [replay, removal] = [EventId::new(), EventId::new()];
    for repair in [replay, removal] {
        world.execute(&format!("select outbox.repair_begin('{repair}', 'me@host', 'test')")).await;
    }
    let mut sending = world.source.connect("test", &SESSION).await.unwrap();
    let mut removing = world.source.connect("test remove", &SESSION).await.unwrap();
    let send = "select outbox.replay($1, array['Old/Gone'], array[$1], array['{}'])";
    sqlx::raw_sql("begin").execute(&mut sending).await.unwrap();
    sqlx::query(send).bind(replay.as_uuid()).execute(&mut sending).await.unwrap();
    let remove =
        sqlx::query_scalar::<_, bool>("select outbox.remove_queue($1, 'Old/Gone')").bind(removal.as_uuid());
    let mut removed = tokio::spawn(async move { remove.fetch_one(&mut removing).await });
    let waits = "select exists (select from pg_stat_activity where application_name = 'test remove' and wait_event_type = 'Lock')";
    let early = tokio::select! {
        early = &mut removed => Some(early),
        () = world.until(waits) => None,
    };
    sqlx::raw_sql("commit").execute(&mut sending).await.unwrap();
    let removed = match early {
        Some(early) => early.unwrap(),
        None => removed.await.unwrap(),
    };
    // It waited, and found a message. On a slow machine it waited too long, and failed.
    assert!(!matches!(removed, Ok(true)), "{removed:?}");
    let lost = "select count(*) from outbox.retry as r where not exists (select from outbox.queue as q where q.id = r.queue)";
    assert_eq!(world.scalar::<i64>(lost).await, 0);
    world.finish().await;
}

/// Guards promise 8: the queue of an RPC without a route is removed after a question with the number, the oldest and a sample.
/// `status` forgets it, and `why` tells what was dropped. A queue with a route stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_route_is_removed() {
    let world = World::new(ROUTER).await;
    world.execute("insert into outbox.queue (rpc) values ('Test/One')").await;
    let gone = abandoned(&world, 2).await;
    let operator = Operator::of(&world).await;
    assert!(operator.run("status").await.out.contains("Old/Gone"));
    let routed = operator.run("queue drop --rpc Test/One --yes").await;
    assert!(routed.code == 2 && routed.err.contains("has a route to Test/One"), "{routed:?}");
    let asked = operator.run("queue drop --rpc Old/Gone").await;
    assert!(asked.code == 2 && asked.err.contains("pass --yes"), "{asked:?}");
    for words in ["2 messages (2 of event_one", &format!("event {}", gone[0]), "0 dead letters"] {
        assert!(asked.err.contains(words), "{words}: {asked:?}");
    }
    // A process that still has it is named.
    world
        .execute(
            "insert into outbox.process (id, name, program, version, routes, rpcs, started_at, every_seconds, report)
             values (gen_random_uuid(), 'vm:1', 'relay', '1', array['event_one Old/Gone abc'], '{}', now(), 3600, '{}')",
        )
        .await;
    let held = operator.run("queue drop --rpc Old/Gone --yes").await;
    assert!(held.code == 1 && held.err.contains("relay vm:1"), "{held:?}");
    world.execute("delete from outbox.process").await;

    let dropped = operator.run("queue drop --rpc Old/Gone --yes").await;
    assert_eq!(
        (dropped.code, dropped.out.as_str()),
        (0, "dropped 2 messages, and removed the queue of Old/Gone"),
        "{dropped:?}"
    );
    assert!(!operator.run("status").await.out.contains("Old/Gone"));
    let why = operator.run(&format!("why {}", gone[0])).await;
    assert!(why.out.contains("Old/Gone") && why.out.contains("dropped"), "{why:?}");
    assert!(why.out.contains("operator-a@"), "{why:?}");
    let again = operator.run("queue drop --rpc Old/Gone --yes").await;
    assert!(again.code == 2 && again.err.contains("there is no RPC Old/Gone"), "{again:?}");
    world.finish().await;
}
