//! Rows with unreadable times: infinite, or in years beyond a program's calendar.

use serde_json::Value;

use crate::operator::{ROUTER, outbox};
use crate::world::World;

const TIMES: [&str; 4] = ["infinity", "-infinity", "290000-01-01", "4000-01-01 BC"];
const EVENT: &str = "0198c7e2-0000-7000-8000-000000000001";
const LOGGED: &str = "0198c7e2-0000-7000-8000-000000000002";

async fn fill(world: &World, time: &str) {
    for statement in [
        "insert into outbox.queue (rpc) values ('Test/One') on conflict do nothing".to_owned(),
        format!("insert into outbox.event (id, name, payload, slot, occurred_at) values ('{EVENT}', 'event_one', '{{}}', 0, '{time}')"),
        format!("insert into outbox.event (id, name, payload, slot) values ('{LOGGED}', 'event_one', '{{}}', 0)"),
        format!(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot, at)
             select pg_current_snapshot()::text, 1, 1, system_identifier, 'test', 0, '{time}' from pg_control_system()"
        ),
        format!("insert into outbox.event (id, name, payload, slot, occurred_at) values (gen_random_uuid(), 'event_one', '{{}}', 0, '{time}')"),
        format!("insert into outbox.parked (seq, id, name, payload, occurred_at, code, reason, parked_at) values (77, gen_random_uuid(), 'event_one', '{{}}', '{time}', 'MalformedEvent', 'r', '{time}')"),
        format!("insert into outbox.delivery (queue, event_id, body, slot, enqueued_at) select id, '{LOGGED}', '{{}}', 0, '{time}' from outbox.queue"),
        format!("insert into outbox.claim (queue, token, first_seq, last_seq, until, worker) select id, 1, 0, 0, '{time}', 'w' from outbox.queue"),
        format!(
            "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, token, last_code, last_error, failed_at)
             select 100 + n, q.id, '{EVENT}', '{{}}', '{time}', n, '{time}', case when n = 2 then 1 end, 'c', 'e', '{time}'
             from outbox.queue as q, generate_series(0, 2) as n"
        ),
        format!("insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, dead_at) select 200, id, '{EVENT}', '{{}}', '{time}', 3, 'c', 'r', '{time}' from outbox.queue"),
        format!("insert into outbox.dedup (slot, event_id, rpc, lease, until, done_at) values (outbox.dedup_slot('{EVENT}'), '{EVENT}', 'Test/One', 1, '{time}', '{time}')"),
        format!("insert into outbox.dedup (slot, event_id, rpc, lease, until) values (outbox.dedup_slot('{LOGGED}'), '{LOGGED}', 'Test/Two', 1, '{time}')"),
        format!("insert into outbox.audit (id, at, who, command) values (gen_random_uuid(), '{time}', 'w', 'outbox parked list')"),
        format!("update outbox.ring set entered_at = '{time}', put_at = '{time}'"),
    ] {
        world.execute(&statement).await;
    }
}

/// Guards promise 8: a time beyond the calendar stops no command: the rest is shown, and the time is shown as unknown.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_no_calendar_has_stops_no_command() {
    for time in TIMES {
        let world = World::new(ROUTER).await;
        fill(&world, time).await;
        for args in [
            "status".to_owned(),
            format!("why {EVENT}"),
            format!("why {LOGGED}"),
            "dlq list".to_owned(),
            "dlq show 200".to_owned(),
            "dlq redrive --all --dry-run".to_owned(),
            "parked list".to_owned(),
            "parked retry --all --dry-run".to_owned(),
            "audit".to_owned(),
            "doctor".to_owned(),
            "replay --since 1h".to_owned(),
            format!("replay --event {EVENT}"),
            format!("replay --event {EVENT} --run"),
            format!("replay --event {LOGGED} --force --yes --run"),
            "replay --since 1h --run".to_owned(),
            "dlq drop --all --yes".to_owned(),
            "parked drop --all --yes".to_owned(),
        ] {
            for format in ["table", "json"] {
                let said = outbox(&world, &format!("{args} --format {format}")).await;
                assert!(
                    (0..=1).contains(&said.code) && !said.err.contains("panicked"),
                    "{time}, {args}: {said:?}"
                );
                if args == "parked list" && format == "json" {
                    assert_eq!(said.json()[0]["occurred_at"], Value::Null, "{said:?}");
                }
                if args == "audit" && format == "table" {
                    assert!(said.out.contains("not known"), "{time}: {said:?}");
                }
            }
        }
        world.finish().await;
    }
}

/// Guards promise 8: an event that was parked for its time is put when it is retried, with the time of the retry.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_parked_for_its_time_can_be_retried() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let ids: Vec<outbox::EventId> = TIMES.iter().map(|_| outbox::EventId::new()).collect();
    for (id, time) in ids.iter().zip(TIMES) {
        world
            .execute(&format!(
                "with published as (
                     insert into outbox.event (id, name, payload, slot, occurred_at)
                     values ('{id}', 'event_one', '{{\"n\":1}}', (select last_value from outbox.event_slot), '{time}')
                     returning id
                 )
                 select outbox.wake() from published"
            ))
            .await;
    }
    world.until("select count(*) = 4 from outbox.parked where code = 'MalformedEvent'").await;
    let retried = outbox(&world, "parked retry --code MalformedEvent").await;
    assert!(retried.code == 0 && retried.out.starts_with("retried 4 parked events"), "{retried:?}");
    world.rpcs.until_done("Test/One", &ids).await;
    let sane = "select count(*) = 4 from outbox.event where occurred_at > now() - interval '1 hour' and occurred_at < now()";
    world.until(sane).await;
    let why = outbox(&world, &format!("why {}", ids[0])).await;
    assert!(why.code == 0 && why.out.contains("enqueued  20"), "{why:?}");
    world.until_settled().await;
    world.finish().await;
}

/// Guards promise 8: two parked events with one seq, after a sequence was set back, are two events. One can be retried
/// without the other, or all at once.
#[tokio::test(flavor = "multi_thread")]
async fn parked_events_of_one_seq_are_two_events() {
    let mut world = World::new(ROUTER).await;
    world
        .execute(
            "insert into outbox.parked (seq, id, name, payload, occurred_at, code, reason)
             select 5, gen_random_uuid(), 'event_one', '{\"n\":1}', now(), 'X', 'r' from generate_series(1, 250)",
        )
        .await;
    world.execute("select setval('outbox.event_seq', 1000)").await;
    let one: uuid::Uuid = world.scalar("select id from outbox.parked order by id desc limit 1").await;
    let retried = outbox(&world, &format!("parked retry {one} --format json")).await;
    assert_eq!((retried.code, &retried.json()["changed"]), (0, &1.into()), "{retried:?}");
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked").await, 249);
    let other: uuid::Uuid = world.scalar("select id from outbox.parked order by id limit 1").await;
    let dropped = outbox(&world, &format!("parked drop {other} --yes --format json")).await;
    assert_eq!((dropped.code, &dropped.json()["changed"]), (0, &1.into()), "{dropped:?}");
    let retried = outbox(&world, "parked retry --all --format json").await;
    assert_eq!((retried.code, &retried.json()["changed"]), (0, &248.into()), "{retried:?}");
    world.relay();
    world.worker();
    world.until("select count(*) = 249 from outbox.delivery").await;
    world.until_settled().await;
    world.finish().await;
}
