use std::time::{Duration, Instant};

use outbox::Entry;
use sqlx::{Connection, PgConnection};

use crate::world::{One, ROUTER, World};

/// Guards promise 6: an old snapshot held for half a minute under load leaves no dead tuple in appended tables, and slows
/// neither relay nor worker.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_costs_nothing() {
    let mut world = World::alone(ROUTER).await;
    world.relay();
    world.worker();
    drain_seconds(&world, 2000).await;
    let before = median([
        drain_seconds(&world, 2000).await,
        drain_seconds(&world, 2000).await,
        drain_seconds(&world, 2000).await,
    ]);

    let mut holder = PgConnection::connect(&world.url).await.unwrap();
    sqlx::query("begin isolation level repeatable read").execute(&mut holder).await.unwrap();
    sqlx::query("select count(*) from outbox.event").execute(&mut holder).await.unwrap();
    let held_since = Instant::now();
    let mut sent = 0;
    while held_since.elapsed() < Duration::from_secs(30) {
        let ids = world.publish_all((0..20).map(|n| Entry::new(One { n }))).await;
        world.rpcs.until_done("Test/One", &ids).await;
        sent += ids.len();
    }
    let after = median([
        drain_seconds(&world, 2000).await,
        drain_seconds(&world, 2000).await,
        drain_seconds(&world, 2000).await,
    ]);

    sqlx::query("select pg_stat_force_next_flush()").execute(&mut holder).await.unwrap();
    let dead: Vec<(String, i64)> = sqlx::query_as(
        "select relname::text, n_dead_tup from pg_stat_user_tables
         where schemaname = 'outbox' and relname ~ '^(event|cursor|delivery)_' and n_dead_tup > 0",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(dead.is_empty(), "{dead:?}");
    println!(
        "{sent} events under the snapshot; 2,000 drained in {before:.3} s before and {after:.3} s after: ratio {:.2}",
        before / after
    );
    assert!(
        after < before * 1.5,
        "2,000 events took {before:.3} s before and {after:.3} s under an old snapshot"
    );
    sqlx::query("commit").execute(&mut holder).await.unwrap();
    world.finish().await;
}

/// How long a number of events takes from commit to the last call.
async fn drain_seconds(world: &World, events: i64) -> f64 {
    let ids = world.publish_all((0..events).map(|n| Entry::new(One { n }))).await;
    let began = Instant::now();
    world.rpcs.until_done("Test/One", &ids).await;
    began.elapsed().as_secs_f64()
}

fn median(mut seconds: [f64; 3]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[1]
}

/// Guards: an idle relay and worker together use under 1 % of a core and under 72 MB of memory, in a
/// build for tests.
#[tokio::test(flavor = "multi_thread")]
async fn idle_processes_cost_next_to_nothing() {
    let world = World::alone(ROUTER).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    relay.wait_for("leading").await.unwrap();
    worker.wait_for("delivering").await.unwrap();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.until_relay_sleeps().await;

    let cpu = || cpu_seconds(relay.pid()) + cpu_seconds(worker.pid());
    let (began, before) = (Instant::now(), cpu());
    tokio::time::sleep(Duration::from_secs(15)).await;
    let share = (cpu() - before) / began.elapsed().as_secs_f64();
    let resident = resident_mb(relay.pid()) + resident_mb(worker.pid());
    println!("idle: {:.2} % of a core, {resident:.1} MB resident, both together", share * 100.0);
    assert!(share < 0.01, "{:.2} % of a core", share * 100.0);
    assert!(resident < 72.0, "{resident:.1} MB");
    assert!(relay.stop().await.unwrap().success());
    assert!(worker.stop().await.unwrap().success());
    world.finish().await;
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Fields are counted after the program's name in parentheses: utime and stime are the 12th and 13th, in hundredths.
    let ticks: f64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

fn resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
