use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outbox::{Entry, EventId};
use sqlx::postgres::{PgPool, PgPoolOptions};
use testkit::cluster::Cluster;
use testkit::process::Process;
use testkit::proxy::Proxy;
use tokio::task::JoinHandle;

use crate::pgbouncer::PgBouncer;
use crate::processes::{assert_stops_cleanly, assert_stops_soon};
use crate::world::{One, PATIENCE, ROUTER, World, until};

/// Publishes one event per transaction until it is stopped, and returns exactly the committed ids. A commit without an
/// answer is looked up once the database is back.
struct Publisher {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<EventId>>,
}

impl Publisher {
    fn start(pool: PgPool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut committed, mut unsure) = (Vec::new(), Vec::new());
            let mut n = 0;
            while !stopped.load(Ordering::SeqCst) {
                n += 1;
                let entry = Entry::new(One { n });
                let id = entry.id();
                let published = async {
                    let mut tx = pool.begin().await?;
                    entry.enqueue(&mut tx).await.map_err(|_| sqlx::Error::WorkerCrashed)?;
                    tx.commit().await
                };
                match published.await {
                    Ok(()) => committed.push(id),
                    Err(_) => unsure.push(id),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let rows: Vec<uuid::Uuid> = sqlx::query_scalar("select id from outbox.event where id = any ($1)")
                .bind(unsure.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
                .fetch_all(&pool)
                .await
                .unwrap();
            committed.extend(rows.into_iter().map(EventId::from));
            committed
        });
        Self { stop, task }
    }

    async fn finish(self) -> Vec<EventId> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

async fn until_some_succeeded(world: &World, more: usize) {
    let goal = world.rpcs.succeeded().len() + more;
    world.rpcs.until(&format!("{more} more events are done"), |rpcs| rpcs.succeeded().len() >= goal).await;
}

/// Compares sets of ids, not counts: each committed event is done, and no other event was seen.
async fn assert_all_done(world: &World, committed: &[EventId]) {
    world.rpcs.until_done("Test/One", committed).await;
    let seen: HashSet<EventId> = world.rpcs.calls().iter().map(|call| call.event).collect();
    assert_eq!(seen, committed.iter().copied().collect());
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, 0);
}

/// Guards promise 2: relay and worker are killed again and again while events flow, and every committed event is done.
#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_lose_nothing() {
    let world = World::new(ROUTER).await;
    let publisher = Publisher::start(world.pool.clone());
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    for _ in 0..4 {
        until_some_succeeded(&world, 60).await;
        relay.kill().await.unwrap();
        relay = world.relay_process();
        until_some_succeeded(&world, 60).await;
        worker.kill().await.unwrap();
        worker = world.worker_process();
    }
    let committed = publisher.finish().await;
    assert_all_done(&world, &committed).await;
    world.until_settled().await;
    // A kill between an RPC's effect and its record can repeat a call: such calls are counted, not forbidden.
    let mut again = world.rpcs.succeeded();
    let before = again.len();
    again.sort();
    again.dedup();
    assert!(before - again.len() <= 4 * 64, "more was repeated than was in flight at the kills");
    assert_stops_cleanly(relay).await;
    assert_stops_cleanly(worker).await;
    world.rpcs.forget();
    world.finish().await;
}

/// Guards promises 2 and 3: a stop under load finishes the calls under way and saves the cursor, and neither loses nor
/// repeats a call.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_under_load_loses_and_repeats_nothing() {
    let world = World::alone(ROUTER).await;
    world.rpcs.on("Test/One", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        })
    });
    let publisher = Publisher::start(world.pool.clone());
    for _ in 0..3 {
        let (relay, worker) = (world.relay_process(), world.worker_process());
        until_some_succeeded(&world, 50).await;
        assert_stops_soon(worker).await;
        assert_stops_soon(relay).await;
    }
    let committed = publisher.finish().await;
    let (relay, worker) = (world.relay_process(), world.worker_process());
    assert_all_done(&world, &committed).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls().len(), committed.len(), "a graceful stop repeats nothing");
    assert_stops_cleanly(relay).await;
    assert_stops_cleanly(worker).await;
    world.finish().await;
}

/// Guards: of relays that start together one leads and the others stand by. When the leader stops, another one leads at
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn one_relay_leads_and_another_takes_over() {
    let mut world = World::alone(ROUTER).await;
    world.worker();
    let (mut first, mut second) = (world.relay_process(), world.relay_process());
    // Each logs one or the other, in any order.
    let leads = async |relay: &mut Process| loop {
        let line = relay.line().await.expect("it runs");
        if line.contains("leading") || line.contains("standing by") {
            return line.contains("leading");
        }
    };
    let both = async { tokio::join!(leads(&mut first), leads(&mut second)) };
    let (first_leads, second_leads) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert!(first_leads != second_leads);
    let (leader, mut standby) = if first_leads { (first, second) } else { (second, first) };
    let leaders = "select count(*) = 1 from outbox.leader as l join pg_stat_activity as a using (pid) where a.datname = current_database()";
    world.until(leaders).await;
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;

    let began = Instant::now();
    leader.kill().await.unwrap();
    standby.wait_for("leading").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?} without a leader", began.elapsed());
    let id = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    assert_stops_cleanly(standby).await;
    world.finish().await;
}

/// Guards promise 2: a hanging leader is detected and replaced. When it continues, it steps down and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_leader_is_replaced_and_steps_down() {
    let mut world = World::alone(ROUTER).await;
    world.worker();
    let mut leader = world.relay_process();
    leader.wait_for("leading").await.unwrap();
    let mut standby = world.relay_process();
    standby.wait_for("standing by").await.unwrap();
    let first = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    world.until_relay_sleeps().await;

    leader.signal("STOP").unwrap();
    let stuck = world.publish(One { n: 2 }).await;
    let began = Instant::now();
    standby.wait_for("the leader hangs").await.unwrap();
    standby.wait_for("leading").await.unwrap();
    world.rpcs.until_done("Test/One", &[stuck]).await;
    assert!((8..20).contains(&began.elapsed().as_secs()), "taken over after {:?}", began.elapsed());
    // The new leader holds the doorbell: it can sleep and be woken.
    world.until_relay_sleeps().await;

    leader.signal("CONT").unwrap();
    leader.wait_for("stepped down").await.unwrap();
    leader.wait_for("standing by").await.unwrap();
    let last = world.publish(One { n: 3 }).await;
    world.rpcs.until_done("Test/One", &[last]).await;
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.delivery").await, 3, "each was put once");
    assert_stops_cleanly(leader).await;
    assert_stops_cleanly(standby).await;
    world.finish().await;
}

/// Guards promise 2: relay and worker wait for a database that is down at their start, and reconnect after it crashed. No
/// committed event is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_may_be_down_at_start_and_crash_later() {
    let own = Cluster::start().unwrap();
    let world = World::on(ROUTER, &own).await;
    own.crash().unwrap();
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    relay.wait_for("not relaying: connecting again").await.unwrap();
    worker.wait_for("not delivering: connecting again").await.unwrap();
    own.restart(&[]).unwrap();
    relay.wait_for("leading").await.unwrap();
    worker.wait_for("delivering").await.unwrap();

    let publisher = Publisher::start(world.pool.clone());
    for _ in 0..2 {
        until_some_succeeded(&world, 50).await;
        own.crash().unwrap();
        own.restart(&[]).unwrap();
    }
    until_some_succeeded(&world, 50).await;
    let committed = publisher.finish().await;
    assert_all_done(&world, &committed).await;
    world.until_settled().await;
    assert_stops_cleanly(relay).await;
    assert_stops_cleanly(worker).await;
    // A crash may separate an RPC's effect from its record.
    world.rpcs.forget();
    world.finish().await;
}

/// Guards promise 2: calls of a killed worker are not lost; they are received again after their visibility.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_killed_worker_come_back() {
    let mut world = World::new(ROUTER).await;
    let hang = Arc::new(AtomicBool::new(true));
    let hanging = Arc::clone(&hang);
    world.rpcs.on("Test/One", move |_| {
        let hang = hanging.load(Ordering::SeqCst);
        Box::pin(async move { if hang { std::future::pending().await } else { Ok(()) } })
    });
    world.relay();
    let worker = world.worker_process();
    let ids = world.publish_all((0..10).map(|n| Entry::new(One { n }))).await;
    world.rpcs.until("ten calls run", |rpcs| rpcs.calls().len() == 10).await;
    worker.kill().await.unwrap();
    hang.store(false, Ordering::SeqCst);
    let second = world.worker_process();
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    for id in ids {
        let attempts: Vec<u32> = world.rpcs.calls_of(id).iter().map(|call| call.attempt).collect();
        assert_eq!(attempts, [1, 2]);
    }
    assert_stops_cleanly(second).await;
    world.finish().await;
}

/// Guards promises 2 and 6: a frozen worker, as on a paused machine, delays no other worker. Its deliveries go to others,
/// and it does no harm when it continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_delays_no_other() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let publisher = Publisher::start(world.pool.clone());
    let frozen = world.worker_process();
    until_some_succeeded(&world, 50).await;
    frozen.signal("STOP").unwrap();
    let other = world.worker_process();
    until_some_succeeded(&world, 300).await;
    let committed = publisher.finish().await;
    assert_all_done(&world, &committed).await;
    world.until_settled().await;
    frozen.signal("CONT").unwrap();
    let last = world.publish(One { n: 0 }).await;
    world.rpcs.until_done("Test/One", &[last]).await;
    world.until_settled().await;
    assert_stops_cleanly(frozen).await;
    assert_stops_cleanly(other).await;
    // Its calls under way had their effect, and it could not record them.
    world.rpcs.forget();
    world.finish().await;
}

/// Guards promises 3 and 8: a forced replay calls the RPC, even if a worker still remembers an unrecorded success. The
/// worker's connections are frozen until another worker has called and recorded. Then the RPC is called again.
#[tokio::test(flavor = "multi_thread")]
async fn a_forced_replay_calls_though_a_success_went_unrecorded() {
    let router = "event:\n  - name: event_one\n    subscriber: [{ id: Test/Frozen, timeout: 1s }]\n";
    let mut world = World::new(router).await;
    world.relay();
    let proxy = Proxy::start(crate::world::cluster().port()).await.unwrap();
    let ours = format!(":{}/", crate::world::cluster().port());
    let frozen = world.url.replace(&ours, &format!(":{}/", proxy.port()));
    world.worker_on(frozen.parse().unwrap(), Duration::from_secs(1));
    let holding = proxy.clone();
    world.rpcs.on("Test/Frozen", move |call| {
        if call.attempt == 1 {
            holding.hold_up();
        }
        Box::pin(async { Ok(()) })
    });
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/Frozen", &[id]).await;
    let other = world.worker_process();
    world.until("select exists (select from outbox.done)").await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls_of(id).len(), 2, "the lease had ended");
    assert_stops_cleanly(other).await;

    proxy.let_go();
    until("the frozen worker knows that it lost its lease", async || {
        crate::world::metrics().render().contains("outbox_worker_lost_leases_total{rpc=\"Test/Frozen\"} 1")
    })
    .await;
    world.rpcs.on("Test/Frozen", |_| Box::pin(async { Ok(()) }));
    let replay = format!("replay --event {id} --force --yes --run");
    let sent = crate::operator::outbox(&world, &replay).await;
    assert!(sent.out.contains("1 of them had been done: their RPC runs again"), "{sent:?}");
    world.until("select exists (select from outbox.done)").await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls_of(id).len(), 3, "it is recorded as done again, without a call");
    world.rpcs.forget();
    world.finish().await;
}

/// Guards promise 6: one relay process and one worker process serve several databases. One that is away does not delay the
/// others.
#[tokio::test(flavor = "multi_thread")]
async fn one_process_serves_many_databases() {
    let first = World::new(ROUTER).await;
    let second = first.beside(ROUTER).await;
    let router = first.router_file.display().to_string();
    let sources = format!("one={} two={} away=postgres://nobody@127.0.0.1:1/nowhere", first.url, second.url);
    let endpoints = first.endpoints();
    let env = [
        ("OUTBOX_SOURCES", sources.as_str()),
        ("OUTBOX_METRICS_ADDR", "127.0.0.1:0"),
        ("OUTBOX_ROUTER", router.as_str()),
    ];
    let relay = Process::start(&crate::world::programs().join("relay"), [""; 0], &env).unwrap();
    let args = ["--endpoint", &endpoints[0], "--endpoint", &endpoints[1]];
    let worker = Process::start(&crate::world::programs().join("worker"), args, &env).unwrap();
    let (a, b) = (first.publish(One { n: 1 }).await, second.publish(One { n: 2 }).await);
    first.rpcs.until_done("Test/One", &[a, b]).await;
    assert_stops_cleanly(relay).await;
    assert_stops_cleanly(worker).await;
    second.finish().await;
    first.finish().await;
}

/// Guards: publishers can publish through PgBouncer in transaction mode.
#[tokio::test(flavor = "multi_thread")]
async fn publishers_may_sit_behind_pgbouncer() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    world.worker();
    let bouncer = PgBouncer::start(crate::world::cluster(), world.source.name()).await;
    let pool = PgPoolOptions::new().max_connections(8).connect(&bouncer.url).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for n in 0..25 {
                    let mut tx = pool.begin().await.unwrap();
                    sqlx::query("select $1").persistent(false).bind(n).execute(&mut *tx).await.unwrap();
                    let id = Entry::new(One { n }).key(format!("k-{writer}")).enqueue(&mut tx).await.unwrap();
                    if n % 5 == 4 {
                        tx.rollback().await.unwrap();
                    } else {
                        tx.commit().await.unwrap();
                        ids.push(id);
                    }
                }
                ids
            })
        })
        .collect();
    let mut committed = Vec::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    assert_eq!(committed.len(), 160);
    assert_all_done(&world, &committed).await;

    // Relay and worker can't work through it: they report that instead of half working.
    let env = [("DATABASE_URL", bouncer.url.as_str()), ("OUTBOX_METRICS_ADDR", "127.0.0.1:0")];
    let router = world.router_file.display().to_string();
    let endpoints = ["--endpoint", "Test=http://127.0.0.1:1", "--endpoint", "Other=http://127.0.0.1:1"];
    for (program, endpoints) in [("relay", &endpoints[..0]), ("worker", &endpoints[..])] {
        let args = [&["--router", router.as_str()][..], endpoints].concat();
        let mut process = Process::start(&crate::world::programs().join(program), args, &env).unwrap();
        process.wait_for("connect to Postgres directly").await.unwrap();
        assert_eq!(process.ended().await.unwrap().code(), Some(3), "{program}");
    }
    world.finish().await;
}
