//! Least privileges, with real roles.

use outbox::Entry;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection};

use crate::role::{address, role};
use crate::world::{One, ROUTER, Two, World};

/// Guards SECURITY.md: a role that may publish can do nothing else. It can't read an event, not even its own, choose an
/// event's place, time or slot, move the relay's cursor, or grant a right.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_can_publish_and_nothing_else() {
    let world = World::new(ROUTER).await;
    let url = role(&world, "publisher").await;
    let pool = PgPoolOptions::new().connect(&url).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    outbox::enqueue(&mut tx, One { n: 1 }).await.unwrap();
    outbox::enqueue_all(&mut tx, [Entry::new(One { n: 2 })]).await.unwrap();
    tx.commit().await.unwrap();
    sqlx::query("insert into outbox.event (id, name, payload) values (gen_random_uuid(), 'event_one', '{}')")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("select outbox.enqueue('event_one', '{}', 'k', '{\"tenant\":\"t\"}')")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.event").await, 4);
    for statement in [
        "select * from outbox.event",
        "select * from outbox.event_0",
        "insert into outbox.event (slot, id, name, payload) values (0, gen_random_uuid(), 'event_one', '{}')",
        "insert into outbox.event (seq, id, name, payload) values (1, gen_random_uuid(), 'event_one', '{}')",
        "insert into outbox.event (xid, id, name, payload) values ('3', gen_random_uuid(), 'event_one', '{}')",
        "insert into outbox.event (occurred_at, id, name, payload) values (now(), gen_random_uuid(), 'event_one', '{}')",
        "insert into outbox.event (id, name, payload) values (gen_random_uuid(), 'event_one', '{}') returning seq",
        "insert into outbox.event_0 (id, name, payload) values (gen_random_uuid(), 'event_one', '{}')",
        "update outbox.event set payload = ''",
        "do $$ begin lock table outbox.event in row exclusive mode; end $$",
        "insert into outbox.waking default values",
        "delete from outbox.event",
        "truncate outbox.event_0",
        "select * from outbox.parked",
        "select setval('outbox.event_seq', 3)",
        "select setval('outbox.event_slot', 3)",
        "select nextval('outbox.event_slot')",
        "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot) values ('9:9:', 0, 0, 0, '', 0)",
        "select outbox.truncate_slot('event', 0::smallint, '0', 0)",
        "select outbox.grant_to(current_user::text, 'relay')",
        "create table outbox.mine (id integer)",
        "create function outbox.enqueue(name text) returns void language sql as ''",
    ] {
        let refused = sqlx::query(statement).execute(&pool).await.expect_err(statement);
        let code =
            refused.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{statement}: {refused}");
    }
    pool.close().await;
    world.finish().await;
}

/// Guards: relay and worker do all of their work as roles that have been given no more than that, rings and retention
/// included; the worker can't read the outbox.
#[tokio::test(flavor = "multi_thread")]
async fn relay_and_worker_work_with_their_own_roles() {
    let world = World::new(ROUTER).await;
    let (relay_url, worker_url) = (role(&world, "relay").await, role(&world, "worker").await);
    let relay = world.relay_process_in(&[("DATABASE_URL", &relay_url), ("OUTBOX_RETENTION", "6s")]);
    let worker = world.worker_process_in(&[("DATABASE_URL", &worker_url)], &[]);
    world.rpcs.on("Test/TwoA", |_| {
        Box::pin(async { Err(connectrpc::ConnectError::invalid_argument("no such card")) })
    });
    world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1;
        Box::pin(
            async move { if first { Err(connectrpc::ConnectError::internal("not yet")) } else { Ok(()) } },
        )
    });
    let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
    world.publish(Two { n: 1 }).await;
    world
        .execute(
            "insert into outbox.event (slot, id, name, payload)
             select last_value, gen_random_uuid(), 'event_one', '[]' from outbox.event_slot",
        )
        .await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.until("select count(*) = 1 from outbox.parked").await;
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.until_settled().await;
    world.until("select last_value > 0 from outbox.event_slot").await;
    world.until("select not exists (select from outbox.event_0)").await;

    let mut worker_role = PgConnection::connect(&worker_url).await.unwrap();
    for statement in ["select * from outbox.event", "select * from outbox.cursor", "truncate outbox.dedup_0"]
    {
        let refused = sqlx::query(statement).execute(&mut worker_role).await.expect_err(statement);
        assert!(refused.to_string().contains("permission denied"), "{statement}: {refused}");
    }
    for process in [relay, worker] {
        process.stop().await.unwrap();
    }
    world.finish().await;
}

/// Guards: a role that may create a schema, and is no superuser, can migrate and let others play their parts; and what was
/// not given to it stays closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_role_can_own_the_schema() {
    let world = World::new(ROUTER).await;
    world.execute("drop schema outbox cascade").await;
    world.execute("create table account (balance bigint not null)").await;
    let owner = format!("owner_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {owner} login")).await;
    world.execute(&format!("grant create on database {} to {owner}", world.source.name())).await;
    world.execute("create role service_of_the_plain_owner").await;

    let mut conn = PgConnection::connect(&address(&world, &owner)).await.unwrap();
    outbox_schema::migrate(&mut conn).await.unwrap();
    let granted = "select outbox.grant_to('service_of_the_plain_owner', 'publisher')";
    sqlx::query(granted).execute(&mut conn).await.unwrap();
    // It can't grant a role of the server, and says who may, and what.
    for part in ["operator", "relay"] {
        let grant = format!("select outbox.grant_to('service_of_the_plain_owner', '{part}')");
        let psql = testkit::tools::postgres_bin().unwrap().join("psql");
        let said = std::process::Command::new(psql)
            .args(["-X", "-q", "-d", &address(&world, &owner), "-c", &grant])
            .output()
            .unwrap();
        let warned = String::from_utf8(said.stderr).unwrap();
        assert!(said.status.success(), "{part}: {warned}");
        assert!(
            warned.contains("WARNING") && warned.contains("service_of_the_plain_owner"),
            "{part}: {warned}"
        );
        assert!(
            warned.contains("grant pg_read_all_stats to service_of_the_plain_owner;"),
            "{part}: {warned}"
        );
    }
    let refused = sqlx::query("select * from account").execute(&mut conn).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");

    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query("set local role service_of_the_plain_owner").execute(&mut *tx).await.unwrap();
    outbox::enqueue(&mut tx, One { n: 1 }).await.unwrap();
    tx.commit().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: a relay that may not see the sessions of other roles does not export the age of the oldest snapshot,
/// and says so once. A relay that may see them exports it.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_exports_no_age_that_it_can_not_see() {
    let world = World::new(ROUTER).await;
    let url = role(&world, "relay").await;
    let name = url.split(['/', '@']).nth(2).unwrap();
    let metric = "outbox_relay_oldest_snapshot_seconds{";
    for sees in [true, false] {
        if !sees {
            world.execute(&format!("revoke pg_read_all_stats from {name}")).await;
        }
        let mut relay = world.relay_process_in(&[("DATABASE_URL", &url)]);
        let addr = testkit::scrape::addr(&mut relay).await.unwrap();
        if !sees {
            let said = relay.wait_for("outbox_relay_oldest_snapshot_seconds").await.unwrap();
            assert!(said.contains("grant pg_read_all_stats to"), "{said}");
        }
        let mut shown = String::new();
        crate::world::until("it has looked", async || {
            shown = testkit::scrape::get(&addr, "/metrics").await.unwrap().1;
            shown.contains("outbox_relay_ring_empty_slots{") && (!sees || shown.contains(metric))
        })
        .await;
        assert_eq!(shown.contains(metric), sees, "{shown}");
        relay.stop().await.unwrap();
    }
    world.finish().await;
}
