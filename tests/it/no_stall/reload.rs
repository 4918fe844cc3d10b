//! SIGHUP: relay and worker read event_router.yaml again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use connectrpc::ConnectError;
use outbox::{Entry, EventId};
use testkit::process::Process;
use testkit::scrape::{self, get};
use tokio::sync::{Notify, Semaphore};

use crate::world::{One, PATIENCE, World, until};

const ONE: &str =
    "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 60s, concurrency: 1 }]\n";
const BOTH: &str = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 60s, concurrency: 1 }, { id: Other/New }]\n";
const WIDER: &str =
    "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 60s, concurrency: 3 }]\n";
const OTHER: &str = "event:\n  - name: event_one\n    subscriber: [{ id: Other/New }]\n";
const BAD: &str = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, concurrency: none }]\n";

impl World {
    /// Gives the processes another file, and waits until each says so much of it.
    async fn reload(&self, yaml: &str, processes: &mut [&mut Process], said: &str) {
        std::fs::write(&self.router_file, yaml).unwrap();
        for process in processes {
            process.signal("HUP").unwrap();
            process.wait_for(said).await.unwrap();
        }
    }

    fn rpcs_called(&self, event: EventId) -> Vec<String> {
        self.rpcs.calls_of(event).into_iter().map(|call| call.rpc).collect()
    }
}

const TAKEN: &str = "SIGHUP: read event_router.yaml again";

/// Guards promise 2: a new subscriber gets the events after the reload, and a removed one no more. The processes say by which
/// routes they work.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_come_and_go_without_a_restart() {
    let world = World::new(ONE).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    let first = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[first]).await;
    world.reload(BOTH, &mut [&mut worker, &mut relay], TAKEN).await;
    let second = world.publish(One { n: 2 }).await;
    world.rpcs.until_done("Test/One", &[second]).await;
    world.rpcs.until_done("Other/New", &[second]).await;
    world.until_settled().await;
    world.reload(OTHER, &mut [&mut relay, &mut worker], TAKEN).await;
    let third = world.publish(One { n: 3 }).await;
    world.rpcs.until_done("Other/New", &[third]).await;
    assert_eq!(world.rpcs_called(third), ["Other/New"]);
    assert_eq!(world.rpcs_called(first), ["Test/One"]);
    world
        .until(
            "select count(*) = 2 and count(distinct router) = 1 and bool_and(cardinality(routes) = 1)
                 and bool_or(program = 'worker' and rpcs = array['Other/New'])
             from outbox.process",
        )
        .await;
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promises 6 and 8: a file with a mistake changes nothing, the processes go on, and say what is wrong with it until a
/// good one came.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_is_told() {
    let world = World::new(ONE).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    let addrs = [scrape::addr(&mut relay).await.unwrap(), scrape::addr(&mut worker).await.unwrap()];
    world.until("select count(*) = 2 from outbox.process").await;
    world.reload(BAD, &mut [&mut relay, &mut worker], "SIGHUP: refused a file").await;
    for addr in &addrs {
        until("/readyz names the file", async || {
            let (status, body) = get(addr, "/readyz").await.unwrap();
            status == 200 && body.contains("SIGHUP: a file was refused")
        })
        .await;
        let (_, metrics) = get(addr, "/metrics").await.unwrap();
        assert!(metrics.contains("outbox_config_reload_failed 1"), "{metrics}");
    }
    world.until("select count(*) = 2 from outbox.process where report like '%a file was refused%'").await;
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    world.reload(BOTH, &mut [&mut worker, &mut relay], TAKEN).await;
    for addr in &addrs {
        until("it is well again", async || {
            get(addr, "/metrics").await.unwrap().1.contains("outbox_config_reload_failed 0")
        })
        .await;
        let (_, metrics) = get(addr, "/metrics").await.unwrap();
        let shown =
            metrics.lines().filter(|line| line.starts_with("outbox_process_info") && line.ends_with(" 1"));
        assert_eq!(shown.count(), 1, "{metrics}");
    }
    world.until("select count(*) = 2 from outbox.process where report not like '%a file was refused%'").await;
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promises 3 and 6: a new `concurrency` is for the next deliveries. A call under way is neither cut off nor made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_cuts_no_call() {
    let world = World::new(ONE).await;
    let (relay, mut worker) = (world.relay_process(), world.worker_process());
    let (go_on, calls) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::clone(&go_on);
    world.rpcs.on("Test/One", move |_| {
        let (gate, first) = (Arc::clone(&gate), calls.fetch_add(1, Ordering::SeqCst) == 0);
        Box::pin(async move {
            if first {
                gate.notified().await;
            }
            Ok(())
        })
    });
    let first = world.publish(One { n: 1 }).await;
    world.rpcs.until("it is called", |rpcs| !rpcs.calls_of(first).is_empty()).await;
    // With one slot, the others would wait for the first.
    world.reload(WIDER, &mut [&mut worker], TAKEN).await;
    let mut others = Vec::new();
    for n in 2..6 {
        others.push(world.publish(One { n }).await);
    }
    world.rpcs.until_done("Test/One", &others).await;
    // Back to one slot, which the first call has.
    world.reload(ONE, &mut [&mut worker], TAKEN).await;
    let last = world.publish(One { n: 6 }).await;
    go_on.notify_one();
    world.rpcs.until_done("Test/One", &[first, last]).await;
    world.until_settled().await;
    assert_eq!(world.rpcs.calls_of(first).len(), 1);
    assert!(worker.stop().await.unwrap().success());
    relay.stop().await.unwrap();
    world.finish().await;
}

const FAILS: &str = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 60s, concurrency: 1, backoff: { min: 50ms, max: 1s } }]\n";
const FAILS_WIDER: &str = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 60s, concurrency: 3, backoff: { min: 50ms, max: 1s } }]\n";

/// Guards promises 2 and 6: a reload while a probe is under way. The next consumer can only wait for the probe, and goes on once
/// it has succeeded, also without a new event.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_during_a_probe_stalls_nothing() {
    const EVENTS: usize = 6;
    let world = World::new(FAILS).await;
    let (relay, mut worker) = (world.relay_process(), world.worker_process());
    let addr = scrape::addr(&mut worker).await.unwrap();
    let (probing, go_on) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (begun, gate, failed) =
        (Arc::clone(&probing), Arc::clone(&go_on), Mutex::new(HashSet::<EventId>::new()));
    // Each event fails until all have failed: that opens the breaker. The next call is the probe.
    world.rpcs.on("Test/One", move |called| {
        let mut failed = failed.lock().unwrap();
        let fails = failed.len() < EVENTS;
        failed.insert(called.event);
        let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
        Box::pin(async move {
            if fails {
                return Err(ConnectError::unavailable("away"));
            }
            begun.notify_one();
            let _open = gate.acquire().await.unwrap();
            Ok(())
        })
    });
    let ids = world.publish_all((0..EVENTS as i64).map(|n| Entry::new(One { n }))).await;
    tokio::time::timeout(PATIENCE, probing.notified()).await.unwrap();
    world.reload(FAILS_WIDER, &mut [&mut worker], TAKEN).await;
    // Three slots of the old consumer, and three of the next one.
    until("the next consumer has begun", async || {
        let (_, metrics) = get(&addr, "/metrics").await.unwrap();
        metrics.contains("outbox_worker_concurrency_max{rpc=\"Test/One\"} 6")
    })
    .await;
    go_on.add_permits(EVENTS);
    world.rpcs.until_done("Test/One", &ids).await;
    world.until_settled().await;
    assert!(worker.stop().await.unwrap().success());
    relay.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 2: a relay that stood by during the reload leads by the new file.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_leads_by_the_new_file() {
    let world = World::new(ONE).await;
    let mut leader = world.relay_process();
    leader.wait_for("leading").await.unwrap();
    let mut standby = world.relay_process();
    standby.wait_for("standing by").await.unwrap();
    let mut worker = world.worker_process();
    worker.wait_for("delivering").await.unwrap();
    world.reload(OTHER, &mut [&mut worker, &mut leader, &mut standby], TAKEN).await;
    leader.stop().await.unwrap();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Other/New", &[id]).await;
    assert_eq!(world.rpcs_called(id), ["Other/New"]);
    standby.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: a stop says how many calls it finished.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_what_it_finished() {
    let world = World::new(ONE).await;
    let (relay, mut worker) = (world.relay_process(), world.worker_process());
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    world.rpcs.on("Test/One", move |_| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            gate.notified().await;
            Ok(())
        })
    });
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until("it is called", |rpcs| !rpcs.calls_of(id).is_empty()).await;
    worker.signal("TERM").unwrap();
    worker.wait_for("finishing what is in flight").await.unwrap();
    go_on.notify_one();
    worker.wait_for("stopped: finished 1, cut 0").await.unwrap();
    assert!(worker.ended().await.unwrap().success());
    relay.stop().await.unwrap();
    world.finish().await;
}
