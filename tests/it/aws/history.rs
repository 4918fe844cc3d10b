//! The history of events on DynamoDB: it costs little, and no delivery waits for it.

use std::time::Duration;

use outbox_aws::DynamoDedup;
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::{Again, Dedup, Lease, Outcome, Released};
use serde_json::{Value, json};

use crate::cloud::sdk;
use crate::stub::{Answer, Stub};
use crate::world::{PATIENCE, until};

/// As many writes of a history are under way at most.
const TOGETHER_MAX: usize = 64;

fn dedup(stub: &Stub) -> DynamoDedup {
    let client = aws_sdk_dynamodb::Client::new(&sdk(&stub.endpoint));
    DynamoDedup::new(client, "outbox-dedup", &Rpc::new("Test/One").unwrap(), Duration::from_secs(60))
}

fn key(input: &Value) -> &str {
    input["Key"]["id"]["S"].as_str().unwrap()
}

fn is_of_history(input: &Value) -> bool {
    key(input).starts_with("history ")
}

/// The keys of the histories that were written.
fn written(stub: &Stub) -> Vec<String> {
    stub.asked("UpdateItem")
        .iter()
        .filter(|input| is_of_history(input))
        .map(|input| key(input).to_owned())
        .collect()
}

fn released(event: EventId, again: Again, error: &str) -> Released {
    let outcome = Outcome::retry(again, Duration::ZERO, "invalid_argument", error);
    Released { lease: Lease { event, token: 7 }, attempt: 1, outcome, waits: None }
}

/// Guards promise 6: while DynamoDB writes no history, leases are given back, and what waits is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn no_delivery_waits_for_the_history() {
    let stub = Stub::start(|_, input| match is_of_history(input) {
        true => Answer::Never,
        false => Answer::Ok(json!({})),
    })
    .await;
    let dedup = dedup(&stub);
    for expected in [50, TOGETHER_MAX] {
        let all: Vec<Released> = (0..50).map(|_| released(EventId::new(), Again::Failed, "down")).collect();
        let answers = tokio::time::timeout(PATIENCE, dedup.release(&all)).await.expect("no wait");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        until("as many as may be are being written", async || written(&stub).len() >= expected).await;
    }
    assert_eq!(written(&stub).len(), TOGETHER_MAX);
}

/// Guards promise 7: an event that is held again and again with the same words has one entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_kept_once() {
    let stub = Stub::start(|_, _| Answer::Ok(json!({}))).await;
    let (dedup, event) = (dedup(&stub), EventId::new());
    for (error, entries) in [("card 1", 1), ("card 1", 1), ("card 1", 1), ("card 2", 2)] {
        dedup.release(&[released(event, Again::Held, error)]).await[0].clone().unwrap();
        until("what is new is written", async || written(&stub).len() >= entries).await;
    }
    assert_eq!(written(&stub).len(), 2);
}

/// Guards promise 7: a list without room is asked once. What comes after goes to a small item.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_list_is_not_written_again() {
    let stub = Stub::start(|_, input| match is_of_history(input) && !key(input).ends_with(" rest") {
        true => Answer::Error("ConditionalCheckFailedException", "no", json!({})),
        false => Answer::Ok(json!({})),
    })
    .await;
    let (dedup, event) = (dedup(&stub), EventId::new());
    for writes in 2..=4 {
        dedup.release(&[released(event, Again::Failed, "down")]).await[0].clone().unwrap();
        until("it is written", async || written(&stub).len() >= writes).await;
    }
    let (list, rest) = (format!("history {event} Test/One"), format!("history {event} Test/One rest"));
    assert_eq!(written(&stub), [list, rest.clone(), rest.clone(), rest]);
}
