//! What is in the queues: listed, counted, tried again and given up, with the role that is documented for it.

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use serde_json::{Value, json};

use crate::operator::{ROUTER, Said, misbehave, n, paste};
use crate::role::role;
use crate::world::{One, Two, World};

/// An operator with the documented role, and the files of the world.
pub(super) struct Operator {
    url: String,
    router: String,
}

impl Operator {
    pub(super) async fn of(world: &World) -> Self {
        Self { url: role(world, "operator").await, router: world.router_file.display().to_string() }
    }

    pub(super) async fn run(&self, args: &str) -> Said {
        let env = [
            ("DATABASE_URL", self.url.as_str()),
            ("OUTBOX_ROUTER", self.router.as_str()),
            ("USER", "operator-a"),
        ];
        paste(&env, &format!("outbox {args}")).await
    }

    pub(super) async fn json(&self, args: &str) -> Value {
        self.run(&format!("{args} --format json")).await.json()
    }
}

pub(super) fn events(listed: &Value) -> Vec<&str> {
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

pub(super) fn card(number: i64, tenant: &str) -> Entry {
    Entry::new(One { n: number }).key(format!("card-{number}")).header("tenant", tenant)
}

/// Messages in the queue of an RPC that no file has.
pub(super) async fn abandoned(world: &World, many: usize) -> Vec<EventId> {
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
