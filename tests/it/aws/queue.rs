use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use event::EventId;
use event_router::{Rpc, names};
use tokio_util::sync::CancellationToken;
use worker::dedup::{Claim, Dedup, DynamoDedup, Released};
use worker::queue::{Delivery, Queue, Settlement, SqsQueue, SqsReceipt};

use super::cloud::cloud;
use crate::contracts::{dedup_contract, failed};
use crate::world::{PATIENCE, until};

const TABLE: &str = "outbox-dedup";

/// Guards promise 3 on DynamoDB: the contract of the Postgres table, and an expired record that DynamoDB has not removed
/// yet counts as gone. And promise 8: what came of the last attempt stands in the record.
#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_dedup_keeps_the_contract() {
    let Some(cloud) = cloud() else { return };
    let client = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let rpc = Rpc::new("Test/Dedup").unwrap();
    let of = |lease| DynamoDedup::new(client.clone(), TABLE, &rpc, lease);
    dedup_contract(&of(Duration::from_secs(60)), &of(Duration::from_millis(300))).await;

    let long = of(Duration::from_secs(60));
    let event = EventId::new();
    let Claim::Won(lease) = long.claim(&[event]).await.unwrap()[0] else { panic!("it is new") };
    long.complete(&[lease]).await.unwrap();
    let expire = client
        .update_item()
        .table_name(TABLE)
        .key("id", aws_sdk_dynamodb::types::AttributeValue::S(format!("{event} Test/Dedup")))
        .update_expression("set expires_at = :then")
        .expression_attribute_values(":then", aws_sdk_dynamodb::types::AttributeValue::N("1".into()));
    expire.send().await.unwrap();
    let Claim::Won(lease) = long.claim(&[event]).await.unwrap()[0] else { panic!("its window is over") };

    long.release(&[Released { dead: true, ..failed(lease) }]).await.unwrap();
    let id = aws_sdk_dynamodb::types::AttributeValue::S(format!("{event} Test/Dedup"));
    let item = client.get_item().table_name(TABLE).key("id", id).send().await.unwrap().item.unwrap();
    let text = |name: &str| item[name].as_s().unwrap().as_str();
    assert_eq!((text("state"), text("code"), text("error")), ("dead", "internal", "no card"));
    assert_eq!(item["attempt"].as_n().unwrap(), "2");
    assert!(matches!(long.claim(&[event]).await.unwrap()[0], Claim::Won(_)), "it was redriven");
}

/// Guards: a message stays hidden until it is settled, comes back with its attempt counted when its visibility ends, at its
/// time when retried, and never when acked or dead; a dead one says why in the dead-letter queue.
#[tokio::test(flavor = "multi_thread")]
async fn sqs_keeps_the_contract() {
    let Some(cloud) = cloud() else { return };
    let client = aws_sdk_sqs::Client::new(&cloud.sdk());
    let name = format!("outbox-{}", names::queue(&Rpc::new("Test/Contract").unwrap()));
    let open = |visibility| SqsQueue::open(client.clone(), client.clone(), &name, visibility);
    let (long, short) =
        (open(Duration::from_secs(60)).await.unwrap(), open(Duration::from_secs(6)).await.unwrap());
    let stop = CancellationToken::new();
    let url = client.get_queue_url().queue_name(&name).send().await.unwrap().queue_url.unwrap();
    let send = async |n: i64| {
        client.send_message().queue_url(&url).message_body(n.to_string()).send().await.unwrap();
    };
    for n in 0..6 {
        send(n).await;
    }

    let mut received = receive(&long, 6).await;
    assert!(
        received.values().all(|delivery| delivery.attempt == 1 && delivery.enqueued_at <= chrono::Utc::now())
    );
    let mut settle = async |n: i64, settlement| {
        let receipt = received.remove(&n).unwrap().receipt;
        long.settle(&[(receipt, settlement)]).await.unwrap();
    };
    settle(0, Settlement::Ack).await;
    let retry =
        |after| Settlement::Retry { after, counted: true, code: "internal".into(), error: "e".into() };
    settle(1, retry(Duration::from_secs(1))).await;
    settle(2, Settlement::Dead { code: "invalid_argument".into(), reason: "no card\u{e9}".into() }).await;
    let again = receive(&long, 1).await;
    assert_eq!(again.get(&1).map(|delivery| delivery.attempt), Some(2), "{again:?}");
    long.settle(&again.into_values().map(|delivery| (delivery.receipt, Settlement::Ack)).collect::<Vec<_>>())
        .await
        .unwrap();

    let dead_url = format!("{url}-dlq");
    let dead = client
        .receive_message()
        .queue_url(&dead_url)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
        .wait_time_seconds(5)
        .send()
        .await
        .unwrap();
    let [dead] = dead.messages() else { panic!("{dead:?}") };
    let attribute = |name: &str| dead.message_attributes().unwrap()[name].string_value().unwrap().to_owned();
    assert_eq!((dead.body(), attribute("outbox-code").as_str()), (Some("2"), "invalid_argument"));
    assert_eq!(attribute("outbox-reason"), "no card\u{e9}");

    // What is extended stays hidden beyond its visibility; what is not comes back, and whoever had it can't settle it.
    send(7).await;
    send(8).await;
    let held = receive(&short, 2).await;
    let extended = tokio::time::Instant::now() + Duration::from_millis(9000);
    while tokio::time::Instant::now() < extended {
        short.extend(&[held[&7].receipt.clone()]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let back = receive(&long, 1).await;
    assert_eq!(back.get(&8).map(|delivery| delivery.attempt), Some(2), "{back:?}");
    long.extend(&[held[&7].receipt.clone()]).await.unwrap();
    short.settle(&[(held[&8].receipt.clone(), retry(Duration::ZERO))]).await.unwrap();

    // Twenty-three at once: batches of ten, each settled once.
    let last = back.into_values().chain(held.into_values().filter(|delivery| delivery.body == "7"));
    let mut everything: Vec<_> =
        last.chain(received.into_values()).map(|delivery| delivery.receipt).collect();
    for n in 10..28 {
        send(n).await;
    }
    everything.extend(receive(&long, 18).await.into_values().map(|delivery| delivery.receipt));
    let acked: Vec<_> = everything.into_iter().map(|receipt| (receipt, Settlement::Ack)).collect();
    assert_eq!(acked.len(), 23);
    long.settle(&acked).await.unwrap();
    until("the queue is empty", async || {
        let attributes = client
            .get_queue_attributes()
            .queue_url(&url)
            .attribute_names(aws_sdk_sqs::types::QueueAttributeName::All)
            .send()
            .await
            .unwrap();
        let count = |name: &str| {
            let found = attributes.attributes().unwrap().iter().find(|(key, _)| key.as_str() == name);
            found.map(|(_, value)| value.clone())
        };
        count("ApproximateNumberOfMessages").as_deref() == Some("0")
            && count("ApproximateNumberOfMessagesNotVisible").as_deref() == Some("0")
    })
    .await;

    // A receive that waits ends at stop.
    let cancel = stop.clone();
    tokio::spawn(async move { cancel.cancel() });
    let stopped = tokio::time::timeout(Duration::from_secs(5), long.receive(10, &stop)).await;
    assert!(stopped.expect("a long poll ends at stop").unwrap().is_empty());

    let missing = SqsQueue::open(client.clone(), client.clone(), "outbox-nobody", Duration::from_secs(1))
        .await
        .unwrap_err();
    assert_eq!(
        (missing.code.as_str(), missing.message.as_str()),
        ("QueueDoesNotExist", "there is no queue 'outbox-nobody' here")
    );
}

/// So many messages, by the number in their body.
async fn receive(queue: &SqsQueue, many: usize) -> BTreeMap<i64, Delivery<SqsReceipt>> {
    let stop = CancellationToken::new();
    let mut received = BTreeMap::new();
    let receiving = async {
        while received.len() < many {
            let some = queue.receive(many - received.len(), &stop).await.unwrap();
            assert!(some.len() <= 10);
            received.extend(some.into_iter().map(|delivery| (delivery.body.parse().unwrap(), delivery)));
        }
    };
    tokio::time::timeout(PATIENCE, receiving).await.expect("they come");
    received
}
