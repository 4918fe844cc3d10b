//! All parts on each supported version of Postgres, with the roles of a managed service; and the newest version that is
//! refused.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::cluster::Cluster;
use testkit::process::Process;
use testkit::servers;
use uuid::Uuid;

use crate::operator::{n, outbox, paste, publish_malformed};
use crate::processes::assert_stops_cleanly;
use crate::role::{address, role};
use crate::world::{One, ROUTER, Two, World, new_database, programs};

/// Guards promises 1, 2, 3, 7 and 8 on PostgreSQL 14.
#[tokio::test(flavor = "multi_thread")]
async fn the_line_works_on_postgres_14() {
    the_line_works_on(14).await;
}

/// Guards promises 1, 2, 3, 7 and 8 on PostgreSQL 15.
#[tokio::test(flavor = "multi_thread")]
async fn the_line_works_on_postgres_15() {
    the_line_works_on(15).await;
}

/// Guards promises 1, 2, 3, 7 and 8 on PostgreSQL 16.
#[tokio::test(flavor = "multi_thread")]
async fn the_line_works_on_postgres_16() {
    the_line_works_on(16).await;
}

/// Guards promises 1, 2, 3, 7 and 8 on PostgreSQL 17.
#[tokio::test(flavor = "multi_thread")]
async fn the_line_works_on_postgres_17() {
    the_line_works_on(17).await;
}

/// Guards promises 1, 2, 3, 7 and 8 on PostgreSQL 18.
#[tokio::test(flavor = "multi_thread")]
async fn the_line_works_on_postgres_18() {
    the_line_works_on(18).await;
}

/// Guards: each supported version has its test above.
#[test]
fn every_supported_version_is_tested() {
    let tests = include_str!("versions.rs");
    for version in servers::SUPPORTED {
        assert!(tests.contains(&format!("    the_line_works_on({version}).await;")), "{version}");
    }
}

/// Guards: `relay migrate`, relay, worker and `outbox` refuse a server that is too old, name its version, and make nothing
/// in it.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_is_refused() {
    let Some(server) = server(servers::TOO_OLD) else { return };
    // The world is on the machine's own Postgres: its RPCs and router file do not depend on the server.
    let world = World::new(ROUTER).await;
    let cluster = Cluster::of(&server, &[]).unwrap();
    let url = new_database(&cluster).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let version: String = sqlx::query_scalar("show server_version").fetch_one(&mut conn).await.unwrap();
    let refused = format!("the server is PostgreSQL {version}: 14 or newer is needed");

    let env = [("DATABASE_URL", url.as_str())];
    for mut process in [
        Process::start(&programs().join("relay"), ["migrate"], &env).unwrap(),
        world.relay_process_in(&env),
        world.worker_process_in(&env, &[]),
    ] {
        process.wait_for(&refused).await.unwrap();
        assert_eq!(process.ended().await.unwrap().code(), Some(3));
    }
    let schema = "select to_regnamespace('outbox') is not null";
    assert!(!sqlx::query_scalar::<_, bool>(schema).fetch_one(&mut conn).await.unwrap());
    let status = paste(&env, "outbox status").await;
    assert!(status.code == 3 && status.err.contains(&refused), "{status:?}");
    let doctor = paste(&env, "outbox doctor --format json").await.json();
    let of_versions: Vec<&Value> = doctor["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["message"].as_str().unwrap().contains(&version))
        .collect();
    assert_eq!(of_versions.len(), 1, "it is said once: {doctor:#}");
    assert_eq!(of_versions[0]["severity"], "error");
    assert_eq!(of_versions[0]["hint"], "14 or newer is needed");
    world.finish().await;
}

/// The server of that version. `None`, reported loudly, if it can't be installed; in CI that is a failure.
pub(super) fn server(version: u32) -> Option<PathBuf> {
    match servers::unpacked(version) {
        Ok(server) => Some(server),
        Err(problem) => {
            // Not eprintln: the output of a passing test is not shown.
            let _ = writeln!(
                std::io::stderr(),
                "\n!!! NOT TESTED: PostgreSQL {version}, because its server can't be installed:\n{problem}\n"
            );
            assert!(std::env::var_os("CI").is_none(), "in CI PostgreSQL {version} must be tested");
            None
        }
    }
}

/// Publishes events, from SQL and from Rust, before and after a restart of the server, with events in every state. Every
/// event is delivered once, each command of `outbox` sees it, and in the end the rings are empty again.
async fn the_line_works_on(version: u32) {
    let Some(server) = server(version) else { return };
    let settings = [("wal_level", "logical")];
    let (world, cluster) = World::with_own(ROUTER, || Cluster::of(&server, &settings).unwrap()).await;
    // A service with logical replication has such a publication. Postgres then refuses some changes of tables without a key.
    world.execute("create publication everything for all tables").await;
    let found: String = world.scalar("show server_version").await;
    assert!(found.starts_with(&format!("{version}.")), "{found}");
    a_plain_role_migrates(&cluster).await;

    let roles = Roles::of(&world).await;
    let relay = world.relay_process_in(&[("DATABASE_URL", &roles.relay)]);
    let worker = world.worker_process_in(&[("DATABASE_URL", &roles.worker)], &[]);
    let up = services_that_are_down(&world);
    let mut published = publish(&world, &roles.publisher).await;
    let refused = world.publish(One { n: 13 }).await;
    publish_malformed(&world).await;
    until_in_every_state(&world, &published).await;

    relay.signal("STOP").unwrap();
    let unput = world.publish(One { n: 1 }).await;
    cluster.shut_down().unwrap();
    cluster.restart(&[]).unwrap();
    relay.signal("CONT").unwrap();

    up.store(true, Ordering::SeqCst);
    let after = publish(&world, &roles.publisher).await;
    published.ones.extend([unput, refused].into_iter().chain(after.ones));
    published.twos.extend(after.twos);
    operate(&world, &roles.operator).await;
    for rpc in ["Test/TwoA", "Other/TwoB"] {
        world.rpcs.until_done(rpc, &published.twos).await;
    }
    world.rpcs.until_done("Test/One", &published.ones).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.succeeded().len(), published.ones.len() + 2 * published.twos.len());
    all_is_said_to_be_well(&world, &roles.operator, &published).await;

    assert_stops_cleanly(relay).await;
    rings_turn(&world, &roles.relay).await;
    assert_stops_cleanly(worker).await;
    world.finish().await;
}

/// As on a managed service, which gives out no superuser.
async fn a_plain_role_migrates(cluster: &Cluster) {
    let url = new_database(cluster).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let name = url.rsplit('/').next().unwrap();
    for statement in [
        "create role plain_owner login".to_owned(),
        format!("grant create on database {name} to plain_owner"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await.unwrap();
    }
    let env = [("DATABASE_URL", url.replace("outbox@", "plain_owner@"))];
    let to = outbox_schema::VERSION;
    for says in [
        format!("migrated the outbox schema from version 0 to {to}"),
        format!("at version {to}: nothing to do"),
    ] {
        let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut migrate = Process::start(&programs().join("relay"), ["migrate"], &env).unwrap();
        migrate.wait_for(&says).await.unwrap();
        assert!(migrate.ended().await.unwrap().success());
    }
    outbox_schema::inbox::migrate(&mut PgConnection::connect(&env[0].1).await.unwrap()).await.unwrap();
    sqlx::query("select outbox.inbox_grant_to('plain_owner')").execute(&mut conn).await.unwrap();
    for expected in [true, false] {
        let mut tx = conn.begin().await.unwrap();
        assert_eq!(
            outbox::inbox::first_time(&mut tx, EventId::from(Uuid::nil()), "A/B").await.unwrap(),
            expected
        );
        tx.commit().await.unwrap();
    }
    sqlx::query("update outbox.inbox set noted_at = noted_at - interval '36 days'")
        .execute(&mut conn)
        .await
        .unwrap();
    outbox::inbox::expire(&mut conn).await.unwrap();
    let notes: i64 =
        sqlx::query_scalar("select count(*) from outbox.inbox").fetch_one(&mut conn).await.unwrap();
    assert_eq!(notes, 0);
}

/// The addresses with which each part connects, as a role with least privileges.
struct Roles {
    publisher: PgPool,
    relay: String,
    worker: String,
    operator: String,
}

impl Roles {
    async fn of(world: &World) -> Self {
        let operator = role(world, "operator").await;
        let name = operator.split(['/', '@']).nth(2).unwrap();
        world.execute(&format!("grant pg_read_all_stats to {name}")).await;
        Self {
            publisher: PgPoolOptions::new().connect(&role(world, "publisher").await).await.unwrap(),
            relay: role(world, "relay").await,
            worker: role(world, "worker").await,
            operator,
        }
    }
}

struct Published {
    ones: Vec<EventId>,
    twos: Vec<EventId>,
}

/// Test/One refuses the event 13, and Test/TwoA all of its events, until the flag is set.
fn services_that_are_down(world: &World) -> Arc<AtomicBool> {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    world.rpcs.on("Test/One", move |called| {
        let refuses = n(called) == 13 && !is_up.load(Ordering::SeqCst);
        Box::pin(
            async move { if refuses { Err(ConnectError::invalid_argument("no such card")) } else { Ok(()) } },
        )
    });
    let is_up = Arc::clone(&up);
    world.rpcs.on("Test/TwoA", move |_| {
        let refuses = !is_up.load(Ordering::SeqCst);
        Box::pin(async move { if refuses { Err(ConnectError::unavailable("down")) } else { Ok(()) } })
    });
    up
}

/// Publishes in every form, as a role with least privileges.
async fn publish(world: &World, publisher: &PgPool) -> Published {
    let mut ones = Vec::new();
    for enqueue in [
        r#"select outbox.enqueue('event_one', '{"n":1}')"#,
        r#"select outbox.enqueue('event_one', '{"n":2}', 'key-2', '{"tenant":"t-1"}')"#,
    ] {
        let id: Uuid = sqlx::query_scalar(enqueue).fetch_one(publisher).await.unwrap();
        ones.push(EventId::from(id));
    }
    let mut tx = publisher.begin().await.unwrap();
    ones.push(Entry::new(One { n: 3 }).key("key-2").header("tenant", "t-1").enqueue(&mut tx).await.unwrap());
    ones.extend(outbox::enqueue_all(&mut tx, (20..40).map(|n| Entry::new(One { n }))).await.unwrap());
    let two = outbox::enqueue(&mut tx, Two { n: 1 }).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = publisher.begin().await.unwrap();
    let never = outbox::enqueue(&mut tx, One { n: 4 }).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(world.rpcs.calls_of(never).is_empty());
    Published { ones, twos: vec![two] }
}

/// Waits until events are done and recorded, waiting for a retry, dead, and parked.
async fn until_in_every_state(world: &World, published: &Published) {
    world.rpcs.until_done("Test/One", &published.ones).await;
    let done = published.ones.len() + published.twos.len();
    for state in [
        &format!("select count(*) = {done} from outbox.done"),
        "select count(*) = 1 from outbox.retry where last_code = 'unavailable'",
        "select count(*) = 1 from outbox.dead_letter where code = 'invalid_argument'",
        "select count(*) = 1 from outbox.parked",
    ] {
        world.until(state).await;
    }
}

/// Runs a command of `outbox` as a role, and expects exit code 0.
async fn operator(world: &World, url: &str, args: &str) -> crate::operator::Said {
    let router = world.router_file.display().to_string();
    let said = paste(&[("DATABASE_URL", url), ("OUTBOX_ROUTER", &router)], &format!("outbox {args}")).await;
    assert_eq!(said.code, 0, "{args}: {said:?}");
    said
}

/// Runs the commands that repair.
async fn operate(world: &World, url: &str) {
    let says = async |args: &str| operator(world, url, args).await.out;
    assert_eq!(says("dlq redrive --rpc Test/One").await, "redriven 1 dead letter");
    assert_eq!(says("parked drop --yes --all").await, "dropped 1 parked event");
    assert!(says("replay --since 1h --rpc Other/TwoB --run").await.contains("had been done before"));
    assert!(says("audit").await.contains("dlq redrive"));
}

async fn all_is_said_to_be_well(world: &World, url: &str, published: &Published) {
    let status = operator(world, url, "status --format json").await.json();
    assert_eq!(status["problems"], json!([]));
    for event in published.ones.iter().take(3).chain(&published.twos) {
        let why = operator(world, url, &format!("why {event} --format json")).await.json();
        assert_eq!((&why["found"], &why["deliveries"][0]["state"]), (&json!(true), &json!("done")), "{why}");
    }
    for args in ["dlq list", "parked list", "routes"] {
        operator(world, url, args).await;
    }
    let endpoints = world.endpoints().join(" --endpoint ");
    let doctor = outbox(world, &format!("doctor --endpoint {endpoints}")).await;
    assert!(doctor.code == 0 && doctor.out.ends_with("All is well."), "{doctor:?}");
}

/// With a retention of one second, every slot is left and truncated without an error.
async fn rings_turn(world: &World, url: &str) {
    let env = [("DATABASE_URL", url), ("OUTBOX_RETENTION", "1s")];
    let mut relay = world.relay_process_in(&env);
    relay.wait_for("leading").await.unwrap();
    let mut lines = relay.take_lines();
    for ring in ["event", "delivery"] {
        world.until(&format!("select not exists (select from outbox.{ring})")).await;
    }
    relay.stop().await.unwrap();
    while let Some(line) = lines.recv().await {
        assert!(!line.contains("retention failed"), "{line}");
    }
    // Functions that are called only after weeks.
    let truncated =
        "select bool_or(outbox.truncate_dedup(slot::smallint, '0', now() + interval '12 days') = 'truncated')
         from generate_series(0, 4) as slot";
    assert!(sqlx::query_scalar::<_, bool>(truncated).fetch_one(&world.pool).await.unwrap());
    let mut owner = PgConnection::connect(&address(world, "outbox")).await.unwrap();
    for statement in ["select outbox.evict_to_retry(0::smallint, 1)", "select outbox.recover(1, 0)"] {
        let moved: i64 = sqlx::query_scalar(statement).fetch_one(&mut owner).await.unwrap();
        assert_eq!(moved, 0, "{statement}");
    }
}
