//! Workers whose calls fail do not keep a queue to themselves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectrpc::ConnectError;
use outbox_event::EventId;
use serde_json::json;
use testkit::process::Process;
use testkit::scrape;

use super::POLL;
use crate::aws::played::State;
use crate::aws::worker::{filled, worker_at};
use crate::stub::{Answer, Stub};
use crate::world::{Rpcs, World, until};

const NOBODY: &str = "Test=http://127.0.0.1:1";

/// Two workers, each with an endpoint of its own.
struct Pair {
    workers: Vec<Process>,
    addrs: Vec<String>,
}

impl Pair {
    /// Returns once each has seen the other live.
    async fn new(world: &World, stub: &Stub, endpoints: [String; 2]) -> Self {
        let start = |endpoint| worker_at(world, stub, &[endpoint], &["--roster-every", "1s"]);
        let (mut workers, mut addrs): (Vec<_>, Vec<_>) = (endpoints.map(start).into(), Vec::new());
        for worker in &mut workers {
            addrs.push(scrape::addr(worker).await.unwrap());
        }
        for worker in &mut workers {
            worker.wait_for(" workers=2 ").await.unwrap();
        }
        Self { workers, addrs }
    }

    /// A metric of one worker, by RPC.
    async fn shows(&self, worker: usize, metric: &str) -> Vec<(String, String)> {
        let metrics = scrape::get(&self.addrs[worker], "/metrics").await.unwrap().1;
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        let rpc_of = |labels: &str| Some(labels.split_once("rpc=\"")?.1.split_once('"')?.0.to_owned());
        lines
            .filter_map(|line| {
                let (labels, value) = line.rsplit_once(' ')?;
                Some((rpc_of(labels)?, value.to_owned()))
            })
            .collect()
    }

    /// The RPCs whose queues this worker watches.
    async fn watches(&self, worker: usize) -> Vec<String> {
        self.has(worker, "2").await
    }

    async fn has(&self, worker: usize, role: &str) -> Vec<String> {
        let duties = self.shows(worker, "outbox_worker_duty").await;
        duties.into_iter().filter(|(_, duty)| duty == role).map(|(rpc, _)| rpc).collect()
    }

    /// Waits until each queue has one watcher.
    async fn until_shared(&self, queues: usize) {
        until("each queue has one watcher", async || {
            self.watches(0).await.len() + self.watches(1).await.len() == queues
        })
        .await;
    }

    async fn stop(self) {
        for worker in self.workers {
            worker.stop().await.unwrap();
        }
    }
}

/// Guards promise 2: a worker whose calls fail does not keep its quiet queue to itself. Another one receives as well, and
/// delivers a message before its attempts end.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_calls_fail_is_helped() {
    const QUEUES: usize = 12;
    let (state, _) = filled(0);
    let queue: Arc<Mutex<String>> = Arc::default();
    let (played, at) = (Arc::clone(&state), Arc::clone(&queue));
    let stub = Stub::start(move |operation, input| {
        let is_filled = input["QueueUrl"].as_str().is_some_and(|url| url.ends_with(&*at.lock().unwrap()));
        match operation {
            "ReceiveMessage" if !is_filled => Answer::After(POLL, json!({})),
            "ReceiveMessage" => match played.lock().unwrap().answer(operation, input) {
                // Long polls without an order: which one finds the message is drawn.
                Answer::After(..) => Answer::After(Duration::from_millis(fastrand::u64(100..500)), json!({})),
                found => found,
            },
            _ => played.lock().unwrap().answer(operation, input),
        }
    })
    .await;
    let mut router = "event:\n".to_owned();
    for n in 0..QUEUES {
        let policy = "max_attempts: 25, backoff: { min: 10ms, max: 50ms }";
        router += &format!("  - name: event_{n}\n    subscriber: [{{ id: Test/Quiet{n}, {policy} }}]\n");
    }
    let world = World::new(&router).await;
    let reached = format!("Test=http://{}", world.rpcs.addr);
    let pair = Pair::new(&world, &stub, [NOBODY.to_owned(), reached]).await;
    pair.until_shared(QUEUES).await;
    let rpc = pair.watches(0).await.pop().expect("one of twelve queues");
    assert!(!pair.watches(1).await.contains(&rpc));
    *queue.lock().unwrap() = rpc.replace('/', "--");
    // On a slow machine the other worker may watch for a moment, and deliver a message before any call has failed.
    let mut sent = Vec::new();
    until("both watch the queue", async || {
        {
            let mut state = state.lock().unwrap();
            if state.is_settled() {
                let (one, id) = filled(1);
                let (message, _) = one.lock().unwrap().waiting.pop_front().unwrap();
                state.waiting.push_back((message.replace("Test/One", &rpc), 0));
                sent.extend(id);
            }
        }
        pair.watches(0).await.contains(&rpc) && pair.watches(1).await.contains(&rpc)
    })
    .await;
    world.rpcs.until_done(&rpc, &sent).await;
    pair.stop().await;
    world.finish().await;
}

/// Guards promise 6: a worker with an open breaker does not rest, because it would never find out that its server is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_an_open_breaker_goes_on() {
    let (state, _) = filled(80);
    let waiting = std::mem::take(&mut state.lock().unwrap().waiting);
    let shared = Arc::clone(&state);
    let stub = Stub::start(move |operation, input| shared.lock().unwrap().answer(operation, input)).await;
    let policy = "concurrency: 2, timeout: 1s, max_attempts: 100, backoff: { min: 10ms, max: 50ms }";
    let router = format!("event:\n  - name: event_one\n    subscriber: [{{ id: Test/One, {policy} }}]\n");
    let world = World::new(&router).await;
    let servers = [world.rpcs.clone(), Rpcs::start().await];
    let endpoints = servers.each_ref().map(|server| format!("Test=http://{}", server.addr));
    let pair = Pair::new(&world, &stub, endpoints).await;
    pair.until_shared(1).await;
    let worse = usize::from(!pair.watches(0).await.is_empty());

    // More than one worker can do: the other one helps, and its server refuses.
    servers[worse].on("Test/One", |_| Box::pin(async { Err(ConnectError::unavailable("no")) }));
    servers[1 - worse].on("Test/One", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(())
        })
    });
    state.lock().unwrap().waiting = waiting;
    let breaker = async || pair.shows(worse, "outbox_worker_breaker_state").await.pop().unwrap().1;
    until("its breaker opens", async || breaker().await != "0").await;
    until("it is not needed any more", async || {
        {
            let mut state = state.lock().unwrap();
            state.waiting.clear();
            state.hidden.clear();
        }
        pair.has(worse, "0").await == ["Test/One"]
    })
    .await;
    for server in servers {
        server.on("Test/One", |_| Box::pin(async { Ok(()) }));
    }
    until("its breaker closes", async || {
        {
            let mut state = state.lock().unwrap();
            if state.is_settled() {
                state.waiting.push_back(message());
            }
        }
        breaker().await == "0"
    })
    .await;
    pair.stop().await;
    world.finish().await;
}

/// Another one for Test/One.
fn message() -> (String, u32) {
    let (state, _): (Arc<Mutex<State>>, Vec<EventId>) = filled(1);
    state.lock().unwrap().waiting.pop_front().unwrap()
}
