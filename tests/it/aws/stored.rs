//! The contents of SQS and DynamoDB, read and written past the worker.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use outbox_event::EventId;

use crate::cloud::Cloud;
use crate::world::until;

/// The state in the record of an event and an RPC.
pub(super) async fn state(cloud: &Cloud, event: EventId, rpc: &str) -> Option<String> {
    let client = aws_sdk_dynamodb::Client::new(&cloud.sdk());
    let id = AttributeValue::S(format!("{event} {rpc}"));
    let item = client.get_item().table_name("outbox-dedup").key("id", id).send().await.unwrap().item?;
    item.get("state")?.as_s().ok().cloned()
}

pub(super) struct Queue {
    pub(super) client: aws_sdk_sqs::Client,
    pub(super) url: String,
}

impl Queue {
    pub(super) async fn of(cloud: &Cloud, name: &str) -> Self {
        let client = aws_sdk_sqs::Client::new(&cloud.sdk());
        let url = client.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
        Self { client, url }
    }

    pub(super) async fn send(&self, body: &str) {
        self.client.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
    }

    /// Takes one message out of the dead-letter queue. Returns its body and its reason.
    pub(super) async fn dead(&self) -> (String, String) {
        let url = format!("{}-dlq", self.url);
        let mut found = None;
        until("it is dead-lettered", async || {
            let receive = self
                .client
                .receive_message()
                .queue_url(&url)
                .message_attribute_names("All")
                .wait_time_seconds(1);
            let answer =
                tokio::time::timeout(Duration::from_secs(20), receive.send()).await.unwrap().unwrap();
            let Some(message) = answer.messages.unwrap_or_default().into_iter().next() else { return false };
            let handle = message.receipt_handle().unwrap();
            self.client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
            let reason =
                message.message_attributes().unwrap()["outbox-reason"].string_value().unwrap().to_owned();
            found = Some((message.body().unwrap().to_owned(), reason));
            true
        })
        .await;
        found.unwrap()
    }

    pub(super) async fn until_empty(&self) {
        until("the queue is empty", async || {
            let all = aws_sdk_sqs::types::QueueAttributeName::All;
            let answer = self
                .client
                .get_queue_attributes()
                .queue_url(&self.url)
                .attribute_names(all)
                .send()
                .await
                .unwrap();
            let counts = answer.attributes().unwrap().iter().filter(|(name, _)| {
                ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
                    .contains(&name.as_str())
            });
            counts.into_iter().all(|(_, count)| count == "0")
        })
        .await;
    }
}
