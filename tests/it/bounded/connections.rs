//! Several databases on one server, which has few connections.

use outbox::Entry;
use sqlx::Connection;
use testkit::cluster::Cluster;
use testkit::process::Process;

use crate::world::{One, World, migrated_database, programs, until};

/// The sessions of relays and workers by name; their places in the help: 20 for a worker, and 16 for a relay beside two for
/// each database that it leads.
const OURS: &str = "select count(*) from pg_stat_activity where application_name like 'outbox ' || $1 || '%'";
const DATABASES: usize = 25;
const RPCS: usize = 120;

/// Guards promise 7: 25 databases and 120 RPCs leave a server of 100 connections to others. The events of each database arrive,
/// also of those that no worker listens to.
#[tokio::test(flavor = "multi_thread")]
async fn many_databases_leave_connections_to_others() {
    let (world, cluster) = World::with_own(&router(), || Cluster::start().unwrap()).await;
    let mut urls = vec![world.url.clone()];
    for _ in 1..DATABASES {
        urls.push(migrated_database(&cluster).await);
    }
    let sources = urls.join(" ");
    let (relay, worker) = start(&world, &sources);
    let mut ids = Vec::new();
    for url in &urls {
        let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
        let mut tx = conn.begin().await.unwrap();
        ids.push(outbox::enqueue_all(&mut tx, [Entry::new(One { n: 1 })]).await.unwrap()[0]);
        tx.commit().await.unwrap();
        conn.close().await.unwrap();
    }
    world.rpcs.until_done("Test/One", &ids).await;
    for (program, most) in [("worker", 20), ("relay", 16 + 2 * DATABASES as i64)] {
        until("the budget is kept", async || {
            let count: i64 = sqlx::query_scalar(OURS).bind(program).fetch_one(&world.pool).await.unwrap();
            count > 0 && count <= most
        })
        .await;
    }
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
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
    while let Ok(conn) = sqlx::PgConnection::connect(&world.url).await {
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
