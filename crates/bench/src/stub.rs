//! AWS and an RPC server that answer at once, so that the client's own time remains. One server on loopback serves both
//! sides of a pair.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::database::payload;
use crate::result::Result;

const BATCH: usize = 10;
/// How long a received message stays hidden, unless the request says it.
const HIDDEN_SECONDS: u64 = 30;

/// The requests so far.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) put_events: AtomicUsize,
    /// Events in these requests.
    pub(crate) events: AtomicUsize,
    pub(crate) deleted: AtomicUsize,
    pub(crate) calls: AtomicUsize,
    pub(crate) polls: AtomicUsize,
    /// To AWS, of every kind.
    pub(crate) requests: AtomicUsize,
}

#[derive(Debug, Clone)]
pub(crate) struct Stub {
    pub(crate) endpoint: String,
    pub(crate) asked: Arc<Asked>,
    /// Whether DynamoDB refuses batches of statements, as for a role without the right to them.
    pub(crate) refuses_batches: Arc<AtomicBool>,
    /// The messages of its queue that were never received.
    messages: Arc<AtomicUsize>,
    /// When each received message is visible again, unless it is deleted before.
    received: Arc<Mutex<HashMap<String, Instant>>>,
    /// How long a receive waits at an empty queue, in milliseconds.
    poll_ms: Arc<AtomicU64>,
    /// The entries of the workers' roster.
    roster: Arc<Mutex<BTreeMap<String, Value>>>,
    /// The RPC of its messages.
    rpc: &'static str,
}

impl Stub {
    pub(crate) async fn start(rpc: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (asked, refuses_batches, messages) = (Arc::default(), Arc::default(), Arc::default());
        let (poll_ms, roster, received) = (Arc::new(AtomicU64::new(200)), Arc::default(), Arc::default());
        let stub = Self { endpoint, asked, refuses_batches, messages, received, poll_ms, roster, rpc };
        let serving = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let stub = serving.clone();
                let service = hyper::service::service_fn(move |request| {
                    let stub = stub.clone();
                    async move { stub.answer(request).await }
                });
                let mut server = hyper::server::conn::http1::Builder::new();
                server.pipeline_flush(true);
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(stub)
    }

    /// The binaries' configuration of clients, with the stub's endpoint and credentials.
    pub(crate) fn config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("eu-central-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
                Credentials::new("bench", "bench", None, None, "bench"),
            ))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(
                aws_config::stalled_stream_protection::StalledStreamProtectionConfig::disabled(),
            )
            .build()
    }

    /// Adds so many messages to its queue, each with an event of its own.
    pub(crate) fn send(&self, messages: usize) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
    }

    /// From now on.
    pub(crate) fn polls_last(&self, time: Duration) {
        self.poll_ms.store(time.as_millis() as u64, Ordering::Relaxed);
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> std::result::Result<Response<Full<Bytes>>, hyper::Error> {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.rsplit('.').next()).map(str::to_owned);
        let body = request.into_body().collect().await?.to_bytes();
        let Some(operation) = operation else {
            self.asked.calls.fetch_add(1, Ordering::Relaxed);
            return Ok(respond("application/json", "{}".to_owned()));
        };
        self.asked.requests.fetch_add(1, Ordering::Relaxed);
        if operation == "BatchExecuteStatement" && self.refuses_batches.load(Ordering::Relaxed) {
            let mut refused =
                respond("application/x-amz-json-1.0", r#"{"__type":"AccessDeniedException"}"#.to_owned());
            *refused.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(refused);
        }
        let body = match operation.as_str() {
            "PutEvents" => self.put_events(&body),
            "ReceiveMessage" => self.receive(&serde_json::from_slice(&body).unwrap_or_default()).await,
            "DeleteMessageBatch" => self.delete(&body),
            "ChangeMessageVisibilityBatch" => self.hide(&body),
            "BatchExecuteStatement" => {
                let results = vec![r#"{"TableName":"bench"}"#; count(&body, br#""Statement":"#)].join(",");
                format!(r#"{{"Responses":[{results}]}}"#)
            }
            "GetQueueUrl" => json!({"QueueUrl": format!("{}/1/queue", self.endpoint)}).to_string(),
            "GetItem" | "UpdateItem" => self.roster(&serde_json::from_slice(&body).unwrap_or_default()),
            "GetQueueAttributes" => json!({"Attributes": {"MessageRetentionPeriod": "345600"}}).to_string(),
            _ => "{}".to_owned(),
        };
        Ok(respond("application/x-amz-json-1.1", body))
    }

    fn put_events(&self, body: &[u8]) -> String {
        let entries = count(body, br#""DetailType":"#);
        self.asked.put_events.fetch_add(1, Ordering::Relaxed);
        self.asked.events.fetch_add(entries, Ordering::Relaxed);
        let results = vec![r#"{"EventId":"2f6b7c1c-2b5f-4f0a-9d0e-0c6f7a1b2c3d"}"#; entries].join(",");
        format!(r#"{{"FailedEntryCount":0,"Entries":[{results}]}}"#)
    }

    /// Reads the roster, or writes or removes one entry. Another record has no item.
    fn roster(&self, request: &Value) -> String {
        if !request["Key"]["id"]["S"].as_str().is_some_and(|id| id.starts_with("watch ")) {
            return "{}".to_owned();
        }
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(worker) = request["ExpressionAttributeNames"]["#worker"].as_str() else {
            return json!({"Item": *roster}).to_string();
        };
        match request["ExpressionAttributeValues"].get(":entry") {
            Some(entry) => _ = roster.insert(worker.to_owned(), entry.clone()),
            None => _ = roster.remove(worker),
        }
        "{}".to_owned()
    }

    /// Ten messages, or the remaining ones; an empty queue is polled for a moment. Those that are visible again come first.
    async fn receive(&self, request: &Value) -> String {
        self.asked.polls.fetch_add(1, Ordering::Relaxed);
        let mut ids = self.again();
        let wanted = BATCH - ids.len();
        let taken = self
            .messages
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)));
        ids.extend((0..taken.unwrap_or_default().min(wanted)).map(|_| Uuid::now_v7().to_string()));
        if ids.is_empty() {
            tokio::time::sleep(Duration::from_millis(self.poll_ms.load(Ordering::Relaxed))).await;
        }
        let hidden = request["VisibilityTimeout"].as_u64().unwrap_or(HIDDEN_SECONDS);
        let visible = Instant::now() + Duration::from_secs(hidden);
        self.received().extend(ids.iter().map(|id| (id.clone(), visible)));
        let messages: Vec<Value> = ids.iter().map(|id| self.message(id)).collect();
        json!({"Messages": messages}).to_string()
    }

    /// A batch of received messages that are visible again. An answer that nobody read had some of them.
    fn again(&self) -> Vec<String> {
        let (mut received, now) = (self.received(), Instant::now());
        let visible = received.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone());
        let ids: Vec<String> = visible.take(BATCH).collect();
        for id in &ids {
            received.remove(id);
        }
        ids
    }

    fn received(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, id: &str) -> Value {
        let body = format!(
            r#"{{"rpc":"{}","event":{{"id":"{id}","name":"event_bench","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{}}}}}"#,
            self.rpc,
            payload(0),
        );
        let sent_at = chrono::Utc::now().timestamp_millis().to_string();
        json!({
            "MessageId": id, "ReceiptHandle": id, "Body": body,
            "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": sent_at},
        })
    }

    fn delete(&self, body: &[u8]) -> String {
        self.each(body, |received, entry| {
            let handle = entry["ReceiptHandle"].as_str().unwrap_or_default();
            if received.remove(handle).is_some() {
                self.asked.deleted.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    fn hide(&self, body: &[u8]) -> String {
        self.each(body, |received, entry| {
            let seconds = entry["VisibilityTimeout"].as_u64().unwrap_or_default();
            let handle = entry["ReceiptHandle"].as_str().unwrap_or_default();
            if let Some(visible) = received.get_mut(handle) {
                *visible = Instant::now() + Duration::from_secs(seconds);
            }
        })
    }

    /// Answers a batch whose every entry succeeds.
    fn each(&self, body: &[u8], entry: impl Fn(&mut HashMap<String, Instant>, &Value)) -> String {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let entries = request["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut received = self.received();
        for one in entries {
            entry(&mut received, one);
        }
        let ids: Vec<Value> = entries.iter().map(|one| json!({"Id": one["Id"]})).collect();
        json!({"Successful": ids, "Failed": []}).to_string()
    }
}

/// Counts a marker. It can't match within a text, where quotes are escaped.
fn count(body: &[u8], marker: &[u8]) -> usize {
    body.windows(marker.len()).filter(|window| *window == marker).count()
}

fn respond(content_type: &str, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body)))
        .expect("it is well-formed")
}
