//! Names of events that nobody knows, and RPCs that always fail.

use connectrpc::ConnectError;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::process::Process;

use crate::operator::outbox;
use crate::role::role;
use crate::world::{One, World};

const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
        timeout: 2s
        backoff: { min: 10ms, max: 20ms }
        max_attempts: 100
  - name: event_silent
    subscriber: []
";

/// Guards promise 8: a misspelt name is told by status, why and a metric, with the name that may be meant. An event that is
/// listed without subscribers is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_told() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    world.until("select count(*) = 2 from outbox.known_event").await;
    let id: uuid::Uuid = world.scalar("select outbox.enqueue('event_onee', '{}')").await;
    world.execute("select outbox.enqueue('event_silent', '{}')").await;
    world
        .until("select count(*) = 1 from outbox.unknown_event where name = 'event_onee' and events = 1")
        .await;
    let said = outbox(&world, "status").await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("1 event of") && said.out.contains("did you mean 'event_one'?"), "{said:?}");
    assert!(!said.out.contains("event_silent"), "{said:?}");
    let said = outbox(&world, &format!("why {id}")).await;
    assert!(said.out.contains("nobody subscribes to 'event_onee'"), "{said:?}");
    assert!(said.out.contains("did you mean 'event_one'?"), "{said:?}");
    let metrics = crate::world::metrics().render();
    let counted =
        |line: &&str| line.contains("outbox_relay_unknown_events_total") && line.contains("event_onee");
    assert_eq!(metrics.lines().filter(counted).count(), 1, "{metrics}");
    world.finish().await;
}

/// Guards promise 8: a name that a new event_router.yaml lists is no longer unknown.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_listed_later_is_forgotten() {
    let mut world = World::new(ROUTER).await;
    world
        .execute("select outbox.tell_unknown(array['event_silent', 'event_x'], array[3, 2]::bigint[], array[gen_random_uuid(), gen_random_uuid()])")
        .await;
    world.relay();
    world.until("select array_agg(name) = array['event_x'] from outbox.unknown_event").await;
    world.finish().await;
}

/// Guards promise 7: the table of unknown names is small, whatever publishers choose.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_are_bounded() {
    let world = World::new(ROUTER).await;
    for n in 0..3 {
        let tell = format!(
            "select outbox.tell_unknown(array_agg('event_{n}_' || i), array_agg(1::bigint), array_agg(gen_random_uuid())) from generate_series(1, 60) as i"
        );
        world.execute(&tell).await;
    }
    assert!(world.scalar::<i64>("select count(*) from outbox.unknown_event").await <= 160);
    world.finish().await;
}

/// Guards promise 8: with strict names the publisher of an unknown name is told at once, in SQL and in Rust, and a known name
/// goes on. Without, every name is accepted. A publisher's role needs nothing more for it.
#[tokio::test(flavor = "multi_thread")]
async fn strict_names_refuse_an_unknown_name_at_once() {
    let mut world = World::new(ROUTER).await;
    let mut publisher = PgConnection::connect(&role(&world, "publisher").await).await.unwrap();
    let enqueue = |name: &str| sqlx::query(AssertSqlSafe(format!("select outbox.enqueue('{name}', '{{}}')")));
    world.execute("select outbox.set_strict_names(true)").await;
    world.execute("select outbox.set_strict_names(true)").await;
    enqueue("event_onee").execute(&mut publisher).await.expect("no relay has led: nothing is known yet");
    world.relay();
    world.worker();
    world.until("select count(*) = 2 from outbox.known_event").await;

    let refused = enqueue("event_onee").execute(&mut publisher).await.expect_err("it is unknown").to_string();
    assert!(refused.contains("nobody knows the event 'event_onee'"), "{refused}");
    let many = "select outbox.enqueue_all(array['event_one', 'event_onee'], array['{}', '{}']::jsonb[])";
    sqlx::query(many).execute(&mut publisher).await.expect_err("one of them is unknown");
    let raw = sqlx::query(outbox::INSERT).bind(uuid::Uuid::now_v7()).bind("event_onee").bind(None::<String>);
    raw.bind("{}")
        .bind(None::<String>)
        .execute(&mut publisher)
        .await
        .expect_err("the library's own statement");

    enqueue("event_silent").execute(&mut publisher).await.expect("it is listed");
    let one = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[one]).await;
    world.execute("select outbox.set_strict_names(false)").await;
    enqueue("event_onee").execute(&mut publisher).await.expect("every name is accepted again");
    world.finish().await;
}

/// Tells a relay to read another file, which lists one name more.
async fn listed(world: &World, relay: &mut Process, name: &str) {
    let yaml = format!("{ROUTER}  - name: {name}\n    subscriber: []\n");
    std::fs::write(&world.router_file, yaml).unwrap();
    relay.signal("HUP").unwrap();
    relay.wait_for("SIGHUP: read event_router.yaml again").await.unwrap();
}

/// Guards promise 8: the names of a new file can't be written at first, and the relay tries again until they are. So strict names
/// admit what the file lists.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_new_file_are_written_after_a_failure() {
    let world = World::new(ROUTER).await;
    let mut relay = world.relay_process();
    world.until("select count(*) = 2 from outbox.known_event").await;
    world.execute("select outbox.set_strict_names(true)").await;
    // A sequence counts what is rolled back.
    for statement in [
        "create sequence public.refused",
        "create function public.refuse() returns trigger language plpgsql security definer as
         'begin perform nextval(''public.refused''); raise exception ''no space''; end'",
        "create trigger refuse before insert on outbox.known_event execute function public.refuse()",
    ] {
        world.execute(statement).await;
    }
    listed(&world, &mut relay, "event_new").await;
    relay.wait_for("the names of the new event_router.yaml were not written down").await.unwrap();
    world.until("select is_called from public.refused").await;
    world.execute("drop trigger refuse on outbox.known_event").await;
    world.until("select count(*) = 3 from outbox.known_event").await;
    world.execute("select outbox.enqueue('event_new', '{}')").await;
    relay.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: the names of a new file are written while unknown names come without end.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_new_file_are_written_in_a_flow_of_unknown_ones() {
    let world = World::new(ROUTER).await;
    let mut relay = world.relay_process();
    world.execute("select outbox.enqueue('event_onee', '{}')").await;
    world.until("select count(*) = 1 from outbox.unknown_event").await;
    let flow = async {
        loop {
            world.execute("select outbox.enqueue('event_onee', '{}')").await;
        }
    };
    let written = async {
        world.until("select events >= 10 from outbox.unknown_event").await;
        listed(&world, &mut relay, "event_new").await;
        world.until("select count(*) = 3 from outbox.known_event").await;
    };
    tokio::select! {
        () = written => {}
        () = flow => unreachable!("it has no end"),
    }
    relay.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: an RPC that always fails is a problem in `outbox status`, before an attempt is the last.
#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_that_always_fails_is_told() {
    let mut world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |_| Box::pin(async { Err(ConnectError::internal("no such table")) }));
    world.relay();
    world.worker();
    world.publish(One { n: 1 }).await;
    world
        .until("select exists (select from outbox.process where (report::jsonb #>> '{rpcs,0,failed_in_row}')::int >= 5)")
        .await;
    let said = outbox(&world, "status").await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("calls of Test/One failed, the last with internal: no such table"), "{said:?}");
}
