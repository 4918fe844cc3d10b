//! Databases that are copied, restored or upgraded: transaction ids belong to one server's history.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outbox::{Entry, EventId};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testkit::cluster::{Cluster, as_owner};
use testkit::tools;

use crate::world::{One, ROUTER, World, cluster};

/// A physical copy of a stopped cluster: it has the same system identifier, and draws its own transaction ids from then on.
struct Copy {
    bin: PathBuf,
    data: PathBuf,
    port: u16,
}

impl Copy {
    /// Stops the original to copy it, and starts it again.
    fn of(original: &Cluster) -> Self {
        let bin = tools::postgres_bin().unwrap();
        let data = original.dir().join("copy");
        original.crash().unwrap();
        run(as_owner("cp").arg("-a").arg(original.dir().join("data")).arg(&data));
        original.restart(&[]).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let copy = Self { bin, data, port };
        copy.pg_ctl(&[
            "-o",
            &format!("-p {port}"),
            "-l",
            &copy.data.join("log").display().to_string(),
            "-w",
            "start",
        ]);
        copy
    }

    fn pg_ctl(&self, args: &[&str]) {
        run(as_owner(&self.bin.join("pg_ctl").display().to_string()).arg("-D").arg(&self.data).args(args));
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://outbox@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.pg_ctl(&["-m", "immediate", "stop"]);
    }
}

fn run(command: &mut Command) {
    let status =
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success(), "{command:?}");
}

/// Runs `pg_dump | psql`, with more options of pg_dump.
async fn dump(from: &str, to: &str, options: &[&str], file: &Path) {
    let bin = tools::postgres_bin().unwrap();
    run(as_owner(&bin.join("pg_dump").display().to_string())
        .args(options)
        .arg("-f")
        .arg(file)
        .arg("-d")
        .arg(from));
    run(as_owner(&bin.join("psql").display().to_string())
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to, "-f"])
        .arg(file));
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// Draws transaction ids that no event has.
async fn burn_xids(url: &str, transactions: i32) {
    let mut conn = connect(url).await;
    let burn = format!(
        "do $$ begin for n in 1..{transactions} loop perform pg_current_xact_id(); commit; end loop; end $$"
    );
    conn.execute(AssertSqlSafe(burn)).await.unwrap();
}

async fn sql_publish(url: &str, n: i64) -> EventId {
    let id: uuid::Uuid = sqlx::query_scalar("select outbox.enqueue('event_one', $1)")
        .bind(format!("{{\"n\":{n}}}"))
        .fetch_one(&mut connect(url).await)
        .await
        .unwrap();
    id.into()
}

/// Guards promises 2 and 8: the system identifier is the same, but the transaction ids are others, as after logical
/// replication or a restore into a physical copy. The relay recognises the cursor as another history's. Events that are
/// published there arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_in_a_physical_copy_is_not_believed() {
    let own = Cluster::start().unwrap();
    let mut world = World::on(ROUTER, &own).await;
    let copy = Copy::of(&own);
    // The original goes on, so that its transaction ids run ahead of the copy's.
    world.pool = PgPoolOptions::new().connect(&world.url).await.unwrap();
    let (stop_relay, stop_worker) = (world.relay(), world.worker());
    let before = world.publish_all((0..30).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &before).await;
    burn_xids(&world.url, 10_000).await;
    let last = world.publish(One { n: 30 }).await;
    world.rpcs.until_done("Test/One", &[last]).await;
    world.until_settled().await;
    stop_relay.cancel();
    stop_worker.cancel();

    let name = world.source.name().to_owned();
    let mut admin = connect(&copy.url("postgres")).await;
    admin.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await.unwrap();
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    dump(&world.url, &copy.url(&name), &[], &own.dir().join("dump.sql")).await;
    let url = copy.url(&name);
    let ours: bool = sqlx::query_scalar("select ours from outbox.newest_cursor")
        .fetch_one(&mut connect(&url).await)
        .await
        .unwrap();
    assert!(!ours, "the copied cursor must not be believed");

    let mut fresh = Vec::new();
    for n in 31..36 {
        fresh.push(sql_publish(&url, n).await);
    }
    world.source = url.parse().unwrap();
    let calls = world.rpcs.calls().len();
    world.relay();
    world.worker();
    world.rpcs.until_done("Test/One", &fresh).await;
    fresh.push(sql_publish(&url, 36).await);
    world.rpcs.until_done("Test/One", &fresh).await;
    assert_eq!(world.rpcs.calls().len(), calls + fresh.len(), "what was put is not put again");
    world.finish().await;
}

/// Guards promise 2: a saved xmax above this server's xids belongs to another history, regardless of how its row looks.
#[tokio::test(flavor = "multi_thread")]
async fn an_xmax_of_the_future_is_not_believed() {
    let mut world = World::new(ROUTER).await;
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
         select '2000000000:2000000000:', 0, 0, system_identifier, 'elsewhere', 0 from pg_control_system()",
        )
        .await;
    let id = world.publish(One { n: 1 }).await;
    world.relay();
    world.worker();
    world.rpcs.until_done("Test/One", &[id]).await;
    world.finish().await;
}

/// Guards promise 2: events that another history's cursor counts as put are not truncated, even while no relay leads.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_another_history_are_kept() {
    let mut world = World::new(ROUTER).await;
    let stop = world.relay();
    world.publish(One { n: 1 }).await;
    world.until("select count(*) = 1 from outbox.delivery").await;
    world.stop_relay(&stop).await;
    // As retention does, with a retention time of zero.
    const TRUNCATE: &str = "select outbox.truncate_slot('event', 0::smallint, '0', 0)";
    // The row was copied, without its xmin.
    world.execute("update outbox.cursor set relay = relay || '?'").await;
    assert_eq!(world.scalar::<String>(TRUNCATE).await, "kept");
    world
        .execute(
            "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select snapshot, last_seq, floor_seq, system_identifier, relay, slot from outbox.newest_cursor",
        )
        .await;
    assert_eq!(world.scalar::<String>(TRUNCATE).await, "truncated");
    world.finish().await;
}

/// Guards promises 2 and 6: a re-seed works with a publication of all tables, and under any statement_timeout of the
/// database. Where ids continue, it rewrites nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reseed_works_with_a_publication_and_a_timeout() {
    let own = Cluster::tuned(&[("wal_level", "logical")]).unwrap();
    let mut world = World::on(ROUTER, &own).await;
    let name = world.source.name().to_owned();
    world.execute(
        "insert into outbox.event (id, name, payload, slot)
         select outbox.uuid_v7(), 'event_unrouted', '{\"text\":\"' || repeat('x', 200) || '\"}', 0 from generate_series(1, 60000)",
    )
    .await;
    let put = world.publish(One { n: 0 }).await;
    let (stop_relay, stop_worker) = (world.relay(), world.worker());
    world.rpcs.until_done("Test/One", &[put]).await;
    world.until_settled().await;
    stop_worker.cancel();
    world.stop_relay(&stop_relay).await;
    // The cursor of a server whose ids were far ahead: every row must get another one.
    connect(&world.url)
        .await
        .execute("set statement_timeout = 0; update outbox.event set xid = '1500000000'")
        .await
        .unwrap();
    world.execute("insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
         select '1600000000:1600000000:', last_seq, floor_seq, system_identifier, relay, slot from outbox.newest_cursor").await;
    world.execute("create publication everything for all tables").await;
    world.execute(&format!("alter database {name} set statement_timeout = '50ms'")).await;
    let fresh = world.publish(One { n: 1 }).await;
    world.relay();
    world.worker();
    world.rpcs.until_done("Test/One", &[fresh]).await;
    assert_eq!(world.rpcs.calls().len(), 2);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.event where xid = '1500000000'").await, 0);
    world.finish().await;
}

/// Guards promise 6: pg_upgrade gives a new identifier and continues the ids. The cursor is believed, and no row is
/// rewritten.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_place_rewrites_nothing() {
    let mut world = World::new(ROUTER).await;
    let stop = world.relay();
    world.worker();
    let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.stop_relay(&stop).await;
    // As if this data had been given another system identifier. The newest rows name the old one, and their own xids prove
    // that they were written here.
    for _ in 0..2 {
        world
            .execute(
                "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
             select snapshot, last_seq, floor_seq, 42, relay, slot from outbox.newest_cursor",
            )
            .await;
    }
    let missed = world.publish(One { n: 20 }).await;
    let versions = "select array_agg(ctid::text || xmin order by seq) from outbox.event";
    let before: Vec<String> = world.scalar(versions).await;
    world.relay();
    world.rpcs.until_done("Test/One", &[missed]).await;
    let after: Vec<String> = world.scalar(versions).await;
    assert_eq!(before, after);
    assert_eq!(world.rpcs.calls().len(), 21);
    world.finish().await;
}

/// Guards promise 2: a subscription that still fills these tables brings rows with another server's transaction ids. The
/// relay names the subscription and the remedy, and does not lead before it is disabled.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_still_filled_is_not_led() {
    let own = Cluster::tuned(&[("wal_level", "logical")]).unwrap();
    let mut world = World::on(ROUTER, &own).await;
    let filled = crate::world::migrated_database(&own).await;
    world.execute("create publication everything for all tables").await;
    world.execute("select pg_create_logical_replication_slot('filling', 'pgoutput')").await;
    let name = world.source.name();
    let subscribe = format!(
        "create subscription filling connection 'host=127.0.0.1 port={} user=outbox dbname={name}'
         publication everything with (create_slot = false, copy_data = false)",
        own.port()
    );
    let mut conn = connect(&filled).await;
    conn.execute(AssertSqlSafe(subscribe)).await.unwrap();
    let mut relay = world.relay_process_in(&[("DATABASE_URL", &filled)]);
    let said = relay.wait_for("still fills the tables of outbox").await.unwrap();
    assert!(said.contains("alter subscription filling disable"), "{said}");
    conn.execute("alter subscription filling disable").await.unwrap();
    let id = sql_publish(&filled, 1).await;
    world.source = filled.parse().unwrap();
    world.worker();
    world.rpcs.until_done("Test/One", &[id]).await;
    drop(relay);
    world.finish().await;
}

/// Guards promise 2: no relay leads a schema that a restore has half filled. Once the restore is complete, it is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_restored_schema_is_not_led() {
    let mut world = World::new(ROUTER).await;
    let (stop_relay, stop_worker) = (world.relay(), world.worker());
    let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    stop_relay.cancel();
    stop_worker.cancel();
    let missed = world.publish(One { n: 20 }).await;

    let url = crate::world::new_database(cluster()).await;
    let name = world.source.name().to_owned();
    let part = |section: &str| cluster().dir().join(format!("{name}-{section}.sql"));
    dump(&world.url, &url, &["--section=pre-data", "--section=data"], &part("data")).await;
    world.source = url.parse().unwrap();
    let elsewhere = std::mem::replace(&mut world.url, url.clone());
    let mut relay = world.relay_process();
    relay.wait_for("the outbox schema is not whole").await.unwrap();
    let mut conn = connect(&url).await;
    let led: Option<i32> =
        sqlx::query_scalar("select pid from outbox.leader").fetch_one(&mut conn).await.unwrap();
    assert_eq!(led, None);
    dump(&elsewhere, &url, &["--section=post-data"], &part("indexes")).await;
    relay.wait_for("leading").await.unwrap();
    world.worker();
    world.rpcs.until_done("Test/One", &[missed]).await;
    assert_eq!(world.rpcs.calls().len(), 21);
    world.finish().await;
}

/// Guards promises 2 and 6: a restore under a running worker and relay gives queues other ids. Each queue is found by its
/// RPC's name, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn queues_are_found_after_a_restore_under_running_processes() {
    let world = World::new(ROUTER).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    relay.wait_for("leading").await.unwrap();
    worker.wait_for("delivering").await.unwrap();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until_settled().await;

    // An earlier state of the database: two of the three RPCs did not exist then, and ids are drawn again.
    let mut tx = world.pool.begin().await.unwrap();
    tx.execute("delete from outbox.queue").await.unwrap();
    tx.execute("alter sequence outbox.queue_id_seq restart with 50").await.unwrap();
    tx.execute("delete from outbox.claim; delete from outbox.delivery").await.unwrap();
    tx.execute(
        "insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
         select snapshot, last_seq, floor_seq, system_identifier, 'restored', slot from outbox.newest_cursor",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let one = world.publish(One { n: 2 }).await;
    let two = world.publish(crate::world::Two { n: 3 }).await;
    world.rpcs.until_done("Test/One", &[one]).await;
    world.rpcs.until_done("Test/TwoA", &[two]).await;
    world.rpcs.until_done("Other/TwoB", &[two]).await;
    assert!(world.scalar::<i32>("select min(id) from outbox.queue").await >= 50);
    world.finish().await;
}
