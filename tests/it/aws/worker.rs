//! What the worker costs on AWS, and what it does while AWS fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outbox_event::EventId;
use serde_json::{Value, json};
use testkit::process::Process;

use super::played::{State, is_of_process, is_of_roster};
use crate::stub::{Answer, Stub};
use crate::world::{World, programs};

const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
        concurrency: 64
        timeout: 1s
        max_attempts: 50
        backoff: { min: 10ms, max: 50ms }
";

/// Guards: under load a message costs a tenth of a receive, of a lease, of a record and of a delete, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_what_it_must() {
    let (state, ids) = filled(1000);
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    let stub = Stub::start(move |operation, input| {
        let answer = state.lock().unwrap().answer(operation, input);
        // An empty receive means that the load is over.
        if operation == "ReceiveMessage" && matches!(answer, Answer::Ok(_)) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        answer
    })
    .await;
    let world = World::new(ROUTER).await;
    let worker = worker(&world, &stub, "30s");
    world.rpcs.until_done("Test/One", &ids).await;
    worker.stop().await.unwrap();
    let deleted: usize =
        stub.asked("DeleteMessageBatch").iter().map(|input| input["Entries"].as_array().unwrap().len()).sum();
    assert_eq!(deleted, 1000);
    let asked = |operation: &str| stub.asked(operation).len();
    let received = received.load(Ordering::Relaxed);
    assert!(received <= 105, "{received} receives");
    assert!(asked("DeleteMessageBatch") <= 110, "{} deletes", asked("DeleteMessageBatch"));
    let of_record = |input: &Value| !is_of_roster(input) && !is_of_process(input);
    let single = ["PutItem", "UpdateItem"]
        .map(|operation| stub.asked(operation).iter().filter(|input| of_record(input)).count());
    assert_eq!(single, [0, 0]);
    let written: usize =
        stub.asked("BatchExecuteStatement").iter().map(|input| statements(input).len()).sum();
    assert_eq!(written, 2000);
    let all = received + asked("BatchExecuteStatement") + asked("DeleteMessageBatch");
    assert!(all <= 450, "{all} requests");
    world.finish().await;
}

/// Guards: a busy queue gets several receives at a time, and an idle one gets one.
#[tokio::test(flavor = "multi_thread")]
async fn receivers_help_while_there_is_work() {
    // Long enough for four receives to begin on a machine that is busy.
    const ROUND_TRIP: Duration = Duration::from_millis(300);
    let (state, ids) = filled(600);
    let began = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&began);
    let stub = Stub::start(move |operation, input| {
        let answer = state.lock().unwrap().answer(operation, input);
        if operation != "ReceiveMessage" {
            return answer;
        }
        noted.lock().unwrap().push(Instant::now());
        match answer {
            Answer::Ok(received) => Answer::After(ROUND_TRIP, received),
            nothing => nothing,
        }
    })
    .await;
    let world = World::new(ROUTER).await;
    let worker = worker(&world, &stub, "30s");
    world.rpcs.until_done("Test/One", &ids).await;
    let busy = began.lock().unwrap().clone();
    let at_once =
        |first: &Instant| busy.iter().filter(|other| (*first..*first + ROUND_TRIP).contains(*other)).count();
    assert_eq!(busy.iter().map(at_once).max(), Some(4));

    // Each of the four finds nothing once. Then one goes on receiving, every half second.
    crate::world::until("the queue was looked at", async || began.lock().unwrap().len() >= busy.len() + 8)
        .await;
    worker.stop().await.unwrap();
    let idle = began.lock().unwrap().clone();
    let last = &idle[idle.len() - 4..];
    assert!(last.windows(2).all(|pair| pair[1] - pair[0] > Duration::from_millis(400)), "{last:?}");
    world.finish().await;
}

/// Guards: while DynamoDB or SQS can't be reached, is late, breaks off or throttles, no event is called twice, and none is
/// lost. In the end every message is called once, recorded and deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_day_of_queue_and_table_loses_nothing() {
    const BAD_CALLS: u32 = 80;
    let (state, ids) = filled(60);
    let (table, calls) = (Arc::clone(&state), Mutex::new(0_u32));
    let stub = Stub::start(move |operation, input| {
        let call = {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        let mut state = table.lock().unwrap();
        let throttled = || Answer::Error("ProvisionedThroughputExceededException", "slow down", json!({}));
        // The day ends, because a lease whose answers were all lost is held until its time is over.
        match (operation, if call < BAD_CALLS { call % 7 } else { 0 }) {
            ("PutItem" | "BatchExecuteStatement", 1) => throttled(),
            ("PutItem", 2) => Answer::Truncated,
            ("BatchExecuteStatement", 2) => {
                // Every second statement runs, and the others fail.
                let results = statements(input).iter().enumerate().map(|(n, statement)| match n % 4 {
                    0 => failed("ProvisionedThroughputExceeded"),
                    2 => failed("InternalServerError"),
                    _ => state.run(statement),
                });
                Answer::Ok(json!({"Responses": results.collect::<Vec<_>>()}))
            }
            ("BatchExecuteStatement" | "DeleteMessageBatch", 3) => {
                // The write took effect, and its answer is lost.
                let _ = state.answer(operation, input);
                Answer::Lost
            }
            ("BatchExecuteStatement", 6) => {
                // All statements took effect, and the last result is missing.
                let results = statements(input).iter().map(|statement| state.run(statement));
                let mut results: Vec<_> = results.collect();
                results.pop();
                Answer::Ok(json!({"Responses": results}))
            }
            ("DeleteMessageBatch", 4) => {
                let entries = input["Entries"].as_array().unwrap();
                let (first, rest) = entries.split_first().unwrap();
                let _ = state.answer(operation, &json!({"Entries": rest}));
                let failed = json!({"Id": first["Id"], "Code": "InternalError", "SenderFault": false});
                Answer::Ok(json!({"Successful": [], "Failed": [failed]}))
            }
            ("ReceiveMessage", 5) => Answer::Error("RequestThrottled", "slow down", json!({})),
            ("GetQueueUrl", _) if call < 3 => Answer::Lost,
            _ => state.answer(operation, input),
        }
    })
    .await;
    let world = World::new(ROUTER).await;
    let worker = worker(&world, &stub, "30s");
    world.rpcs.until_done("Test/One", &ids).await;
    crate::world::until("all are recorded and deleted", async || {
        let state = state.lock().unwrap();
        state.is_settled() && ids.iter().all(|id| state.is_done(id))
    })
    .await;
    worker.stop().await.unwrap();
    assert_eq!(world.rpcs.succeeded().len(), ids.len());
    world.finish().await;
}

/// Guards: while DynamoDB can't be reached, nothing is called, and messages stay in the queue, where each receive would
/// count as an attempt. When it is back, they are delivered.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_record_cannot_be_asked_messages_are_left_alone() {
    let (state, ids) = filled(30);
    let (shared, away) = (Arc::clone(&state), Arc::new(AtomicBool::new(true)));
    let gone = Arc::clone(&away);
    let stub = Stub::start(move |operation, input| {
        if operation == "BatchExecuteStatement" && gone.load(Ordering::Relaxed) {
            return Answer::Error("InternalServerError", "away", json!({}));
        }
        shared.lock().unwrap().answer(operation, input)
    })
    .await;
    let world = World::new(ROUTER).await;
    let worker = worker(&world, &stub, "30s");
    // The leases of a batch are requested three times.
    crate::world::until("it was asked for a while", async || stub.asked("BatchExecuteStatement").len() > 15)
        .await;
    // For ten seconds without it: each wait is twice as long as before.
    let receives = stub.asked("ReceiveMessage").len();
    assert!(receives <= 12, "{receives} receives");
    assert!(world.rpcs.calls().is_empty());
    away.store(false, Ordering::Relaxed);
    world.rpcs.until_done("Test/One", &ids).await;
    assert!(world.rpcs.calls().iter().all(|call| call.attempt <= 8), "attempts were used up");
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 3: a message that SQS delivers twice, to two workers at one instant, runs its RPC once.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_two_workers_at_once_runs_its_rpc_once() {
    let (state, ids) = filled(20);
    {
        let mut state = state.lock().unwrap();
        state.waiting = state.waiting.iter().flat_map(|message| [message.clone(), message.clone()]).collect();
    }
    let shared = Arc::clone(&state);
    let stub = Stub::start(move |operation, input| shared.lock().unwrap().answer(operation, input)).await;
    let world = World::new(ROUTER).await;
    world.rpcs.on("Test/One", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(())
        })
    });
    let workers = [worker(&world, &stub, "2s"), worker(&world, &stub, "2s")];
    world.rpcs.until_done("Test/One", &ids).await;
    crate::world::until("both copies of each have left the queue", async || {
        state.lock().unwrap().is_settled()
    })
    .await;
    assert_eq!(world.rpcs.calls().len(), ids.len());
    for worker in workers {
        worker.stop().await.unwrap();
    }
    world.finish().await;
}

/// Guards promise 3: a message whose visibility is lost while its RPC runs is received again, and not called again.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_back_during_its_call_is_not_called_again() {
    let (state, ids) = filled(1);
    let shared = Arc::clone(&state);
    let stub = Stub::start(move |operation, input| {
        let entries = input["Entries"].as_array();
        let first =
            entries.is_some_and(|entries| entries.iter().any(|entry| entry["ReceiptHandle"] == "handle-1"));
        if operation == "ChangeMessageVisibilityBatch" && first {
            let failed = json!({"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": true});
            return Answer::Ok(json!({"Successful": [], "Failed": [failed]}));
        }
        shared.lock().unwrap().answer(operation, input)
    })
    .await;
    let world = World::new(&ROUTER.replace("timeout: 1s", "timeout: 10s")).await;
    let received = stub.clone();
    world.rpcs.on("Test/One", move |_| {
        let stub = received.clone();
        Box::pin(async move {
            // Until the second worker, too, has checked whether it was done.
            while stub.asked("BatchExecuteStatement").len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        })
    });
    let worker = worker(&world, &stub, "1s");
    world.rpcs.until_done("Test/One", &ids).await;
    crate::world::until("it has left the queue", async || state.lock().unwrap().is_settled()).await;
    assert_eq!(world.rpcs.calls().len(), 1);
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards: a receive without an answer ends by itself, and the next one follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_never_answers_ends() {
    let (state, ids) = filled(3);
    let receives = Mutex::new(0);
    let stub = Stub::start(move |operation, input| {
        if operation == "ReceiveMessage" {
            let mut receives = receives.lock().unwrap();
            *receives += 1;
            if *receives == 1 {
                return Answer::Never;
            }
        }
        state.lock().unwrap().answer(operation, input)
    })
    .await;
    let world = World::new(ROUTER).await;
    let worker = worker(&world, &stub, "30s");
    world.rpcs.until_done("Test/One", &ids).await;
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards: expired credentials are reported with the remedy and tried rarely. Renewed ones are used at once.
#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_are_named_and_waited_for() {
    let (state, ids) = filled(3);
    let (renewed, asked) = (Arc::new(AtomicBool::new(false)), Arc::clone(&state));
    let valid = Arc::clone(&renewed);
    let stub = Stub::start(move |operation, input| {
        if valid.load(Ordering::Relaxed) {
            asked.lock().unwrap().answer(operation, input)
        } else {
            Answer::Error(
                "ExpiredTokenException",
                "The security token included in the request is expired",
                json!({}),
            )
        }
    })
    .await;
    let world = World::new(ROUTER).await;
    let began = Instant::now();
    let mut worker = worker(&world, &stub, "30s");
    let said = worker.wait_for("not delivering").await.unwrap();
    assert!(said.contains("the credentials have expired: renew them"), "{said}");
    worker.wait_for("not delivering").await.unwrap();
    let calls = stub.asked("GetQueueUrl").len();
    assert!(calls as u64 <= 3 + began.elapsed().as_secs() * 4, "{calls} calls in {:?}", began.elapsed());
    renewed.store(true, Ordering::Relaxed);
    world.rpcs.until_done("Test/One", &ids).await;
    worker.stop().await.unwrap();
    world.finish().await;
}

fn statements(input: &Value) -> &[Value] {
    input["Statements"].as_array().unwrap()
}

fn failed(code: &str) -> Value {
    json!({"Error": {"Code": code, "Message": "not now"}})
}

/// A queue with so many messages.
pub(super) fn filled(many: usize) -> (Arc<Mutex<State>>, Vec<EventId>) {
    let ids: Vec<EventId> = (0..many).map(|_| EventId::new()).collect();
    let body = |id: &EventId| {
        format!(
            r#"{{"rpc":"Test/One","event":{{"id":"{id}","name":"event_one","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"n":1}}}}}}"#
        )
    };
    let state = State { waiting: ids.iter().map(|id| (body(id), 0)).collect(), ..State::default() };
    (Arc::new(Mutex::new(state)), ids)
}

fn worker(world: &World, stub: &Stub, visibility: &str) -> Process {
    worker_with(world, stub, &["--visibility", visibility])
}

/// Starts a worker with more arguments.
pub(super) fn worker_with(world: &World, stub: &Stub, more: &[&str]) -> Process {
    worker_at(world, stub, &world.endpoints(), more)
}

/// With other endpoints.
pub(super) fn worker_at(world: &World, stub: &Stub, endpoints: &[String], more: &[&str]) -> Process {
    let router = world.router_file.display().to_string();
    let mut args = vec!["--router", &router, "--metrics-addr", "127.0.0.1:0"];
    args.extend(more);
    args.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
    let env = [
        ("OUTBOX_TRANSPORT", "aws"),
        ("AWS_ENDPOINT_URL", stub.endpoint.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_CONFIG_FILE", "/dev/null"),
    ];
    Process::start(&programs().join("worker"), args, &env).unwrap()
}
