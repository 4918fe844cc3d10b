//! The suite on SQS and DynamoDB, behind SQS's rules.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName;
use outbox_aws::operate::{AwsOperator, KEY_ATTRIBUTE};
use outbox_aws::{BrakesItem, DynamoDedup, ProcessItem, SqsQueue};
use outbox_event_router::{Rpc, names};
use outbox_transport::{Braked, Brakes, Poison};

use super::{LONG, Subject, one, other, stranger, suite};
use crate::cloud::{cloud, sdk};

suite! { Aws }

struct Aws {
    config: SdkConfig,
    prefix: String,
    table: String,
}

/// Queues and a table as Terraform made them, under names that no other test has.
impl Aws {
    async fn new() -> Option<Self> {
        let (_, endpoint) = cloud()?.strict().await;
        let name = format!("c{:08x}", fastrand::u32(..));
        let made =
            Self { config: sdk(&endpoint), prefix: format!("{name}-"), table: format!("{name}-dedup") };
        for rpc in [one(), other()] {
            made.make_queues(&rpc).await;
        }
        made.make_queue(&format!("{name}-undeliverable"), "outbox-undeliverable", None).await;
        made.make_table().await;
        Some(made)
    }

    async fn finish(self) {}

    async fn make_queues(&self, rpc: &Rpc) {
        let (like, name) = (names::queue("outbox-", &one()), names::queue(&self.prefix, rpc));
        let dead = self.make_queue(&format!("{name}-dlq"), &format!("{like}-dlq"), None).await;
        self.make_queue(&name, &like, Some(&dead)).await;
    }

    /// Returns its ARN.
    async fn make_queue(&self, name: &str, like: &str, dead: Option<&str>) -> String {
        use QueueAttributeName::{
            MaximumMessageSize, MessageRetentionPeriod, QueueArn, ReceiveMessageWaitTimeSeconds,
            RedrivePolicy, VisibilityTimeout,
        };
        let client = aws_sdk_sqs::Client::new(&self.config);
        let url = client.get_queue_url().queue_name(like).send().await.unwrap().queue_url.unwrap();
        let ask = client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let like = ask.send().await.unwrap().attributes.unwrap();
        let mut make = client.create_queue().queue_name(name);
        for copied in
            [MaximumMessageSize, MessageRetentionPeriod, ReceiveMessageWaitTimeSeconds, VisibilityTimeout]
        {
            make = make.attributes(copied.clone(), &like[&copied]);
        }
        if let Some(dead) = dead {
            let mut policy: serde_json::Value = serde_json::from_str(&like[&RedrivePolicy]).unwrap();
            policy["deadLetterTargetArn"] = dead.into();
            // These tests receive one message more often than a worker would.
            policy["maxReceiveCount"] = 1000.into();
            make = make.attributes(RedrivePolicy, policy.to_string());
        }
        let url = make.send().await.unwrap().queue_url.unwrap();
        let ask = client.get_queue_attributes().queue_url(url).attribute_names(QueueArn);
        ask.send().await.unwrap().attributes.unwrap().remove(&QueueArn).unwrap()
    }

    fn operator_of(&self, table: &str) -> AwsOperator {
        let rpcs = vec![one(), other(), stranger()];
        AwsOperator::new(&self.config, &self.prefix, table, rpcs, |said| eprintln!("{said}"))
    }

    async fn make_table(&self) {
        let key = AttributeDefinition::builder()
            .attribute_name(KEY_ATTRIBUTE)
            .attribute_type(ScalarAttributeType::S)
            .build();
        let hash = KeySchemaElement::builder().attribute_name(KEY_ATTRIBUTE).key_type(KeyType::Hash).build();
        let make = aws_sdk_dynamodb::Client::new(&self.config)
            .create_table()
            .table_name(&self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(key.unwrap())
            .key_schema(hash.unwrap());
        make.send().await.unwrap();
    }
}

impl Subject for Aws {
    type Operator = AwsOperator;
    type Queue = SqsQueue;
    type Dedup = DynamoDedup;
    type Store = ProcessItem;

    const ORDERED: bool = false;
    const PAGES: usize = 25;
    const HIDES: bool = true;
    const COUNTS_ATTEMPTS: bool = false;
    const SEES_QUEUES: bool = false;
    const MAKES_QUEUES: bool = false;
    const NEEDS_AUDIT: bool = false;

    async fn operator(&self) -> AwsOperator {
        self.operator_of(&self.table)
    }

    async fn operator_without_audit(&self) -> AwsOperator {
        self.operator_of("nowhere")
    }

    async fn queue(&self, rpc: &Rpc) -> SqsQueue {
        let client = aws_sdk_sqs::Client::new(&self.config);
        SqsQueue::open(client.clone(), client, &names::queue(&self.prefix, rpc), LONG).await.unwrap()
    }

    fn dedup(&self, rpc: &Rpc, lease: Duration) -> DynamoDedup {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        DynamoDedup::new(client, &self.table, rpc, lease).of_worker("test")
    }

    fn store(&self, name: &str) -> ProcessItem {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        ProcessItem::new(client, &self.table, &self.prefix, name)
    }

    fn store_that_fails(&self) -> ProcessItem {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        ProcessItem::new(client, "nowhere", &self.prefix, "vm:1:aaaaaa")
    }

    async fn poison_for(&self, rpc: &Rpc) -> Option<Duration> {
        self.dedup(rpc, LONG).poison_for().await.unwrap()
    }

    async fn brakes(&self) -> Vec<Braked> {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        BrakesItem::new(client, &self.table, &self.prefix).brakes().await.unwrap()
    }
}
