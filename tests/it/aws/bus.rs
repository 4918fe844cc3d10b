use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use outbox::Entry;
use outbox_aws::EventBridge;
use outbox_event::EventId;
use outbox_relay::bus::Bus;
use outbox_transport::RemoteBus;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::cloud::{cloud, sdk};
use crate::contracts::bus_contract;
use crate::guarded::{bad_rows, insert_bad_rows, parked};
use crate::role::role;
use crate::stub::{Answer, Stub};
use crate::world::{One, ROUTER, World, relay_settings};

/// Guards: an event on EventBridge arrives as a message in its subscriber's queue, up to the largest payload. An event that
/// can't travel is refused.
#[tokio::test(flavor = "multi_thread")]
async fn eventbridge_keeps_the_contract() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(ROUTER).await;
    let bus = EventBridge::new(aws_sdk_eventbridge::Client::new(&cloud.sdk()), "outbox", "cards", 4);
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    let arrived = async |many| {
        let url = sqs.get_queue_url().queue_name("outbox-Test--Bus").send().await.unwrap().queue_url.unwrap();
        let mut bodies = Vec::new();
        crate::world::until("they arrive", async || {
            let receive = sqs.receive_message().queue_url(&url).max_number_of_messages(10).send();
            let messages = receive.await.unwrap().messages.unwrap_or_default();
            bodies.extend(messages.into_iter().filter_map(|message| message.body));
            bodies.len() >= many
        })
        .await;
        bodies
    };
    let put = async |events: &[&outbox_event::Envelope<'_>]| {
        assert!(bus.limits().entries_max >= events.len() && bus.limits().concurrency >= 1);
        let results = bus.put(events).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    };
    bus_contract(put, arrived).await;
    world.finish().await;
}

/// Guards: an answer that lists failed entries is read entry by entry. Only failed ones are put again. A refused one is
/// parked with AWS's words, and its nine neighbours go on. Events of a key stay in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_partial_failure_is_taken_apart() {
    let taken: Arc<Mutex<Vec<i64>>> = Arc::default();
    let tries: Mutex<HashMap<i64, usize>> = Mutex::default();
    let log = Arc::clone(&taken);
    let stub = Stub::start(move |_, input| {
        let results: Vec<Value> = entries(input)
            .map(|n| {
                let mut tries = tries.lock().unwrap();
                let tried = tries.entry(n).or_default();
                *tried += 1;
                match (n % 10, *tried) {
                    (3, _) => json!({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}),
                    (5, 1) => json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}),
                    (7, 1..=2) => json!({"ErrorCode": "InternalFailure", "ErrorMessage": "oops"}),
                    _ => {
                        log.lock().unwrap().push(n);
                        json!({"EventId": "e"})
                    }
                }
            })
            .collect();
        Answer::Ok(json!({"FailedEntryCount": 1, "Entries": results}))
    })
    .await;
    let mut world = World::new(ROUTER).await;
    let all = (0..40).map(|n| Entry::new(One { n }).key(format!("key-{}", n % 4)));
    world.publish_all(all).await;
    relay(&mut world, &stub);
    until_put(&world).await;

    let taken = taken.lock().unwrap().clone();
    let expected: HashSet<i64> = (0..40).filter(|n| n % 10 != 3).collect();
    assert_eq!(taken.len(), expected.len(), "none is put again that was taken");
    assert_eq!(taken.iter().copied().collect::<HashSet<_>>(), expected);
    for key in 0..4 {
        let order: Vec<i64> = taken.iter().copied().filter(|n| n % 4 == key).collect();
        assert!(order.is_sorted(), "key-{key} took effect as {order:?}");
    }
    let parked: Vec<(String, String)> =
        sqlx::query_as("select code, reason from outbox.parked").fetch_all(&world.pool).await.unwrap();
    assert_eq!(parked, vec![("MalformedDetail".to_owned(), "Detail is malformed.".to_owned()); 4]);
    world.finish().await;
}

/// Guards: under load requests are full, so that a thousand events take at most 105 calls. An entry has the agreed form.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_events_take_a_hundred_calls() {
    let stub = Stub::start(|_, input| taken(input)).await;
    let mut world = World::new(ROUTER).await;
    let ids = world
        .publish_all((0..1000).map(|n| Entry::new(One { n }).header("x-amzn-trace-id", "Root=1-5")))
        .await;
    relay(&mut world, &stub);
    until_put(&world).await;
    let calls = stub.asked("PutEvents");
    assert!(calls.len() <= 105, "{} calls", calls.len());
    let puts: Vec<&Value> = calls.iter().flat_map(|call| call["Entries"].as_array().unwrap()).collect();
    assert_eq!(puts.len(), 1000);
    let put = puts.iter().find(|put| put["Detail"].as_str().unwrap().contains(&ids[7].to_string())).unwrap();
    assert_eq!((&put["EventBusName"], &put["DetailType"]), (&json!("outbox"), &json!("event_one")));
    assert_eq!((&put["Source"], &put["TraceHeader"]), (&json!("cards"), &json!("Root=1-5")));
    assert!(put["Time"].is_number(), "{put}");
    let detail: Value = serde_json::from_str(put["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["payload"], json!({"n": 7}));
    assert_eq!(detail["id"], json!(ids[7].to_string()));
    world.finish().await;
}

/// Guards promises 4, 6 and 8: a row that a publisher inserted without the checks reaches no bus. It is parked with a code,
/// and the other events of its key are put in order.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_inserts_reaches_no_bus() {
    let stub = Stub::start(|_, input| taken(input)).await;
    let mut world = World::new(ROUTER).await;
    let mut publisher = PgConnection::connect(&role(&world, "publisher").await).await.unwrap();
    relay(&mut world, &stub);
    let sound = insert_bad_rows(&mut publisher).await;
    until_put(&world).await;
    let codes: Vec<&str> = bad_rows().iter().map(|bad| bad.code).collect();
    assert_eq!(parked(&world).await, codes);
    let mut put = Vec::new();
    for call in stub.asked("PutEvents") {
        for entry in call["Entries"].as_array().unwrap() {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
            put.push(detail["id"].as_str().unwrap().parse::<EventId>().unwrap());
        }
    }
    assert_eq!(put, sound);
    world.finish().await;
}

/// Guards: a request that is refused as a whole is divided until the offending entry is alone. Only that one is parked.
#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_request_is_divided() {
    const LIMIT: usize = 230_000;
    let stub = Stub::start(|_, input| {
        let size = |entry: &Value| {
            14 + ["Source", "DetailType", "Detail"]
                .iter()
                .map(|name| entry[*name].as_str().unwrap().len())
                .sum::<usize>()
        };
        let total: usize = input["Entries"].as_array().unwrap().iter().map(size).sum();
        if total > LIMIT {
            return Answer::Error(
                "ValidationException",
                "Total size of the entries in the request is over the limit.",
                json!({}),
            );
        }
        taken(input)
    })
    .await;
    let mut world = World::new(ROUTER).await;
    // Ten of 70 kB are too many for this region, which takes three at a time.
    let payload = |bytes: usize| json!({ "n": 1, "text": "x".repeat(bytes) }).to_string();
    for _ in 0..10 {
        let insert = sqlx::query("select outbox.enqueue('event_one', $1)").bind(payload(70_000));
        insert.execute(&world.pool).await.unwrap();
    }
    // One that no request of this region can take, and one that no request of any region can.
    let insert = sqlx::query("select outbox.enqueue('event_one', $1)").bind(payload(240_000));
    insert.execute(&world.pool).await.unwrap();
    world
        .execute(&format!(
            "insert into outbox.event (id, name, payload) values (gen_random_uuid(), 'event_one', '{}')",
            payload(1_100_000)
        ))
        .await;
    relay(&mut world, &stub);
    until_put(&world).await;
    let put: usize = stub
        .asked("PutEvents")
        .iter()
        .map(|call| call["Entries"].as_array().unwrap().len())
        .filter(|entries| *entries <= 3)
        .sum();
    assert!(put >= 10, "{put}");
    let mut parked: Vec<String> =
        sqlx::query_scalar("select code from outbox.parked").fetch_all(&world.pool).await.unwrap();
    parked.sort();
    assert_eq!(parked, ["EntryTooLarge", "ValidationException"]);
    world.finish().await;
}

/// Guards: no failure of AWS or of the network loses an event or parks an innocent one. The bus is missing, forbidden or
/// throttled; answers break off, are lost or never come.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_day_of_the_bus_loses_nothing() {
    let taken_ids: Arc<Mutex<HashSet<String>>> = Arc::default();
    let (log, calls) = (Arc::clone(&taken_ids), Mutex::new(0));
    let stub = Stub::start(move |_, input| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        let effect = || {
            let details =
                input["Entries"].as_array().unwrap().iter().map(|entry| entry["Detail"].as_str().unwrap());
            let ids = details.map(|detail| {
                serde_json::from_str::<Value>(detail).unwrap()["id"].as_str().unwrap().to_owned()
            });
            log.lock().unwrap().extend(ids);
        };
        match *calls {
            1 => Answer::Error("ResourceNotFoundException", "Event bus outbox does not exist.", json!({})),
            2 => Answer::Error(
                "AccessDeniedException",
                "not authorized to perform: events:PutEvents",
                json!({}),
            ),
            3 => Answer::Error("ThrottlingException", "Rate exceeded", json!({})),
            4 => Answer::Truncated,
            5 => {
                effect();
                Answer::Lost
            }
            6 => Answer::Ok(json!({"FailedEntryCount": 0, "Entries": []})),
            7 => Answer::Never,
            _ => {
                effect();
                taken(input)
            }
        }
    })
    .await;
    let mut world = World::new(ROUTER).await;
    let ids = world.publish_all((0..60).map(|n| Entry::new(One { n }))).await;
    relay(&mut world, &stub);
    until_put(&world).await;
    let put = taken_ids.lock().unwrap().iter().map(|id| id.parse().unwrap()).collect::<HashSet<EventId>>();
    assert_eq!(put, ids.into_iter().collect());
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.parked").await, 0);
    world.finish().await;
}

fn relay(world: &mut World, stub: &Stub) {
    let timeouts = aws_config::timeout::TimeoutConfig::builder()
        .operation_attempt_timeout(std::time::Duration::from_secs(1))
        .build();
    let sdk = sdk(&stub.endpoint).into_builder().timeout_config(timeouts).build();
    let client = aws_sdk_eventbridge::Client::new(&sdk);
    world.relay_on(Bus::Remote(EventBridge::new(client, "outbox", "cards", 4)), relay_settings());
}

/// Waits until the cursor is past everything that was published.
async fn until_put(world: &World) {
    world
        .until("select (select last_seq from outbox.cursor_now()) >= (select max(seq) from outbox.event)")
        .await;
}

fn entries(input: &Value) -> impl Iterator<Item = i64> {
    input["Entries"].as_array().unwrap().iter().map(|entry| {
        let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        detail["payload"]["n"].as_i64().unwrap()
    })
}

fn taken(input: &Value) -> Answer {
    let results: Vec<Value> =
        input["Entries"].as_array().unwrap().iter().map(|_| json!({"EventId": "e"})).collect();
    Answer::Ok(json!({"FailedEntryCount": 0, "Entries": results}))
}
