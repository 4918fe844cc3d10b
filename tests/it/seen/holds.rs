//! Sessions that hold what the relay needs: the doorbell's lock, the lock of migrations, and slots of a ring.

use outbox::Entry;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::doctor::{assert_finds, findings};
use crate::operator::{ROUTER, Said, outbox, paste};
use crate::world::{One, World};

async fn session(world: &World, application: &str) -> (PgConnection, i32) {
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    sqlx::query("select set_config('application_name', $1, false)")
        .bind(application)
        .execute(&mut conn)
        .await
        .unwrap();
    let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut conn).await.unwrap();
    (conn, pid)
}

/// The statements that end a session, from findings that begin with `about`.
fn ends(said: &Said, about: &str) -> Vec<String> {
    let json = said.json();
    let all = json["findings"].as_array().unwrap().iter();
    let hints = all.filter(|finding| finding["message"].as_str().unwrap().contains(about));
    let lines = hints
        .flat_map(|finding| finding["hint"].as_str().unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.starts_with("select pg_terminate_backend(")).collect()
}

/// Guards promise 6: another session that holds the doorbell's lock, or the lock of migrations, is named with its effect and
/// its end. A sleeping relay is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_by_others_is_named() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.until_relay_sleeps().await;
    let name = world.source.name().to_owned();
    let said = outbox(&world, "doctor --format json").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!findings(&said).iter().any(|finding| finding.contains("doorbell")), "{said:?}");

    // Shared, by a session without a transaction.
    let (mut rider, pid) = session(&world, "joy rider").await;
    let ring = tokio::spawn(async move {
        sqlx::query("select pg_advisory_lock_shared(1869968994, 1)").execute(&mut rider).await.unwrap();
        rider
    });
    // This event waits until the relay wakes.
    world.publish(One { n: 1 }).await;
    let rider = ring.await.unwrap();
    let said = outbox(&world, "doctor --format json").await;
    assert_finds(
        &said,
        &format!("warning {name}: the doorbell's lock is held, shared, by pid {pid} (outbox, joy rider)"),
    );
    for line in ends(&said, "doorbell") {
        world.execute(&line).await;
    }
    world.until_relay_sleeps().await;
    drop(rider);

    // Exclusively, by a role that is not a relay's, in a session with the relay's name.
    let role = format!("evil_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {role} login")).await;
    let mut evil = PgConnection::connect(&world.url.replace("outbox@", &format!("{role}@"))).await.unwrap();
    sqlx::query("set application_name = 'outbox relay (leader)'").execute(&mut evil).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut evil).await.unwrap();
    let taken = tokio::spawn(async move {
        sqlx::query("select pg_advisory_lock(1869968994, 1)").execute(&mut evil).await.unwrap();
        evil
    });
    world.publish(One { n: 2 }).await;
    let evil = taken.await.unwrap();
    let (migrating, other) = session(&world, "a script").await;
    let mut migrating = migrating;
    sqlx::query("select pg_advisory_lock(1869968994, 3)").execute(&mut migrating).await.unwrap();
    let said = outbox(&world, "doctor --format json").await;
    assert_finds(
        &said,
        &format!("warning {name}: the doorbell's lock is held by pid {pid} ({role}, outbox relay (leader))"),
    );
    assert_finds(
        &said,
        &format!("warning {name}: the lock of migrations is held by pid {other} (outbox, a script)"),
    );
    let lines: Vec<String> =
        ["doorbell", "lock of migrations"].iter().flat_map(|about| ends(&said, about)).collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    for line in lines {
        world.execute(&line).await;
    }
    world.until_relay_sleeps().await;
    let said = outbox(&world, "doctor --format json").await;
    assert!(!findings(&said).iter().any(|finding| finding.contains("lock")), "{said:?}");
    drop((evil, migrating));
    world.finish().await;
}

/// Guards promise 7: a ring with all slots in use is named, with the transactions that hold them.
#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_ring_is_named_with_its_holders() {
    let cluster = testkit::cluster::Cluster::tuned(&[("max_prepared_transactions", "10")]).unwrap();
    let world = World::on(ROUTER, &cluster).await;
    let name = world.source.name().to_owned();
    for slot in 0..8 {
        world.execute(&format!("insert into outbox.event (id, name, payload, slot) values (gen_random_uuid(), 'event_one', '{{}}', {slot})")).await;
    }
    world.execute("select setval('outbox.event_slot', 7)").await;
    // The pointer advanced every hour, and should have advanced an hour ago.
    world.execute("update outbox.ring set entered_at = clock_timestamp() - make_interval(hours => 9 - slot), put_at = clock_timestamp() where ring = 'event'").await;
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select pg_current_snapshot()::text, 8, 8, system_identifier, 'test', 0 from pg_control_system()",
        )
        .await;
    let (mut open, pid) = session(&world, "batch").await;
    let hold = "begin; insert into outbox.event (id, name, payload, slot) values (gen_random_uuid(), 'event_one', '{}', 3)";
    sqlx::raw_sql(hold).execute(&mut open).await.unwrap();
    let (mut dump, reader) = session(&world, "pg_dump").await;
    sqlx::raw_sql("begin; select from outbox.event_5").execute(&mut dump).await.unwrap();
    let (mut third, _) = session(&world, "two-phase").await;
    let prepare = "begin; insert into outbox.event (id, name, payload, slot) values (gen_random_uuid(), 'event_one', '{}', 4); prepare transaction 'it''s open'";
    sqlx::raw_sql(prepare).execute(&mut third).await.unwrap();

    let said = outbox(&world, "status").await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains(&format!("the event ring of {name} can't turn")), "{said:?}");
    let said = outbox(&world, "doctor --format json").await;
    assert_finds(&said, &format!("warning {name}: the event ring can't turn: all of its slots are in use"));
    assert_finds(
        &said,
        &format!(
            "warning {name}: slot 3 of the event ring is held by pid {pid} (outbox, batch), which writes"
        ),
    );
    assert_finds(
        &said,
        &format!(
            "warning {name}: slot 5 of the event ring is held by pid {reader} (outbox, pg_dump), which reads"
        ),
    );
    assert_finds(
        &said,
        &format!("warning {name}: slot 4 of the event ring is held by the prepared transaction 'it''s open'"),
    );
    let statements: Vec<String> = said.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["message"].as_str().unwrap().contains("of the event ring is held"))
        .flat_map(|finding| finding["hint"].as_str().unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.starts_with("select pg_terminate") || line.starts_with("rollback prepared"))
        .collect();
    assert_eq!(statements.len(), 3, "{said:?}");
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await.unwrap();
    }
    world.until("select count(*) = 0 from pg_locks as l join pg_class as c on c.oid = l.relation where c.relname like 'event\\__' and l.pid is distinct from pg_backend_pid()").await;
    world.execute("truncate outbox.event_1").await;
    let said = outbox(&world, "doctor --format json").await;
    assert!(!findings(&said).iter().any(|finding| finding.contains("event ring")), "{said:?}");
    world.finish().await;
}

/// Guards promises 6 and 8: counting the waiting events does not walk over an open transaction's rows, for a whole window
/// and for pages.
#[tokio::test(flavor = "multi_thread")]
async fn uncommitted_rows_cost_the_count_nothing() {
    const UNCOMMITTED: i64 = 20_000;
    let read = "select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_all_indexes where schemaname = 'outbox' and relname like 'event\\__'";
    let gone = "select not exists (select from pg_stat_activity where application_name = 'outbox command' and datname = current_database())";
    for by_page in [false, true] {
        let world = World::new(ROUTER).await;
        let cursor =
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select pg_current_snapshot()::text, 0, 0, system_identifier, 'test', 0 from pg_control_system()";
        world.execute(cursor).await;
        let first = world.publish(One { n: 1 }).await;
        if by_page {
            let page = "insert into outbox.cursor (snapshot, page_snapshot, page_seq, page_end_seq, last_seq, floor_seq, system_identifier, relay, slot)
                 select snapshot, pg_current_snapshot()::text, 0, 1, 0, 0, system_identifier, 'test', 0 from outbox.newest_cursor";
            world.execute(page).await;
        }
        let mut open = world.pool.begin().await.unwrap();
        outbox::enqueue_all(&mut open, (0..UNCOMMITTED).map(|n| Entry::new(One { n }))).await.unwrap();
        let second = world.publish(One { n: 2 }).await;
        let before: i64 = world.scalar(read).await;
        let source = outbox(&world, "status --format json").await.json()["sources"][0].clone();
        let waiting = (source["waiting_events"].as_i64(), &source["oldest_event"]);
        assert_eq!(waiting, (Some(2), &serde_json::json!(first)), "{source}");
        world.until(gone).await;
        let walked = world.scalar::<i64>(read).await - before;
        assert!(walked < UNCOMMITTED, "walked over {walked} entries, by page: {by_page}");
        let life = outbox(&world, &format!("why {second} --format json")).await.json();
        assert_eq!(life["waiting"]["events_ahead"], 1, "{life}");
        open.rollback().await.unwrap();
        world.finish().await;
    }
}

/// Guards promise 8: after `grant_to` a role has the privileges it needs, and `doctor` reports no finding for each part.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_accepts_the_grants_of_grant_to() {
    let mut world = World::new(ROUTER).await;
    crate::operator::publish_malformed(&world).await;
    world.relay();
    world.until("select count(*) = 1 from outbox.parked").await;
    world.until_relay_sleeps().await;
    let router = world.router_file.display().to_string();
    for part in ["relay", "worker", "operator"] {
        let role = format!("{part}_{:08x}", fastrand::u32(..));
        world.execute(&format!("create role {role} login")).await;
        world.execute(&format!("select outbox.grant_to('{role}', '{part}')")).await;
        let url = world.url.replace("outbox@", &format!("{role}@"));
        let look = async |format: &str| {
            paste(
                &[("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", &router)],
                &format!("outbox doctor {format}"),
            )
            .await
        };
        let said = look("--format json").await;
        let program = if part == "operator" { "an operator" } else { part };
        assert_finds(&said, &format!("ok {}: {role} may do what {program} does", world.source.name()));
        assert_eq!(said.code, 0, "{said:?}");
        if part == "worker" {
            assert_finds(&said, &format!("warning {}: {role} does not see how old", world.source.name()));
        }
        if part == "operator" {
            let said = look("").await;
            assert!(said.code == 0 && said.out.ends_with("All is well."), "{said:?}");
            let env = [("DATABASE_URL", url.as_str()), ("OUTBOX_ROUTER", router.as_str())];
            let status = paste(&env, "outbox status --format json").await.json();
            let problems: Vec<_> =
                status["problems"].as_array().unwrap().iter().map(|problem| &problem["command"]).collect();
            assert_eq!(problems, ["outbox parked list"], "{status}");
            assert!(status["rpcs"][0]["oldest_seconds"].is_null(), "nothing waits: {status}");
            // A notification wakes the sleeping relay, too.
            world.until_relay_sleeps().await;
            for command in [
                "parked retry --all",
                "why 0198c7e2-0000-7000-8000-000000000001",
                "dlq list",
                "audit",
                "replay --since 1h",
                "parked list",
            ] {
                let said = paste(&env, &format!("outbox {command}")).await;
                assert!(said.code <= 1 && !said.err.contains("may not"), "{command}: {said:?}");
            }
            world.until("select count(*) = 1 from outbox.parked where seq > 1").await;
        }
    }
    world.finish().await;
}
