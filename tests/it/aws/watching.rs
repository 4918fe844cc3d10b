//! Workers share quiet queues: one of them receives from each. The stub counts their requests.

mod failing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outbox_aws::{Entry, Roster};
use serde_json::json;
use testkit::process::{Process, root};
use testkit::scrape;

use super::played::State;
use super::worker::{filled, worker_with};
use crate::cloud::cloud;
use crate::stub::{Answer, Stub};
use crate::world::{World, until};

/// A long poll of the stub.
const POLL: Duration = Duration::from_secs(1);

/// Quiet queues, and the workers that share them.
struct Stand {
    world: World,
    stub: Stub,
    state: Arc<Mutex<State>>,
    workers: Vec<Process>,
    /// The addresses of the workers' metrics.
    addrs: Vec<String>,
    /// The beginnings of long polls, by queue.
    polls: Polls,
    /// Whether the table can't be read.
    unreadable: Arc<AtomicBool>,
}

type Polls = Arc<Mutex<BTreeMap<String, Vec<Instant>>>>;

impl Stand {
    /// Starts workers, and returns once each has counted all of them.
    async fn new(queues: usize, workers: usize) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let (polls, unreadable): (Polls, Arc<AtomicBool>) = Default::default();
        let (played, began, denied) = (Arc::clone(&state), Arc::clone(&polls), Arc::clone(&unreadable));
        let stub = Stub::start(move |operation, input| match operation {
            "ReceiveMessage" => {
                let queue = input["QueueUrl"].as_str().unwrap().to_owned();
                began.lock().unwrap().entry(queue).or_default().push(Instant::now());
                Answer::After(POLL, json!({}))
            }
            "GetItem" if denied.load(Ordering::Relaxed) => {
                Answer::Error("AccessDeniedException", "not allowed", json!({}))
            }
            _ => played.lock().unwrap().answer(operation, input),
        })
        .await;
        let mut router = "event:\n".to_owned();
        for n in 0..queues {
            router += &format!("  - name: event_{n}\n    subscriber: [{{ id: Test/Quiet{n} }}]\n");
        }
        let world = World::new(&router).await;
        let start = |_| worker_with(&world, &stub, &["--roster-every", "1s"]);
        let (mut workers, mut addrs) = ((0..workers).map(start).collect::<Vec<_>>(), Vec::new());
        for worker in &mut workers {
            addrs.push(scrape::addr(worker).await.unwrap());
        }
        let mut stand = Self { world, stub, state, workers, addrs, polls, unreadable };
        stand.until_all_see(stand.workers.len()).await;
        stand
    }

    async fn until_all_see(&mut self, many: usize) {
        for worker in &mut self.workers {
            worker.wait_for(&format!(" workers={many} ")).await.unwrap();
        }
    }

    /// The lines of every worker's metrics.
    async fn metrics(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for addr in &self.addrs {
            lines.extend(scrape::get(addr, "/metrics").await.unwrap().1.lines().map(str::to_owned));
        }
        lines
    }

    fn counts(&self) -> Vec<usize> {
        self.polls.lock().unwrap().values().map(Vec::len).collect()
    }

    /// Waits until each queue has so many long polls at a time.
    async fn until_polled_by(&self, many: usize) {
        until(&format!("each queue is polled by {many}"), async || {
            let since = Instant::now() - POLL;
            let open = |began: &Vec<Instant>| began.iter().rev().take_while(|at| **at > since).count();
            self.polls.lock().unwrap().values().all(|began| open(began) == many)
        })
        .await;
    }

    async fn finish(self) {
        for worker in self.workers {
            worker.stop().await.unwrap();
        }
        self.world.finish().await;
    }
}

/// Guards: ten workers make no more long polls of quiet queues than one.
#[tokio::test(flavor = "multi_thread")]
async fn ten_workers_poll_a_quiet_queue_as_one_does() {
    let stand = Stand::new(30, 10).await;
    // Earlier long polls end first.
    stand.until_polled_by(1).await;
    let before = stand.counts();
    let since = |before: &[usize]| -> Vec<usize> {
        stand.counts().iter().zip(before).map(|(now, before)| now - before).collect()
    };
    until("each queue was polled for a while", async || since(&before).into_iter().min() >= Some(20)).await;
    let polls = since(&before);
    let (all, alone) = (polls.iter().sum::<usize>() as f64, (30 * polls.iter().min().unwrap()) as f64);
    assert!(all <= 1.1 * alone, "{all} long polls, and one worker makes {alone}");
    let metrics = stand.metrics().await;
    let many = |begin: &str, end: &str| {
        metrics.iter().filter(|line| line.starts_with(begin) && line.ends_with(end)).count()
    };
    assert_eq!(many("outbox_worker_roster_members ", " 10"), 10);
    assert_eq!((many("outbox_worker_duty{", " 2"), many("outbox_worker_duty{", " 0")), (30, 270));
    // The metrics that are documented as only on this transport are there.
    let documented = std::fs::read_to_string(root().join("ops/metrics.md")).unwrap();
    let only = documented.lines().filter(|line| line.contains("Only on `aws`"));
    let only: Vec<&str> = only.map(|line| line.split('`').nth(1).unwrap()).collect();
    assert!(only.len() == 2 && only.iter().all(|name| many(name, "") > 0), "{only:?}");
    stand.finish().await;
}

/// Guards promise 2: after a worker was killed, another one receives from its queues, though its entry is still there.
#[tokio::test(flavor = "multi_thread")]
async fn the_queues_of_a_killed_worker_are_taken_over() {
    let mut stand = Stand::new(12, 2).await;
    stand.until_polled_by(1).await;
    stand.workers.remove(0).kill().await.unwrap();
    stand.until_all_see(1).await;
    stand.until_polled_by(1).await;
    assert_eq!(stand.state.lock().unwrap().entries(), 2, "no worker has removed its entry");
    stand.finish().await;
}

/// Guards promise 2: a worker that stops removes its entry before it ends, so the others take over at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_hands_over() {
    let mut stand = Stand::new(12, 2).await;
    stand.workers.remove(0).stop().await.unwrap();
    assert_eq!(stand.state.lock().unwrap().entries(), 1);
    // A request that comes when the item has expired makes it anew.
    let keeps = |input: &serde_json::Value| !input["ExpressionAttributeValues"][":expires_at"].is_null();
    assert!(stand.stub.asked("UpdateItem").iter().all(keeps), "an item without an end");
    stand.until_all_see(1).await;
    stand.until_polled_by(1).await;
    stand.finish().await;
}

/// Guards promise 2: while the table can't be read, every worker receives from every queue, and logs the reason. Afterwards
/// they share the queues again.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_every_worker_receives() {
    let mut stand = Stand::new(6, 3).await;
    stand.until_polled_by(1).await;
    stand.unreadable.store(true, Ordering::Relaxed);
    for worker in &mut stand.workers {
        let said = worker.wait_for("can't read which other workers are running").await.unwrap();
        assert!(said.contains("AccessDenied"), "{said}");
    }
    stand.until_polled_by(3).await;
    let failed = "outbox_worker_roster_errors_total{operation=\"read\"} ";
    let metrics = stand.metrics().await;
    let failed = metrics.iter().filter_map(|line| line.strip_prefix(failed));
    assert!(failed.filter(|many| *many != "0").count() == 3, "{metrics:#?}");
    stand.unreadable.store(false, Ordering::Relaxed);
    stand.until_polled_by(1).await;
    assert!(stand.stub.asked("GetItem").len() > 10);
    stand.finish().await;
}

/// Guards promise 7: on the emulator's table each worker writes and removes only its own entry. An old entry of another
/// worker can be removed, unless that worker has written since.
#[tokio::test(flavor = "multi_thread")]
async fn the_roster_is_one_item() {
    let Some(cloud) = cloud() else { return };
    let client = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let of = |same: [&str; 2]| Roster::new(client.clone(), "outbox-dedup", same);
    let (roster, other) = (of(["outbox-Test--One", "10s"]), of(["outbox-Test--One", "9s"]));
    let entry = |beat| Entry { beat, full: [1, 9].into(), ..Entry::default() };
    let ids = async |roster: &Roster| roster.read().await.unwrap().into_keys().collect::<Vec<_>>();
    assert!(ids(&roster).await.is_empty());
    for (worker, beat) in [("a", 1), ("b", 5), ("c", 7), ("a", 2)] {
        roster.sign(worker, &entry(beat)).await.unwrap();
    }
    assert_eq!(roster.read().await.unwrap()["a"], entry(2));
    assert_eq!(ids(&roster).await, ["a", "b", "c"]);
    assert!(ids(&other).await.is_empty(), "workers that differ have a roster of their own");
    roster.leave("a").await.unwrap();
    roster.strike("b", &entry(5)).await.unwrap();
    let written_since = roster.strike("c", &entry(6)).await.unwrap_err();
    assert_eq!(written_since.code, "ConditionalCheckFailedException");
    assert_eq!(ids(&roster).await, ["c"]);
    // A request that comes when the item has expired makes it anew.
    of(["outbox-Test--One", "8s"]).leave("a").await.unwrap();
    let items = client.scan().table_name("outbox-dedup").send().await.unwrap().items.unwrap();
    // Workers of other tests have rosters here, too.
    let rosters: Vec<_> =
        items.iter().filter(|item| item["id"].as_s().unwrap().starts_with("watch ")).collect();
    assert!(rosters.len() >= 2, "{rosters:?}");
    assert!(rosters.iter().all(|item| item.contains_key("expires_at")), "{rosters:?}");
}

/// Guards promise 6: the other workers help if a queue has more messages than its watcher can deliver.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_queue_is_helped() {
    let (state, ids) = filled(120);
    // The messages are sent once the workers share the queue.
    let waiting = std::mem::take(&mut state.lock().unwrap().waiting);
    let shared = Arc::clone(&state);
    let stub = Stub::start(move |operation, input| shared.lock().unwrap().answer(operation, input)).await;
    let router = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, concurrency: 2 }]\n";
    let world = World::new(router).await;
    let (now, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let counted = Arc::clone(&most);
    world.rpcs.on("Test/One", move |_| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&counted));
        Box::pin(async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        })
    });
    let mut workers: Vec<Process> =
        (0..3).map(|_| worker_with(&world, &stub, &["--roster-every", "1s"])).collect();
    for worker in &mut workers {
        worker.wait_for(" workers=3 ").await.unwrap();
    }
    state.lock().unwrap().waiting = waiting;
    world.rpcs.until_done("Test/One", &ids).await;
    assert_eq!(most.load(Ordering::Relaxed), 6, "three workers call two at a time each");
    for worker in workers {
        worker.stop().await.unwrap();
    }
    world.finish().await;
}
