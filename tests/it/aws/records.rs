//! Records on DynamoDB, as `why` shows them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Utc;
use outbox_event::EventId;
use serde_json::{Value, json};

use super::desk::{Desk, LYING};
use crate::cloud::cloud;
use crate::world::World;

/// Guards promise 8 on AWS: `why` shows every state of a record on DynamoDB. A redrive skips the messages that it sends
/// itself. A call under way can't be forgotten by force.
#[tokio::test(flavor = "multi_thread")]
async fn why_shows_records_on_dynamodb() {
    let Some(cloud) = cloud() else { return };
    let world = World::new(LYING).await;
    let desk = Desk::new(&world, cloud);
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let now = Utc::now().timestamp_millis();
    let put = async |fields: &[(&str, Value)]| {
        let id = EventId::new();
        let attribute = |value: &Value| match value {
            Value::Number(number) => AttributeValue::N(number.to_string()),
            other => AttributeValue::S(other.as_str().unwrap().to_owned()),
        };
        let mut item: HashMap<String, AttributeValue> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), attribute(value))).collect();
        item.insert("id".into(), AttributeValue::S(format!("{id} Test/Lying")));
        item.entry("expires_at".into()).or_insert(AttributeValue::N((now / 1000 + 1000).to_string()));
        dynamodb.put_item().table_name("outbox-dedup").set_item(Some(item)).send().await.unwrap();
        id
    };
    let why = async |id| {
        let said = desk.outbox(&format!("why {id} --format json")).await;
        (said.code, said.json()["deliveries"][0].clone())
    };
    let failure = [
        ("attempt", json!(3)),
        ("code", json!("unavailable")),
        ("error", json!("down")),
        ("at_ms", json!(now)),
    ];
    let with = |state: &str| [&failure[..], &[("state", json!(state))]].concat();

    let (code, told) = why(put(&with("failed")).await).await;
    assert_eq!(
        (code, &told["state"], &told["attempt"], &told["error"]),
        (0, &json!("failed"), &json!(3), &json!("down"))
    );
    let dead = put(&with("dead")).await;
    let (code, told) = why(dead).await;
    assert_eq!((code, &told["state"], &told["reason"]), (1, &json!("dead"), &json!("down")));
    let said = desk.outbox(&format!("why {dead}")).await;
    assert!(said.out.contains(&format!("outbox dlq redrive --event {dead} --rpc Test/Lying")), "{said:?}");
    assert!(said.out.contains("No database given"), "{said:?}");
    let (code, told) = why(put(&[("state", json!("done")), ("at_ms", json!(now))]).await).await;
    assert_eq!((code, &told["state"]), (0, &json!("done")));
    let lease =
        |until: i64| [("state", json!("leased")), ("token", json!(7)), ("leased_until_ms", json!(until))];
    let called = put(&lease(now + 600_000)).await;
    assert_eq!(why(called).await.1["state"], "calling");
    assert_eq!(why(put(&lease(now - 1000)).await).await.1["state"], "abandoned");
    let expired = put(&[("state", json!("done")), ("expires_at", json!(1))]).await;
    let (code, told) = why(expired).await;
    assert_eq!((code, &told["state"]), (0, &json!("not_received")));
    assert_eq!(told["causes"], json!(["no running worker reports this RPC"]));

    // More than one page, with one call under way.
    let sqs = aws_sdk_sqs::Client::new(&cloud.sdk());
    let url =
        sqs.get_queue_url().queue_name("outbox-Test--Lying-dlq").send().await.unwrap().queue_url.unwrap();
    for n in 0..25 {
        let id = if n == 0 { called } else { EventId::new() };
        let body = format!(
            r#"{{"rpc":"Test/Lying","event":{{"id":"{id}","name":"event_operate","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{}}}}}}"#
        );
        sqs.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    let none = desk.outbox(&format!("dlq redrive --event {} --rpc Test/Lying", EventId::new())).await;
    assert_eq!(none.out, "redriven 0 dead letters");
    let forced = desk.outbox("dlq redrive --rpc Test/Lying --force --yes --rate 1000 --format json").await;
    assert_eq!(
        (forced.code, &forced.json()["moved"], &forced.json()["busy"]),
        (1, &json!(24), &json!(1)),
        "{forced:?}"
    );
    let depth = desk.outbox("status --format json").await.json()["rpcs"][0].clone();
    assert_eq!([&depth["waiting"], &depth["dead"]], [&json!(24), &json!(1)], "{depth}");
    assert_eq!(desk.outbox("dlq drop --rpc Test/Lying --yes").await.out, "dropped 1 dead letter");
    sqs.purge_queue().queue_url(url.trim_end_matches("-dlq")).send().await.unwrap();
    world.finish().await;
}
