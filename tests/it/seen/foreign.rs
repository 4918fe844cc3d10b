//! An outbox that was copied from another server: its cursor, rows and sequences have another meaning here.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::cluster::Cluster;

use super::doctor::assert_finds;
use crate::operator::{ROUTER, outbox, paste};
use crate::world::{One, World, migrated_database};

/// A row that was copied from another server: its transaction id differs from the xid that wrote it here.
const FOREIGN: &str =
    "insert into outbox.cursor (xid, snapshot, last_seq, floor_seq, system_identifier, relay, slot)
     select '5', pg_current_snapshot()::text, 1, 0, system_identifier, 'theirs', 0 from pg_control_system()";

/// Guards promises 2 and 8: under another server's cursor no event is shown as put or as waiting. `status` and `doctor`
/// explain why.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_foreign_cursor_no_event_is_shown_as_put() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    world.worker();
    let before = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[before]).await;
    relay.cancel();
    world.until("select not exists (select from pg_stat_activity where application_name like 'outbox relay%' and datname = current_database())").await;
    let after = world.publish(One { n: 2 }).await;
    world.execute(FOREIGN).await;

    for id in [before, after] {
        let said = outbox(&world, &format!("why {id} --format json")).await;
        let life = said.json();
        assert_eq!((&life["put"], &life["waiting"]), (&Value::Null, &Value::Null), "{life}");
        let told = outbox(&world, &format!("why {id}")).await.out;
        assert!(told.contains("not known: the cursor is of another server"), "{told}");
    }
    let said = outbox(&world, "status --format json").await;
    let source = said.json()["sources"][0].clone();
    assert_eq!(
        (said.code, &source["waiting_events"], &source["lag_seconds"]),
        (1, &Value::Null, &Value::Null)
    );
    assert!(said.json()["problems"].to_string().contains("the cursor is of another server"), "{said:?}");
    let told = outbox(&world, "status").await.out;
    assert!(!told.contains("Nothing is stuck") && told.contains("not known"), "{told}");
    let said = outbox(&world, "doctor --format json").await;
    assert_finds(&said, &format!("warning {}: the cursor is of another server", world.source.name()));
    assert!(said.out.contains("re-seeds"), "{said:?}");

    // A relay re-seeds by itself, and the commands show again which events were put.
    world.relay();
    world.rpcs.until_done("Test/One", &[after]).await;
    for id in [before, after] {
        let life = outbox(&world, &format!("why {id} --format json")).await.json();
        assert!(life["put"].is_object(), "{life}");
    }
    let put = outbox(&world, &format!("why {before} --format json")).await.json();
    assert!(put["put"]["before"].is_string() && put["put"]["relay"].is_null(), "{put}");
    world.finish().await;
}

/// Guards promise 8: an event that arrived after the cursor, by a way that the relay does not see, is not shown as put. No
/// event is shown as put before it was enqueued.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_put_before_it_came() {
    let world = World::new(ROUTER).await;
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select pg_current_snapshot()::text, 0, 0, system_identifier, 'test', 0 from pg_control_system()",
        )
        .await;
    let copied: uuid::Uuid = world
        .scalar(
            "with copied as (
                 insert into outbox.event (xid, id, name, payload, slot) values ('3', gen_random_uuid(), 'event_one', '{}', 0) returning id
             ) select id from copied",
        )
        .await;
    let life = outbox(&world, &format!("why {copied} --format json")).await.json();
    assert_eq!(life["put"], Value::Null, "{life}");
    let told = outbox(&world, &format!("why {copied}")).await.out;
    assert!(told.contains("not known: ") && told.contains("copied"), "{told}");

    // A clock was changed: the event was put, and the time can't be right.
    let ahead: uuid::Uuid = world
        .scalar(
            "with ahead as (
                 insert into outbox.event (id, name, payload, slot, occurred_at)
                 values (gen_random_uuid(), 'event_one', '{}', 0, now() + interval '1 hour') returning id
             ) select id from ahead",
        )
        .await;
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select pg_current_snapshot()::text, 0, 0, system_identifier, 'test', 0 from pg_control_system()",
        )
        .await;
    let life = outbox(&world, &format!("why {ahead} --format json")).await.json();
    assert_eq!((&life["put"]["relay"], &life["put"]["at"]), (&json!("test"), &Value::Null), "{life}");
    let told = outbox(&world, &format!("why {ahead}")).await.out;
    assert!(told.contains("put       by test, at a time that is not known"), "{told}");
    world.finish().await;
}

/// Guards promises 2 and 8: `status` and `doctor` name sequences that are behind their tables, with the statement that
/// corrects them.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_behind_their_tables_are_named() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let ids = world.publish_all((0..20).map(|n| outbox::Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &[ids[0]]).await;
    world.until_settled().await;
    world.until_relay_sleeps().await;
    assert_eq!(outbox(&world, "status").await.code, 0);
    world.execute("select setval('outbox.event_seq', 3), setval('outbox.delivery_seq', 2)").await;
    let said = outbox(&world, "status").await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(!said.out.contains("Nothing is stuck") && said.out.contains("event_seq"), "{said:?}");
    let said = outbox(&world, "doctor --format json").await;
    let name = world.source.name();
    assert_finds(
        &said,
        &format!("warning {name}: the sequence event_seq is behind its table: it stands at 3"),
    );
    assert_finds(
        &said,
        &format!("warning {name}: the sequence delivery_seq is behind its table: it stands at 2"),
    );
    let statement = said.json()["findings"].as_array().unwrap().iter().find_map(|finding| {
        let hint = finding["hint"].as_str()?;
        hint.lines().find(|line| line.starts_with("select outbox.check_sequences(true)")).map(str::to_owned)
    });
    world.execute(&statement.expect("a statement to paste")).await;
    let said = outbox(&world, "status").await;
    assert_eq!(said.code, 0, "{said:?}");
    world.finish().await;
}

/// Guards promises 2 and 8: a subscription that fills the outbox's tables is named, unless it is disabled. So is a
/// publication that contains them.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_fills_the_tables_is_named() {
    let cluster = Cluster::tuned(&[("wal_level", "logical")]).unwrap();
    let world = World::on(ROUTER, &cluster).await;
    let origin = migrated_database(&cluster).await;
    let mut theirs = PgConnection::connect(&origin).await.unwrap();
    let name = world.source.name();
    for statement in [
        "create publication everything for all tables",
        "select pg_create_logical_replication_slot('carried', 'pgoutput')",
    ] {
        sqlx::query(statement).execute(&mut theirs).await.unwrap();
    }
    let database = origin.rsplit('/').next().unwrap();
    let connection = format!("host=127.0.0.1 port={} dbname={database} user=outbox", cluster.port());
    let mut ours = PgConnection::connect(&world.url).await.unwrap();
    let subscribe = format!(
        "create subscription \"Theirs\" connection '{connection}' publication everything
         with (create_slot = false, slot_name = carried, copy_data = false)"
    );
    sqlx::query(AssertSqlSafe(subscribe)).execute(&mut ours).await.unwrap();
    let said = outbox(&world, "doctor --format json").await;
    assert_finds(&said, &format!("error {name}: the subscription \"Theirs\" fills the tables of outbox"));
    let hint = said.json()["findings"].as_array().unwrap().iter().find_map(|finding| {
        finding["message"]
            .as_str()?
            .contains("\"Theirs\"")
            .then(|| finding["hint"].as_str().unwrap().to_owned())
    });
    let disable =
        hint.unwrap().lines().find(|line| line.starts_with("alter subscription")).unwrap().to_owned();
    sqlx::raw_sql(AssertSqlSafe(disable)).execute(&mut ours).await.unwrap();
    let said = outbox(&world, "doctor").await;
    assert!(!said.out.contains("fills the tables"), "{said:?}");

    let router = world.router_file.display().to_string();
    let env = [("DATABASE_URL", origin.as_str()), ("OUTBOX_ROUTER", &router)];
    let said = paste(&env, "outbox doctor --format json").await;
    assert_finds(&said, &format!("ok {database}: the publication \"everything\" carries tables of outbox"));
    for statement in ["alter subscription \"Theirs\" set (slot_name = none)", "drop subscription \"Theirs\""]
    {
        sqlx::query(statement).execute(&mut ours).await.unwrap();
    }
    world.finish().await;
}

/// Guards promise 8: an unfinished restore of the schema is named, with the remedy.
#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_schema_is_named() {
    let world = World::new(ROUTER).await;
    world.execute("drop index outbox.retry_due").await;
    let said = outbox(&world, "doctor --format json").await;
    assert_finds(
        &said,
        &format!(
            "error {}: the outbox schema is not whole: its index retry_due is missing",
            world.source.name()
        ),
    );
    assert!(
        said.out.contains("pg_restore -1") && !said.out.contains("may not read the schema's version"),
        "{said:?}"
    );
    world.finish().await;
}
