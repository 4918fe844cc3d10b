//! The emulator of AWS with the torture's routes, as Terraform makes them, behind a proxy that injects faults.

mod front;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Request, StatusCode};
use outbox::EventId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::faults::Fault;
use crate::history::Put;
use crate::routes::{Rpc, yaml};
use crate::run::Failure;
use front::Front;
use testkit::emulator::Emulator;
use testkit::terraform::Terraform;

const DEDUP_TABLE: &str = "outbox-dedup";
/// Longer than any run: a dead letter that was counted once is not received again.
const COUNTED_FOR_SECONDS: u32 = 43_200;

pub(crate) struct Cloud {
    emulator: Emulator,
    front: Arc<Front>,
    port: u16,
    queues: HashMap<Rpc, QueueUrls>,
    undeliverable: String,
    dead: Mutex<HashSet<(EventId, Rpc)>>,
}

#[derive(Debug, Clone, Deserialize)]
struct QueueUrls {
    url: String,
    dlq_url: String,
}

impl Cloud {
    /// Starts an emulator and applies Terraform with the torture's routes. Blocks.
    pub(crate) fn make(dir: &Path) -> Result<(Emulator, Terraform), Failure> {
        let terraform = Terraform::copy(&dir.join("terraform"), &yaml())?;
        let emulator = Emulator::provisioned(&terraform)?;
        Ok((emulator, terraform))
    }

    pub(crate) async fn start(
        (emulator, terraform): (Emulator, Terraform),
        seed: u64,
    ) -> Result<Self, Failure> {
        let by_rpc: HashMap<String, QueueUrls> = serde_json::from_str(&terraform.output("queues")?)?;
        let queues = by_rpc.into_iter().filter_map(|(rpc, urls)| Some((Rpc::of(&rpc)?, urls))).collect();
        let undeliverable = serde_json::from_str(&terraform.output("undeliverable_queue_url")?)?;
        let address = emulator.endpoint().trim_start_matches("http://").parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let front = Arc::new(Front::new(address, seed));
        tokio::spawn(Arc::clone(&front).serve(listener));
        Ok(Self { emulator, front, port, queues, undeliverable, dead: Mutex::default() })
    }

    /// The environment in which relay and worker take the proxy for AWS.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut environment: Vec<(String, String)> =
            self.emulator.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        environment.push(("AWS_ENDPOINT_URL".to_owned(), format!("http://127.0.0.1:{}", self.port)));
        environment.push(("OUTBOX_TRANSPORT".to_owned(), "aws".to_owned()));
        environment.push(("OUTBOX_DEDUP_TABLE".to_owned(), DEDUP_TABLE.to_owned()));
        environment
    }

    /// Injects a fault for this time.
    pub(crate) async fn inject(&self, fault: Fault, time: Duration) {
        self.front.switch(fault, true);
        tokio::time::sleep(time).await;
        self.front.switch(fault, false);
    }

    /// Sends received messages again.
    pub(crate) async fn duplicate(&self, many: usize) -> Result<(), Failure> {
        for (url, body) in self.front.received(many) {
            self.ask("AmazonSQS.SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await?;
        }
        Ok(())
    }

    pub(crate) fn puts(&self) -> Vec<Put> {
        self.front.puts()
    }

    /// The number of messages that are neither done nor dead.
    pub(crate) async fn open(&self) -> Result<i64, Failure> {
        let mut open = 0;
        for urls in self.queues.values() {
            open += self.depth(&urls.url).await?;
        }
        Ok(open)
    }

    /// The number of events that EventBridge could not put into a queue.
    pub(crate) async fn undeliverable(&self) -> Result<i64, Failure> {
        self.depth(&self.undeliverable).await
    }

    async fn depth(&self, url: &str) -> Result<i64, Failure> {
        let asked = json!({"QueueUrl": url, "AttributeNames": ["All"]});
        let answer = self.ask("AmazonSQS.GetQueueAttributes", asked).await?;
        let names = ["", "NotVisible", "Delayed"];
        let counts = names.map(|name| {
            let count = &answer["Attributes"][format!("ApproximateNumberOfMessages{name}")];
            count.as_str().and_then(|count| count.parse::<i64>().ok()).unwrap_or(0)
        });
        Ok(counts.iter().sum())
    }

    /// All dead letters so far.
    pub(crate) async fn dead(&self) -> Result<HashSet<(EventId, Rpc)>, Failure> {
        for (rpc, urls) in &self.queues {
            loop {
                let asked = json!({"QueueUrl": urls.dlq_url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, "VisibilityTimeout": COUNTED_FOR_SECONDS});
                let answer = self.ask("AmazonSQS.ReceiveMessage", asked).await?;
                let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
                if messages.is_empty() {
                    break;
                }
                let mut dead = self.dead.lock().expect("no panic while held");
                for message in messages {
                    let body: Value = serde_json::from_str(message["Body"].as_str().unwrap_or_default())?;
                    let id = body["event"]["id"].as_str().unwrap_or_default();
                    dead.insert((id.parse()?, *rpc));
                }
            }
        }
        Ok(self.dead.lock().expect("no panic while held").clone())
    }

    /// The done records, each with its time.
    pub(crate) async fn recorded(&self) -> Result<Vec<(EventId, Rpc, DateTime<Utc>)>, Failure> {
        let (mut recorded, mut from) = (Vec::new(), Value::Null);
        loop {
            let mut asked = json!({"TableName": DEDUP_TABLE});
            if !from.is_null() {
                asked["ExclusiveStartKey"] = from;
            }
            let mut answer = self.ask("DynamoDB_20120810.Scan", asked).await?;
            for item in answer["Items"].as_array().into_iter().flatten() {
                let id = item["id"]["S"].as_str().unwrap_or_default();
                let (Some((event, rpc)), Some("done")) = (id.split_once(' '), item["state"]["S"].as_str())
                else {
                    continue;
                };
                let at_ms = item["at_ms"]["N"].as_str().and_then(|at| at.parse().ok());
                // The record's time ends with that millisecond.
                let at_ms = at_ms.map(|at: i64| at + 1);
                let at =
                    at_ms.and_then(DateTime::from_timestamp_millis).ok_or("a record without its time")?;
                if let Some(rpc) = Rpc::of(rpc) {
                    recorded.push((event.parse()?, rpc, at));
                }
            }
            from = answer["LastEvaluatedKey"].take();
            if from.is_null() {
                return Ok(recorded);
            }
        }
    }

    /// A request to the emulator, without the proxy's faults.
    async fn ask(&self, target: &str, input: Value) -> Result<Value, Failure> {
        let service = if target.starts_with("Dynamo") { "dynamodb" } else { "sqs" };
        let request = Request::post("/")
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.0")
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"),
            )
            .body(())?;
        let (parts, ()) = request.into_parts();
        let answer = self.front.ask(parts, Bytes::from(input.to_string())).await?;
        if answer.status() != StatusCode::OK {
            let said = String::from_utf8_lossy(answer.body()).into_owned();
            return Err(format!("{target}: HTTP {}: {said}", answer.status()).into());
        }
        Ok(serde_json::from_slice(answer.body())?)
    }
}
