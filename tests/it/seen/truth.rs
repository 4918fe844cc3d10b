//! What `why`, `status` and the questions of irreversible commands claim: nothing that is not known.

use std::time::Duration;

use outbox::{Entry, EventId};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::operator::{ROUTER, Said, misbehave, outbox, paste, publish_malformed};
use crate::role::role;
use crate::world::{One, Two, World};

async fn as_role(world: &World, url: &str, args: &str) -> Said {
    let router = world.router_file.display().to_string();
    paste(&[("DATABASE_URL", url), ("OUTBOX_ROUTER", &router)], &format!("outbox {args}")).await
}

fn name_of(url: &str) -> &str {
    url.split(['/', '@']).nth(2).unwrap()
}

/// Guards promise 8: what a role may not see is told to be so, with the grant that would show it, and never to be none.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_may_not_see_is_not_none() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.until_relay_sleeps().await;
    let url = role(&world, "operator").await;
    let name = name_of(&url);
    let mut open = world.pool.begin().await.unwrap();
    let uncommitted = outbox::enqueue(&mut open, One { n: 2 }).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *open).await.unwrap();

    let why = as_role(&world, &url, &format!("why {uncommitted}")).await;
    assert!(why.out.contains(&format!("pid {pid}, ")), "grant_to lets an operator see it: {why:?}");
    let status = as_role(&world, &url, "status --format json").await.json();
    assert_eq!(status["sources"][0]["oldest_transaction"]["pid"], json!(pid), "{status}");
    assert_eq!(status["sources"][0]["sees_transactions"], json!(true), "{status}");

    world.execute(&format!("revoke pg_read_all_stats from {name}")).await;
    let grant = format!("not visible to this role (grant pg_read_all_stats to \"{name}\")");
    let status = as_role(&world, &url, "status").await;
    assert!(status.out.contains(&grant), "{status:?}");
    assert!(!status.out.contains("Nothing is stuck."), "{status:?}");
    assert!(!status.out.contains("oldest transaction  none"), "{status:?}");
    let status = as_role(&world, &url, "status --format json").await.json();
    assert_eq!(status["sources"][0]["sees_transactions"], json!(false), "{status}");
    let why = as_role(&world, &url, &format!("why {uncommitted}")).await;
    assert!(why.code == 1 && why.out.contains(&grant), "{why:?}");
    for claim in ["no transaction is open", "Either its transaction was rolled back"] {
        assert!(!why.out.contains(claim), "{claim}: {why:?}");
    }
    open.rollback().await.unwrap();
    let why = as_role(&world, &url, &format!("why {uncommitted}")).await;
    assert!(why.out.contains(&grant) && !why.out.contains("no transaction is open"), "{why:?}");
    world.finish().await;
}

/// An event that was put ten minutes ago, of which only a cursor of this moment tells. Sixty thousand younger deliveries of
/// the same queue follow its own.
async fn put_long_ago(world: &World, delivery_at: &str) -> EventId {
    let event = world.publish(One { n: 1 }).await;
    for statement in [
        "insert into outbox.queue (rpc) values ('Test/One')".to_owned(),
        "update outbox.event set occurred_at = now() - interval '10 minutes'".to_owned(),
        "delete from outbox.cursor".to_owned(),
        "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
         select pg_current_snapshot()::text, 1, 1, system_identifier, 'another-relay', 0 from pg_control_system()"
            .to_owned(),
        format!(
            "insert into outbox.delivery (queue, event_id, body, slot, enqueued_at)
             select id, '{event}', '{{}}', 0, {delivery_at} from outbox.queue"
        ),
        "insert into outbox.delivery (queue, event_id, body, slot, enqueued_at)
         select q.id, gen_random_uuid(), '{}', 0, now() - interval '9 minutes' + n * interval '9 milliseconds'
         from outbox.queue as q, generate_series(1, 60000) as n"
            .to_owned(),
    ] {
        world.execute(&statement).await;
    }
    event
}

/// Guards promise 8: a message that waits is never called lost, however long ago it was put, and whatever its time says. A
/// put that can't be dated has no time and no relay.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_message_is_never_called_lost() {
    for delivery_at in [
        "now() - interval '10 minutes'",
        "now() - interval '3 hours'",
        "now() + interval '1 day'",
        "'infinity'",
    ] {
        let world = World::new(ROUTER).await;
        let event = put_long_ago(&world, delivery_at).await;
        let why = outbox(&world, &format!("why {event}")).await;
        assert!(why.code == 1 && why.out.contains(" queued "), "no worker serves it, {delivery_at}: {why:?}");
        assert!(!why.out.contains("replay") && !why.out.contains("nowhere"), "{delivery_at}: {why:?}");
        assert!(
            why.out.contains("put       before ") && why.out.contains("(exact time not known)"),
            "{why:?}"
        );
        assert!(!why.out.contains("another-relay"), "{why:?}");
        let life = outbox(&world, &format!("why {event} --format json")).await.json();
        assert_eq!((&life["put"]["at"], &life["put"]["relay"]), (&Value::Null, &Value::Null), "{life}");
        assert!(life["put"]["before"].is_string(), "{life}");

        // A worker has it.
        world
            .execute(
                "insert into outbox.claim (queue, token, first_seq, last_seq, until, worker)
                 select queue, 7, min(seq), min(seq), now() + interval '1 hour', 'w' from outbox.delivery group by queue",
            )
            .await;
        let why = outbox(&world, &format!("why {event}")).await;
        assert!(why.code == 0 && why.out.contains(" called "), "{delivery_at}: {why:?}");
        world.finish().await;
    }
}

/// Guards promise 8: what is known of a delivery bounds the time of a put that can't be dated.
#[tokio::test(flavor = "multi_thread")]
async fn a_done_delivery_bounds_the_time_of_the_put() {
    let world = World::new(ROUTER).await;
    let event = put_long_ago(&world, "now() - interval '10 minutes'").await;
    world
        .execute(&format!(
            "insert into outbox.dedup (slot, event_id, rpc, lease, until, done_at)
             values (outbox.dedup_slot('{event}'), '{event}', 'Test/One', 1, now(), now() - interval '8 minutes')"
        ))
        .await;
    let life = outbox(&world, &format!("why {event} --format json")).await.json();
    assert_eq!(life["put"]["before"], life["deliveries"][0]["at"], "{life}");
    world.finish().await;
}

/// Guards promise 8: what an operator dropped is told with the time and the name, also after the event has left the outbox,
/// and no command brings it back unasked.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_on_purpose_is_told() {
    let mut world = World::new(ROUTER).await;
    misbehave(&world);
    world.relay();
    world.worker();
    let (letter, again) = (world.publish(One { n: 13 }).await, world.publish(One { n: 13 }).await);
    let refused = publish_malformed(&world).await;
    world.until("select count(*) = 2 from outbox.dead_letter").await;
    world.until("select count(*) = 1 from outbox.parked").await;
    assert_eq!(outbox(&world, "dlq drop --all --yes").await.out, "dropped 2 dead letters");
    assert_eq!(outbox(&world, &format!("parked drop {refused} --yes")).await.code, 0);
    let who: String = world.scalar("select who from outbox.audit limit 1").await;
    let told = async |event: EventId| {
        let why = outbox(&world, &format!("why {event}")).await;
        assert!(why.code == 0 && why.out.contains("dropped   20"), "{why:?}");
        assert!(why.out.contains(&format!(" by {who}")), "{why:?}");
        for claim in ["replay", "retry", "redrive", "nowhere", "lost", "rolled back"] {
            assert!(!why.out.contains(claim), "{claim}: {why:?}");
        }
    };
    told(letter).await;
    told(refused).await;

    // What was sent again after it was dropped is where it is.
    world.rpcs.on("Test/One", |_| Box::pin(async { Ok(()) }));
    let sent = outbox(&world, &format!("replay --event {again} --run")).await;
    assert_eq!(sent.code, 0, "{sent:?}");
    world.rpcs.until_done("Test/One", &[again]).await;
    world.until_settled().await;
    let why = outbox(&world, &format!("why {again}")).await;
    assert!(why.out.contains("done      20") && !why.out.contains("dropped   20"), "{why:?}");
    for entry in ["dead at attempt 1", &format!("dropped by {who}"), &format!("replayed by {who}")] {
        assert!(why.out.contains(entry), "{entry}: {why:?}");
    }

    // Retention removes the events, and with the repairs what they dropped.
    world.execute("delete from outbox.event").await;
    told(letter).await;
    told(refused).await;
    world.execute("delete from outbox.audit").await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dropped").await, 0);
    world.finish().await;
}

/// Guards promise 8: `why` names no transaction that began after the event's id was made, and none of our own programs.
#[tokio::test(flavor = "multi_thread")]
async fn why_accuses_no_innocent_transaction() {
    let world = World::new(ROUTER).await;
    let mut young = world.pool.begin().await.unwrap();
    outbox::enqueue(&mut young, One { n: 2 }).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *young).await.unwrap();
    let made = chrono::Utc::now() - Duration::from_secs(100);
    let id = format!("{:012x}", made.timestamp_millis());
    let id = format!("{}-{}-7000-8000-000000000001", &id[..8], &id[8..]);
    let why = outbox(&world, &format!("why {id}")).await;
    assert!(why.code == 1 && !why.out.contains(&format!("pid {pid}")), "{why:?}");
    assert!(why.out.contains("no transaction is open that began before its id was made"), "{why:?}");
    let recent = EventId::new();
    let why = outbox(&world, &format!("why {recent}")).await;
    assert!(why.out.contains(&format!("pid {pid}")), "{why:?}");

    let url = format!("{}?application_name=outbox%20worker", world.url);
    let mut ours = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select outbox.enqueue('event_one', '{}')").execute(&mut ours).await.unwrap();
    young.rollback().await.unwrap();
    let why = outbox(&world, &format!("why {}", EventId::new())).await;
    assert!(!why.out.contains("outbox worker"), "{why:?}");

    world.finish().await;
}

/// Guards promise 8: `why` shows what waits in the queue of an RPC that the given router lacks, and does not call it well.
#[tokio::test(flavor = "multi_thread")]
async fn why_shows_queues_that_the_router_lacks() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let ids = world.publish_all([Entry::new(One { n: 1 }), Entry::new(Two { n: 1 })]).await;
    world.until("select count(*) = 2 from outbox.delivery").await;
    let other = world.router_file.with_extension("lacks.yaml");
    std::fs::write(&other, ROUTER.replace("Test/One", "Test/Other")).unwrap();
    let other = other.display().to_string();
    let env = [("DATABASE_URL", world.url.as_str()), ("OUTBOX_ROUTER", &other)];
    let why = paste(&env, &format!("outbox why {}", ids[0])).await;
    assert!(why.code == 1 && why.out.contains("Test/One\n  queued "), "{why:?}");
    assert!(why.out.contains("event_router.yaml here does not have this RPC"), "{why:?}");
    let why = paste(&env, &format!("outbox why {}", ids[1])).await;
    assert!(why.out.contains("no running worker") && !why.out.contains("does not have"), "{why:?}");

    // All subscribers of the file are well, and another queue has it too.
    std::fs::write(&other, "event:\n  - name: event_one\n    subscriber: [{ id: Test/Slow }]\n").unwrap();
    world
        .execute(&format!(
            "insert into outbox.dedup (slot, event_id, rpc, lease, until, done_at)
             values (outbox.dedup_slot('{0}'), '{0}', 'Test/Slow', 1, now(), now())",
            ids[0]
        ))
        .await;
    let why = paste(&env, &format!("outbox why {}", ids[0])).await;
    assert!(why.code == 1 && why.out.contains("Test/One\n  queued "), "{why:?}");
    world.finish().await;
}
