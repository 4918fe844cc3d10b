//! Several databases on one server, which has few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use outbox::{Entry, EventId};
use sqlx::{Connection, PgConnection, PgPool};
use testkit::cluster::Cluster;
use testkit::process::Process;
use tokio::task::JoinHandle;

use crate::world::{One, World, migrated_database, programs, until};

/// The sessions of relay and worker.
const OURS: &str = "select count(*) from pg_stat_activity where application_name like 'outbox relay%' or application_name like 'outbox worker%'";
/// Of one relay and one worker together, with their default flags.
const SESSIONS_MAX: i64 = 40;
const DATABASES: usize = 25;
const RPCS: usize = 120;
const ROUNDS: i64 = 4;
/// For each heartbeat of a leader, which is every 2 s. Time is no measure: on a busy machine all that is regular comes later.
const IDLE_TRANSACTIONS_MAX: f64 = 25.0;
/// Of one leader, while transactions are counted.
const BEATS: i64 = 8;

/// Guards promise 7: 25 databases and 120 RPCs leave a server of 100 connections to others, under load and at rest. The events
/// of each database arrive, also of those that no worker listens to. At rest each database has few transactions.
#[tokio::test(flavor = "multi_thread")]
async fn many_databases_leave_connections_to_others() {
    let few = || Cluster::tuned(&[("max_connections", "100")]).unwrap();
    let (world, cluster) = World::with_own(&router(), few).await;
    let mut urls = vec![world.url.clone()];
    for _ in 1..DATABASES {
        urls.push(migrated_database(&cluster).await);
    }
    let most = Arc::new(AtomicI64::new(0));
    let counting = count(world.pool.clone(), Arc::clone(&most));
    world.execute("create role passer_by login").await;
    let passing_by = pass_by(world.url.replace("outbox@", "passer_by@"));
    let (relay, worker) = start(&world, &urls.join(" "));
    let mut ids = Vec::new();
    for n in 0..ROUNDS {
        for url in &urls {
            ids.push(publish(url, n).await);
        }
    }
    world.rpcs.until_done("Test/One", &ids).await;
    rests(&world.pool, &urls).await;
    assert!(!counting.is_finished() && !passing_by.is_finished(), "another session was refused");
    counting.abort();
    passing_by.abort();
    let most = most.load(Ordering::Relaxed);
    assert!((DATABASES as i64..=SESSIONS_MAX).contains(&most), "{most} sessions");
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

async fn publish(url: &str, n: i64) -> EventId {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    let id = outbox::enqueue_all(&mut tx, [Entry::new(One { n })]).await.unwrap()[0];
    tx.commit().await.unwrap();
    conn.close().await.unwrap();
    id
}

/// Keeps the largest number of sessions.
fn count(pool: PgPool, most: Arc<AtomicI64>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let count: i64 = sqlx::query_scalar(OURS).fetch_one(&pool).await.unwrap();
            most.fetch_max(count, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

/// Another role connects again and again. It ends once it is refused.
fn pass_by(url: String) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            PgConnection::connect(&url).await.unwrap().close().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

/// Counts the transactions of the databases that no session of the test is in, and the heartbeats of their leaders.
async fn rests(pool: &PgPool, urls: &[String]) {
    let transactions = async || -> i64 {
        let sum = "select sum(xact_commit + xact_rollback)::bigint from pg_stat_database
                   where datname like 'test%' and datname <> current_database()";
        sqlx::query_scalar(sum).fetch_one(pool).await.unwrap()
    };
    let own = async || -> i64 {
        sqlx::query_scalar("select last_value from outbox.heartbeat").fetch_one(pool).await.unwrap()
    };
    let mut each = f64::MAX;
    // The transactions of the load may be counted late, in the first round.
    for _ in 0..2 {
        let (began, from, first) = (transactions().await, beats(&urls[1..]).await, own().await);
        until("a leader beats", async || own().await >= first + BEATS).await;
        let (ended, to) = (transactions().await, beats(&urls[1..]).await);
        each = (ended - began) as f64 / (to - from) as f64;
    }
    assert!(each <= IDLE_TRANSACTIONS_MAX, "{each:.1} transactions at rest for each heartbeat");
}

async fn beats(urls: &[String]) -> i64 {
    let mut sum = 0;
    for url in urls {
        let mut conn = PgConnection::connect(url).await.unwrap();
        let beats: i64 =
            sqlx::query_scalar("select last_value from outbox.heartbeat").fetch_one(&mut conn).await.unwrap();
        sum += beats;
        conn.close().await.unwrap();
    }
    sum
}

fn start(world: &World, sources: &str) -> (Process, Process) {
    let router = world.router_file.display().to_string();
    let args = ["--router", &router, "--metrics-addr", "127.0.0.1:0"];
    let env = [("OUTBOX_SOURCES", sources)];
    let relay = Process::start(&programs().join("relay"), args, &env).unwrap();
    let endpoint = format!("Test=http://{}", world.rpcs.addr);
    let args = [&args[..], &["--endpoint", &endpoint]].concat();
    (relay, Process::start(&programs().join("worker"), args, &env).unwrap())
}

fn router() -> String {
    let more = (1..RPCS).map(|n| format!("      - id: Test/Other{n}\n")).collect::<String>();
    format!(
        "event:\n  - name: event_one\n    subscriber: [{{ id: Test/One }}]\n  - name: event_two\n    subscriber:\n{more}"
    )
}

/// Guards promise 6: a server without free connections is not asked without end. Once there is room, the events arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_waited_for() {
    let (world, _cluster) = World::with_own(&router(), || Cluster::start().unwrap()).await;
    world.pool.close().await;
    let mut taken = Vec::new();
    while let Ok(conn) = PgConnection::connect(&world.url).await {
        taken.push(conn);
    }
    let (relay, mut worker) = start(&world, &world.url);
    worker.wait_for("no free connection on the server").await.unwrap();
    let mut publisher = taken.pop().unwrap();
    let mut tx = publisher.begin().await.unwrap();
    let id = outbox::enqueue_all(&mut tx, [Entry::new(One { n: 1 })]).await.unwrap()[0];
    tx.commit().await.unwrap();
    for conn in taken {
        conn.close().await.unwrap();
    }
    world.rpcs.until_done("Test/One", &[id]).await;
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    publisher.close().await.unwrap();
    world.finish().await;
}
