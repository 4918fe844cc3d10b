use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::EventId;
use serde_json::{Value, json};
use xtask::process::Process;

use super::stub::{Answer, Stub};
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

/// Queue and table, as far as the worker can tell.
#[derive(Default)]
struct State {
    /// (receipt handle, body, receives)
    waiting: VecDeque<(String, String, u32)>,
    hidden: HashMap<String, (String, u32)>,
    items: HashMap<String, Value>,
    next: u64,
}

impl State {
    fn answer(&mut self, operation: &str, input: &Value) -> Answer {
        match operation {
            "GetQueueUrl" => Answer::Ok(
                json!({"QueueUrl": format!("http://queue/{}", input["QueueName"].as_str().unwrap())}),
            ),
            "ReceiveMessage" => {
                let max = input["MaxNumberOfMessages"].as_u64().unwrap() as usize;
                let many = max.min(self.waiting.len());
                let messages: Vec<Value> = self.waiting.drain(..many).collect::<Vec<_>>().into_iter().map(|(_, body, receives)| {
                    self.next += 1;
                    let handle = format!("handle-{}", self.next);
                    let message = json!({
                        "MessageId": handle, "ReceiptHandle": handle, "Body": body, "MD5OfBody": "",
                        "Attributes": {"ApproximateReceiveCount": (receives + 1).to_string(), "SentTimestamp": "1795316645000"},
                    });
                    self.hidden.insert(handle, (body, receives + 1));
                    message
                }).collect();
                if messages.is_empty() {
                    Answer::After(Duration::from_secs(1), json!({}))
                } else {
                    Answer::Ok(json!({"Messages": messages}))
                }
            }
            "DeleteMessageBatch" => {
                let ids = input["Entries"].as_array().unwrap().iter().map(|entry| {
                    self.hidden.remove(entry["ReceiptHandle"].as_str().unwrap());
                    json!({"Id": entry["Id"]})
                });
                Answer::Ok(json!({"Successful": ids.collect::<Vec<_>>(), "Failed": []}))
            }
            "ChangeMessageVisibilityBatch" => {
                for entry in input["Entries"].as_array().unwrap() {
                    let handle = entry["ReceiptHandle"].as_str().unwrap();
                    // A retry comes back at once; an extension does not.
                    if entry["VisibilityTimeout"].as_u64().unwrap() < 3
                        && let Some((body, receives)) = self.hidden.remove(handle)
                    {
                        self.waiting.push_back((handle.to_owned(), body, receives));
                    }
                }
                Answer::Ok(json!({"Successful": [], "Failed": []}))
            }
            "PutItem" => {
                let id = input["Item"]["id"]["S"].as_str().unwrap().to_owned();
                match self.items.get(&id) {
                    Some(there) if there["state"]["S"] != "failed" => {
                        Answer::Error("ConditionalCheckFailedException", "no", json!({"Item": there}))
                    }
                    _ => {
                        self.items.insert(id, input["Item"].clone());
                        Answer::Ok(json!({}))
                    }
                }
            }
            "UpdateItem" => {
                let id = input["Key"]["id"]["S"].as_str().unwrap();
                let item = self.items.get_mut(id).expect("it was claimed");
                let values = &input["ExpressionAttributeValues"];
                assert_eq!(item["token"], values[":token"]);
                item["state"] = values.get(":state").unwrap_or(&values[":done"]).clone();
                Answer::Ok(json!({}))
            }
            "GetQueueAttributes" => Answer::Ok(json!({"Attributes": {}})),
            other => panic!("{other} is not expected"),
        }
    }
}

/// Guards: under load a message costs a tenth of a receive, a tenth of a delete and two writes, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_what_it_must() {
    let (state, ids) = filled(1000);
    let stub = Stub::start(move |operation, input| state.lock().unwrap().answer(operation, input)).await;
    let world = World::new(ROUTER).await;
    let worker = worker(&world, &stub);
    world.rpcs.until_done("Test/One", &ids).await;
    worker.stop().await.unwrap();
    let deleted: usize =
        stub.asked("DeleteMessageBatch").iter().map(|input| input["Entries"].as_array().unwrap().len()).sum();
    assert_eq!(deleted, 1000);
    let asked = |operation: &str| stub.asked(operation).len();
    // The last ones find nothing.
    assert!(asked("ReceiveMessage") <= 105, "{} receives", asked("ReceiveMessage"));
    assert!(asked("DeleteMessageBatch") <= 110, "{} deletes", asked("DeleteMessageBatch"));
    assert_eq!((asked("PutItem"), asked("UpdateItem")), (1000, 1000));
    world.finish().await;
}

/// Guards: while DynamoDB or SQS can't be asked, answers late, breaks off or throttles, nothing is called that may have been
/// called, and nothing is lost: every message is called once, recorded and deleted in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_day_of_queue_and_table_loses_nothing() {
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
        match (operation, call % 7) {
            ("PutItem" | "UpdateItem", 1) => throttled(),
            ("PutItem" | "UpdateItem", 2) => Answer::Truncated,
            ("UpdateItem" | "DeleteMessageBatch", 3) => {
                // It took effect, and nobody hears of it.
                let _ = state.answer(operation, input);
                Answer::Lost
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
    let worker = worker(&world, &stub);
    world.rpcs.until_done("Test/One", &ids).await;
    crate::world::until("all are recorded and deleted", async || {
        let state = state.lock().unwrap();
        let done = |id: &EventId| {
            state.items.get(&format!("{id} Test/One")).is_some_and(|item| item["state"]["S"] == "done")
        };
        state.waiting.is_empty() && state.hidden.is_empty() && ids.iter().all(done)
    })
    .await;
    worker.stop().await.unwrap();
    assert_eq!(world.rpcs.succeeded().len(), ids.len());
    world.finish().await;
}

/// Guards: while DynamoDB can't be asked, nothing is called and messages are left in the queue, where every receive would
/// count as an attempt; when it is back, they are delivered.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_record_cannot_be_asked_messages_are_left_alone() {
    let (state, ids) = filled(30);
    let (shared, away) = (Arc::clone(&state), Arc::new(AtomicBool::new(true)));
    let gone = Arc::clone(&away);
    let stub = Stub::start(move |operation, input| {
        if operation == "PutItem" && gone.load(Ordering::Relaxed) {
            return Answer::Error("InternalServerError", "away", json!({}));
        }
        shared.lock().unwrap().answer(operation, input)
    })
    .await;
    let world = World::new(ROUTER).await;
    let worker = worker(&world, &stub);
    crate::world::until("it was asked for a while", async || stub.asked("PutItem").len() > 150).await;
    // Of ten seconds without it: each time twice as long as before.
    let receives = stub.asked("ReceiveMessage").len();
    assert!(receives <= 12, "{receives} receives");
    assert!(world.rpcs.calls().is_empty());
    away.store(false, Ordering::Relaxed);
    world.rpcs.until_done("Test/One", &ids).await;
    assert!(world.rpcs.calls().iter().all(|call| call.attempt <= 8), "attempts were used up");
    worker.stop().await.unwrap();
    world.finish().await;
}

/// A queue with so many messages.
fn filled(many: usize) -> (Arc<Mutex<State>>, Vec<EventId>) {
    let ids: Vec<EventId> = (0..many).map(|_| EventId::new()).collect();
    let body = |id: &EventId| {
        format!(
            r#"{{"rpc":"Test/One","event":{{"id":"{id}","name":"event_one","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"n":1}}}}}}"#
        )
    };
    let state =
        State { waiting: ids.iter().map(|id| (String::new(), body(id), 0)).collect(), ..State::default() };
    (Arc::new(Mutex::new(state)), ids)
}

fn worker(world: &World, stub: &Stub) -> Process {
    let (router, endpoints) = (world.router_file.display().to_string(), world.endpoints());
    let mut args = vec!["--router", &router, "--metrics-addr", "127.0.0.1:0", "--visibility", "30s"];
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
