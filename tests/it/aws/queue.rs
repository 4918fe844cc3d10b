use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use outbox_aws::DynamoDedup;
use outbox_aws::SqsQueue;
use outbox_event::EventId;
use outbox_event_router::{Rpc, names};
use outbox_transport::{Dedup, Delivery, Depths, LeaseAnswer, Outcome, Released};

use crate::cloud::cloud;
use crate::contracts::{dedup_contract, failed, lost_of, queue_contract, receive, release, settle};
use crate::world::until;

const TABLE: &str = "outbox-dedup";

/// Guards promise 3 on DynamoDB: it keeps the contract of the Postgres table. An expired record that DynamoDB has not
/// removed yet counts as absent. Promise 8: the record keeps the result of the last attempt.
#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_dedup_keeps_the_contract() {
    let Some(cloud) = cloud() else { return };
    let client = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let rpc = Rpc::new("Test/Dedup").unwrap();
    let of = |lease| DynamoDedup::new(client.clone(), TABLE, &rpc, lease);
    dedup_contract(&of(Duration::from_secs(60)), &of(Duration::from_millis(300))).await;

    let long = of(Duration::from_secs(60));
    let event = EventId::new();
    let LeaseAnswer::Won(lease) = long.lease(&[event]).await.unwrap()[0] else { panic!("it is new") };
    assert!(lost_of(&long, &[lease]).await.is_empty());
    let expire = client
        .update_item()
        .table_name(TABLE)
        .key("id", aws_sdk_dynamodb::types::AttributeValue::S(format!("{event} Test/Dedup")))
        .update_expression("set expires_at = :then")
        .expression_attribute_values(":then", aws_sdk_dynamodb::types::AttributeValue::N("1".into()));
    expire.send().await.unwrap();
    let LeaseAnswer::Won(lease) = long.lease(&[event]).await.unwrap()[0] else {
        panic!("its window is over")
    };

    let outcome = Outcome::Dead { code: "internal", reason: "no card".into() };
    release(&long, &[Released { outcome, ..failed(lease) }]).await;
    let id = aws_sdk_dynamodb::types::AttributeValue::S(format!("{event} Test/Dedup"));
    let item = client.get_item().table_name(TABLE).key("id", id).send().await.unwrap().item.unwrap();
    let text = |name: &str| item[name].as_s().unwrap().as_str();
    assert_eq!((text("state"), text("code"), text("error")), ("dead", "internal", "no card"));
    assert_eq!(item["attempt"].as_n().unwrap(), "2");
    assert!(matches!(long.lease(&[event]).await.unwrap()[0], LeaseAnswer::Won(_)), "it was redriven");
}

/// Guards: SQS keeps the contract of the Postgres queue. A dead letter has its reason in the dead-letter queue, and more
/// messages than one request holds are settled.
#[tokio::test(flavor = "multi_thread")]
async fn sqs_keeps_the_contract() {
    let Some(cloud) = cloud() else { return };
    let client = aws_sdk_sqs::Client::new(&cloud.sdk());
    let name = names::queue("outbox-", &Rpc::new("Test/Contract").unwrap());
    let open = |visibility| SqsQueue::open(client.clone(), client.clone(), &name, visibility);
    let (long, short) =
        (open(Duration::from_secs(60)).await.unwrap(), open(Duration::from_secs(6)).await.unwrap());
    let url = client.get_queue_url().queue_name(&name).send().await.unwrap().queue_url.unwrap();
    let send = async |numbers: Range<i64>| {
        for n in numbers {
            client.send_message().queue_url(&url).message_body(n.to_string()).send().await.unwrap();
        }
    };
    let number = |delivery: &Delivery<_>| delivery.body.parse().unwrap();
    send(0..7).await;
    queue_contract(&long, &short, number, async || {}).await;

    let dead_url = format!("{url}-dlq");
    let dead = client
        .receive_message()
        .queue_url(&dead_url)
        .message_attribute_names("All")
        .max_number_of_messages(10)
        .wait_time_seconds(5)
        .send()
        .await
        .unwrap();
    let said = dead.messages().iter().map(|dead| {
        let attribute = |name: &str| dead.message_attributes().unwrap()[name].string_value().unwrap();
        (attribute("outbox-code"), attribute("outbox-reason"))
    });
    assert_eq!(
        said.collect::<BTreeSet<_>>(),
        BTreeSet::from([("internal", "poison"), ("internal", "poison again")])
    );

    send(10..33).await;
    let many = receive(&long, 23, number).await;
    let mut settled: Vec<_> = many.into_values().map(|delivery| (delivery.receipt, Outcome::Done)).collect();
    settled[0].1 = Outcome::Dead { code: "invalid_argument", reason: "no card\u{e9}".into() };
    settle(&long, &settled).await;
    until("the queue is empty", async || {
        let depth = long.depth().await.unwrap();
        (depth.waiting, depth.hidden, depth.dead) == (0, 0, 3)
    })
    .await;

    let missing = SqsQueue::open(client.clone(), client.clone(), "outbox-nobody", Duration::from_secs(1))
        .await
        .unwrap_err();
    assert_eq!(
        (missing.code.as_str(), missing.message.as_str()),
        ("QueueDoesNotExist", "there is no queue 'outbox-nobody' here")
    );
}
