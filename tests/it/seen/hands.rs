//! What is in the queues: listed, counted, tried again, given up, moved and dropped, with the role that is documented for it.

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use outbox_postgres::SESSION;
use serde_json::{Value, json};

use crate::operator::{ROUTER, Said, misbehave, n, paste};
use crate::role::role;
use crate::world::{One, Two, World};

/// An operator with the documented role, and the files of the world.
struct Operator {
    url: String,
    router: String,
}

impl Operator {
    async fn of(world: &World) -> Self {
        Self { url: role(world, "operator").await, router: world.router_file.display().to_string() }
    }

    async fn run(&self, args: &str) -> Said {
        let env = [
            ("DATABASE_URL", self.url.as_str()),
            ("OUTBOX_ROUTER", self.router.as_str()),
            ("USER", "operator-a"),
        ];
        paste(&env, &format!("outbox {args}")).await
    }

    async fn json(&self, args: &str) -> Value {
        self.run(&format!("{args} --format json")).await.json()
    }
}

fn events(listed: &Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|one| one["event"].as_str().unwrap()).collect()
}

/// Events above 100 fail with a number in the reason.
fn lock_cards(world: &World) {
    world.rpcs.on("Test/One", |called| {
        let n = n(called);
        Box::pin(async move {
            if n > 100 { Err(ConnectError::internal(format!("card {n} is locked"))) } else { Ok(()) }
        })
    });
}

fn card(number: i64, tenant: &str) -> Entry {
    Entry::new(One { n: number }).key(format!("card-{number}")).header("tenant", tenant)
}

/// Guards promise 8: what fails, waits or is called can be listed and counted, by state, key, name, header and reason, and is tried
/// again at once by a command.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_queue_is_listed_and_tried_again() {
    let mut world = World::new(ROUTER).await;
    let answer = misbehave(&world);
    lock_cards(&world);
    world.relay();
    let worker = world.worker();
    let ids = world.publish_all([card(101, "t-1"), card(102, "t-1"), card(103, "t-2")]).await;
    world.until("select count(*) = 3 from outbox.retry where token is null").await;
    // The pause before the next attempt is random.
    world.execute("update outbox.retry set due_at = now() + interval '6 hours'").await;
    let slow = world.publish(Two { n: 1 }).await;
    world.rpcs.until("the slow one is called", |rpcs| !rpcs.calls_of(slow).is_empty()).await;
    let operator = Operator::of(&world).await;

    let listed = operator.json("queue list --rpc Test/One --state retrying").await;
    assert_eq!(events(&listed), ids.iter().map(ToString::to_string).collect::<Vec<_>>(), "oldest first");
    let first = &listed[0];
    assert_eq!(
        [&first["code"], &first["attempts"], &first["key"], &first["event_name"], &first["state"]],
        [&json!("internal"), &json!(1), &json!("card-101"), &json!("event_one"), &json!("retrying")]
    );
    assert!(first["reason"].as_str().unwrap().contains("card 101 is locked"), "{first}");
    assert!(first["due_at"].is_string(), "{first}");
    for (filter, expected) in [
        ("", 4),
        ("--rpc Test/One", 3),
        ("--state calling", 1),
        ("--state waiting", 0),
        ("--state held", 0),
        ("--rpc Test/One --key card-102", 1),
        ("--header tenant=t-1", 2),
        ("--name event_two", 1),
        ("--code internal", 3),
        ("--error locked --header tenant=t-2", 1),
        ("--rpc Test/One --limit 2 --newest", 2),
    ] {
        let listed = operator.json(&format!("queue list {filter}")).await;
        assert_eq!(listed.as_array().unwrap().len(), expected, "{filter}: {listed}");
        assert!(!listed.to_string().contains("\"n\""), "a payload: {listed}");
    }
    let newest = operator.json("queue list --rpc Test/One --newest --limit 1").await;
    assert_eq!(events(&newest), [ids[2].to_string()]);
    let told = operator.run("queue list --rpc Test/One").await;
    assert!(told.out.contains("card 101 is locked") && told.out.contains("NEXT IN"), "{told:?}");

    for (by, value, count) in
        [("reason", "card N is locked", 3), ("key", "card-101", 1), ("header:tenant", "t-1", 2)]
    {
        let groups = operator.json(&format!("queue list --rpc Test/One --by {by}")).await;
        let group = groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .find(|group| group["value"].as_str().is_some_and(|found| found.ends_with(value)));
        assert_eq!(group.map(|group| &group["count"]), Some(&json!(count)), "{by}: {groups}");
        assert_eq!(groups["looked_at_all"], true, "{groups}");
    }

    // Repaired: they are tried at once, and not in half a day.
    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let dry = operator.run("queue retry --rpc Test/One --key card-102 --dry-run").await;
    assert!(dry.out.starts_with("would retry 1 message (1 of Test/One with internal;"), "{dry:?}");
    let retried = operator.run("queue retry --rpc Test/One --key card-102").await;
    assert_eq!((retried.code, retried.out.as_str()), (0, "retried 1 message"), "{retried:?}");
    world.rpcs.until_done("Test/One", &ids[1..2]).await;
    assert_eq!(world.rpcs.calls_of(ids[0]).len(), 1, "another one was tried, too");
    let retried = operator.run(&told.command("outbox queue retry")["outbox ".len()..]).await;
    assert_eq!((retried.code, retried.out.as_str()), (0, "retried 2 messages"), "{retried:?}");
    world.rpcs.until_done("Test/One", &ids).await;
    let audit = operator.json("audit").await;
    assert_eq!(audit.as_array().unwrap().len(), 2, "{audit}");
    assert_eq!(audit[0]["result"]["changed"], json!(2), "{audit}");
    answer.cancel();
    world.until_settled().await;
    worker.cancel();
    world.finish().await;
}

/// Guards promise 8: what is in a queue that no worker serves is listed as such.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_serves_is_listed() {
    let world = World::new(ROUTER).await;
    let worker = world.worker_process();
    world
        .until(
            "select exists (select from outbox.process where program = 'worker' and 'Test/One' = any (rpcs))",
        )
        .await;
    let gone = abandoned(&world, 2).await;
    let operator = Operator::of(&world).await;
    let listed = operator.json("queue list --state nobody").await;
    assert_eq!(events(&listed), gone.iter().map(ToString::to_string).collect::<Vec<_>>());
    let served = operator.json("queue list --state nobody --rpc Test/One").await;
    assert_eq!(served, json!([]));
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Messages in the queue of an RPC that no file has.
async fn abandoned(world: &World, many: usize) -> Vec<EventId> {
    world.execute("insert into outbox.queue (rpc) values ('Old/Gone')").await;
    let mut ids = Vec::new();
    for _ in 0..many {
        let id = EventId::new();
        world
            .execute(&format!(
                "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
                 select nextval('outbox.delivery_seq'), id, '{id}',
                        '{{\"rpc\":\"Old/Gone\",\"event\":{{\"name\":\"event_one\",\"key\":\"k\"}}}}', clock_timestamp(), 0,
                        clock_timestamp(), 'waiting', 'no worker has received it yet'
                 from outbox.queue where rpc = 'Old/Gone'"
            ))
            .await;
        ids.push(id);
    }
    ids
}

/// Guards promises 2 and 8: a message is given up while it waits in the log, its neighbours are delivered, and a redrive takes it
/// back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_can_be_redriven() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let ids = world.publish_all([card(1, "t-1"), card(2, "t-1"), card(3, "t-1")]).await;
    world.until("select count(*) = 3 from outbox.delivery").await;
    let operator = Operator::of(&world).await;
    assert_eq!(operator.json("queue list --state waiting").await.as_array().unwrap().len(), 3);
    let given = operator.run("queue give-up --rpc Test/One --key card-2 --reason 'ticket 17'").await;
    assert!(given.code == 0 && given.out.starts_with("given up 1 message"), "{given:?}");
    let why = operator.run(&format!("why {}", ids[1])).await;
    assert!(why.code == 1 && why.out.contains("given_up: given up by operator-a@"), "{why:?}");
    assert!(why.out.contains("ticket 17"), "{why:?}");

    world.worker();
    world.rpcs.until_done("Test/One", &[ids[0], ids[2]]).await;
    world.until_settled().await;
    assert!(world.rpcs.calls_of(ids[1]).is_empty(), "given up, and called");
    let back = operator.run(&given.command("outbox dlq redrive")["outbox ".len()..]).await;
    assert_eq!((back.code, back.out.as_str()), (0, "redriven 1 dead letter"), "{back:?}");
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    let nothing = operator.run("queue give-up --rpc Test/One --all").await;
    assert_eq!((nothing.code, nothing.out.as_str()), (0, "given up 0 messages"), "{nothing:?}");
    world.finish().await;
}

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
                 perform outbox.fold_receipts(s, '-infinity', 2000);
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

/// Guards promises 2 and 3: the sequence of claims was set back. A head still moves: what is given up is not called, and what is
/// dropped or moved to the retries is so once.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_moves_after_the_sequence_of_claims_was_set_back() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    let ids = world.publish_all([card(1, "t-1"), card(2, "t-1"), card(3, "t-1")]).await;
    world.until("select count(*) = 3 from outbox.delivery").await;
    world.stop_relay(&relay).await;
    abandoned(&world, 0).await;
    for statement in [
        "insert into outbox.delivery (queue, event_id, body, slot)
         select id, gen_random_uuid(), '{}', 0 from outbox.queue, generate_series(1, 2) where rpc = 'Old/Gone'",
        "insert into outbox.claim (id, queue, token, first_seq, last_seq, until, worker)
         select 100 * id, id, 7, 0, 0, null, 'test' from outbox.queue",
    ] {
        world.execute(statement).await;
    }
    let operator = Operator::of(&world).await;
    let given = operator.run("queue give-up --rpc Test/One --key card-2").await;
    assert!(given.code == 0 && given.out.starts_with("given up 1 message"), "{given:?}");
    world
        .execute("select outbox.repair_begin('00000000-0000-7000-8000-000000000001', 'me@host', 'test')")
        .await;
    let dropped = "select outbox.drop_waiting('00000000-0000-7000-8000-000000000001', 'Old/Gone', 1)";
    for expected in [1, 1, 0] {
        assert_eq!(world.scalar::<i64>(dropped).await, expected);
    }
    world.worker();
    world.rpcs.until_done("Test/One", &[ids[0], ids[2]]).await;
    world.until("select not exists (select from outbox.retry)").await;
    assert!(world.rpcs.calls_of(ids[1]).is_empty(), "given up, and called");
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

/// Guards promise 8: thousands of dead letters are a few groups, each with its number and its commands. Letters are found by key,
/// name, header and reason.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_summed_up() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |called| {
        let n = n(called);
        Box::pin(async move {
            match n {
                1..100 => Ok(()),
                _ => Err(ConnectError::invalid_argument(format!("no card {n}"))),
            }
        })
    });
    world.relay();
    world.worker();
    let mut ids = Vec::new();
    for number in [101, 102, 103] {
        ids.push(world.publish_all([card(number, "t-1")]).await[0]);
        // A success in between: else the RPC would be held.
        let good = world.publish(One { n: 1 }).await;
        world.rpcs.until_done("Test/One", &[good]).await;
    }
    world.until("select count(*) = 3 from outbox.dead_letter").await;
    world
        .execute(&format!(
            "update outbox.dead_letter set reason = 'a bug: pool is empty' where event_id = '{}'",
            ids[2]
        ))
        .await;
    let operator = Operator::of(&world).await;
    let sum = operator.json("dlq summary").await;
    assert_eq!((&sum["letters"], &sum["read_all"]), (&json!(3), &json!(true)), "{sum}");
    let groups = sum["groups"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| &group["count"]).collect::<Vec<_>>(), [&json!(2), &json!(1)]);
    assert!(groups[0]["reason"].as_str().unwrap().ends_with("no card N"), "{sum}");
    assert_eq!(groups[0]["sample_event"], json!(ids[1]), "{sum}");
    assert_eq!(operator.json("dlq summary --since 0s").await["letters"], json!(0));
    let told = operator.run("dlq summary --rpc Test/One").await;
    assert!(told.out.contains("3 dead letters in 2 groups"), "{told:?}");

    for (filter, count) in [
        ("--key card-101", 1),
        ("--key card-1", 0),
        ("--header tenant=t-1", 3),
        ("--name event_one --reason 'pool is'", 1),
        ("--reason card", 2),
        ("--limit 2", 2),
    ] {
        let listed = operator.json(&format!("dlq list {filter}")).await;
        assert_eq!(listed.as_array().unwrap().len(), count, "{filter}: {listed}");
    }
    let newest = operator.json("dlq list").await;
    assert_eq!(newest[0]["event"], json!(ids[2]), "{newest}");
    let shown = operator.json("dlq show --key card-102").await;
    assert_eq!(shown["event"], json!(ids[1]), "{shown}");
    let command = groups[1]["redrive"].as_str().unwrap();
    assert!(command.contains("--reason"), "{command}");
    let one = operator.run(&format!("{} --dry-run", &command["outbox ".len()..])).await;
    assert_eq!(one.out, "would redrive 1 dead letter", "{one:?}");
    let few = operator.run("dlq drop --limit 1 --newest --yes").await;
    assert_eq!(few.out, "dropped 1 dead letter", "{few:?}");
    assert_eq!(operator.json("dlq list").await.as_array().unwrap().len(), 2);
    world.finish().await;
}

/// Guards promise 8: the events of a card, a tenant or a name are found, the newest first, also parked and dead ones, without
/// their payloads.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_what_they_are_about() {
    let mut world = World::new(ROUTER).await;
    misbehave(&world);
    world.relay();
    world.worker();
    let good = world.publish_all([card(1, "t-1")]).await[0];
    let dead = world.publish_all([Entry::new(One { n: 13 }).key("card-1").header("tenant", "t-2")]).await[0];
    let parked = crate::operator::publish_malformed(&world).await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    let operator = Operator::of(&world).await;
    let found = operator.json("find --key card-1 --since 1h").await;
    assert_eq!(events(&found), [dead.to_string(), good.to_string()], "{found}");
    assert_eq!((&found[0]["dead"], &found[1]["dead"]), (&json!(["Test/One"]), &json!([])));
    assert!(!found.to_string().contains("\"n\""), "a payload: {found}");
    for (filter, expected) in [
        ("--key card-1 --limit 1", vec![dead]),
        ("--header tenant=t-1", vec![good]),
        ("--name event_one --key key-9", vec![parked]),
        ("--key card-1 --until 1h --since 2h", vec![]),
        ("--key card", vec![]),
    ] {
        let found = operator.json(&format!("find {filter}")).await;
        assert_eq!(events(&found), expected.iter().map(ToString::to_string).collect::<Vec<_>>(), "{filter}");
    }
    let found = operator.json("find --key key-9").await;
    assert_eq!(found[0]["parked"], true, "{found}");
    // A dead letter is found after its event has left the outbox.
    world.execute("delete from outbox.event").await;
    assert_eq!(events(&operator.json("find --key card-1").await), [dead.to_string()]);
    // Letters of other times that died later do not hide it.
    world
        .execute(
            "insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
             select l.seq + n, l.queue, k.id, regexp_replace(replace(l.body, l.event_id::text, k.id::text),
                    '\"occurred_at\":\"[0-9]{4}', '\"occurred_at\":\"2020'), l.enqueued_at, 1, 'internal', 'old'
             from outbox.dead_letter as l, generate_series(1, 3) as n, lateral (select outbox.uuid_v7() as id where n > 0) as k",
        )
        .await;
    assert_eq!(events(&operator.json("find --key card-1 --limit 1").await), [dead.to_string()]);
    let nothing = operator.run("find").await;
    assert!(nothing.code == 2 && nothing.err.contains("pass --key"), "{nothing:?}");
    world.finish().await;
}
