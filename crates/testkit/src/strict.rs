//! The fault server: a proxy in front of the emulator. It refuses requests that AWS documents as refused and the emulator
//! accepts. A test can also withdraw a right, disable a key, set the clock ahead, or let single statements fail. It counts
//! the requests.
//!
//! `tests/aws-limits.json` lists what is enforced, by which of the two, and after which of AWS's documents.

mod refusal; // the form of AWS's refusals
mod rules; // the requests that SQS refuses
mod script; // the failures that a test ordered
mod statements; // batches of statements of DynamoDB

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use refusal::Refusal;
use rules::{Examined, Received};
use script::Statements;

/// A proxy between a program and the emulator.
#[derive(Debug)]
pub struct Strict {
    emulator: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    received: HashMap<String, Received>,
    /// The number of requests, by operation.
    asked: HashMap<String, usize>,
    statements: Statements,
    /// Forbidden actions, by the end of the name of the queue or table.
    denied: HashSet<(String, String)>,
    /// Queues whose key is disabled.
    locked: HashSet<String>,
    /// How far the clock is ahead.
    ahead: Duration,
}

impl Strict {
    pub fn new(emulator: SocketAddr) -> Self {
        Self { emulator, state: Mutex::default() }
    }

    /// Serves on loopback until the runtime ends. Returns the endpoint.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn serve(self: Arc<Self>) -> std::io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let strict = Arc::clone(&self);
                tokio::spawn(async move {
                    let service = service_fn(|request| Arc::clone(&strict).whole(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(endpoint)
    }

    /// The number of requests, by operation.
    pub fn asked(&self) -> HashMap<String, usize> {
        self.with(|state| state.asked.clone())
    }

    /// Forbids or allows an action, such as `sqs:SendMessage`, on the queues or tables whose names end so.
    pub fn deny(&self, action: &str, queue: &str, denied: bool) {
        let action = (action.to_owned(), queue.to_owned());
        self.with(|state| if denied { state.denied.insert(action) } else { state.denied.remove(&action) });
    }

    /// Disables or enables the key of the queues whose names end so.
    pub fn disable_key(&self, queue: &str, disabled: bool) {
        let queue = queue.to_owned();
        self.with(|state| if disabled { state.locked.insert(queue) } else { state.locked.remove(&queue) });
    }

    /// Counts a message's 12 hours as if this time had passed.
    pub fn let_pass(&self, time: Duration) {
        self.with(|state| state.ahead += time);
    }

    /// The hidden messages of the queues whose names end so, newest first: the handle, and the remaining time.
    pub fn hidden(&self, queue: &str) -> Vec<(String, Duration)> {
        self.with(|state| {
            let now = Instant::now() + state.ahead;
            let hidden =
                state.received.iter().filter(|(_, one)| one.queue.ends_with(queue) && one.until > now);
            let mut hidden: Vec<_> =
                hidden.map(|(handle, one)| (one.at, (handle.clone(), one.until - now))).collect();
            hidden.sort();
            hidden.into_iter().rev().map(|(_, hidden)| hidden).collect()
        })
    }

    async fn whole(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok(self.pass(parts, body).await?.map(Full::new))
    }

    /// Passes one request, by AWS's rules. An error ends the connection.
    ///
    /// # Errors
    ///
    /// If the emulator does not answer, or the answer is to be lost.
    pub async fn pass(&self, parts: Parts, body: Bytes) -> Result<Response<Bytes>, std::io::Error> {
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let called = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default().to_owned();
        let is_batch = called == "BatchExecuteStatement";
        self.with(|state| *state.asked.entry(called).or_default() += 1);
        if is_batch {
            return self.scripted(parts, &body).await;
        }
        let operation =
            target.and_then(|target| target.strip_prefix("AmazonSQS.")).unwrap_or_default().to_owned();
        let Ok(mut input) = serde_json::from_slice::<Value>(&body) else {
            return self.forward(parts, body).await;
        };
        if operation.is_empty() {
            return self.forward(parts, body).await;
        }
        let bytes_max = match operation.as_str() {
            "SendMessage" | "SendMessageBatch" => self.bytes_max(&parts, &input["QueueUrl"]).await?,
            _ => rules::MESSAGE_BYTES_MAX,
        };
        let Examined { whole, entries } = self.with(|state| state.examine(&operation, &input, bytes_max));
        if let Some(refusal) = whole {
            return Ok(refusal.answer());
        }
        if entries.is_empty() {
            let answer = self.forward(parts, body).await?;
            self.with(|state| state.note(&operation, &input, answer.body()));
            return Ok(answer);
        }
        // Only the other entries are forwarded.
        let all = input["Entries"].take();
        let others = all.as_array().into_iter().flatten();
        let others: Vec<&Value> =
            others.filter(|entry| !entries.iter().any(|(id, _)| entry["Id"] == *id)).collect();
        let mut output = json!({"Successful": [], "Failed": []});
        if !others.is_empty() {
            input["Entries"] = json!(others);
            let answer = self.forward(parts, Bytes::from(input.to_string())).await?;
            if answer.status() != StatusCode::OK {
                return Ok(answer);
            }
            self.with(|state| state.note(&operation, &input, answer.body()));
            output = serde_json::from_slice(answer.body())?;
        }
        let mut failed = output["Failed"].as_array().cloned().unwrap_or_default();
        failed.extend(entries.iter().map(|(id, refusal)| refusal.entry(id)));
        output["Failed"] = json!(failed);
        Ok(refusal::respond(StatusCode::OK, &output))
    }

    /// The queue's MaximumMessageSize, which counts attributes, too.
    async fn bytes_max(&self, parts: &Parts, url: &Value) -> Result<usize, std::io::Error> {
        let mut ask = Request::post("/").body(()).map_err(std::io::Error::other)?.into_parts().0;
        ask.headers = parts.headers.clone();
        ask.headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.GetQueueAttributes"));
        let asked = json!({"QueueUrl": url, "AttributeNames": ["MaximumMessageSize"]});
        let answer = self.forward(ask, Bytes::from(asked.to_string())).await?;
        let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let max = answer["Attributes"]["MaximumMessageSize"].as_str().and_then(|max| max.parse().ok());
        Ok(max.unwrap_or(rules::MESSAGE_BYTES_MAX))
    }

    /// Passes a request to the emulator without any rule.
    ///
    /// # Errors
    ///
    /// If the emulator does not answer.
    pub async fn forward(&self, parts: Parts, body: Bytes) -> Result<Response<Bytes>, std::io::Error> {
        let stream = TcpStream::connect(self.emulator).await?;
        let _ = stream.set_nodelay(true);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(std::io::Error::other)?;
        let carrying = tokio::spawn(connection);
        let mut request = Request::from_parts(parts, Full::new(body));
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        *request.uri_mut() = path.parse::<Uri>().map_err(std::io::Error::other)?;
        let host = HeaderValue::from_str(&self.emulator.to_string()).map_err(std::io::Error::other)?;
        request.headers_mut().insert("host", host);
        request.headers_mut().remove("content-length");
        let exchange = async {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>(Response::from_parts(parts, body.collect().await?.to_bytes()))
        };
        let answer = exchange.await.map_err(std::io::Error::other);
        carrying.abort();
        answer
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no panic while held"))
    }
}

impl State {
    fn examine(&self, operation: &str, input: &Value, bytes_max: usize) -> Examined {
        let url = input["QueueUrl"].as_str().unwrap_or_default();
        if let Some(refusal) = self.right(operation, url) {
            return Examined { whole: Some(refusal), entries: Vec::new() };
        }
        let received = |handle: &str| self.received.get(handle).cloned();
        rules::examine(operation, input, bytes_max, Instant::now() + self.ahead, received)
    }

    fn right(&self, operation: &str, url: &str) -> Option<Refusal> {
        let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
        if self.denied.iter().any(|(denied, queue)| *denied == action && url.ends_with(queue)) {
            let queue = url.rsplit('/').next().unwrap_or_default();
            return Some(Refusal::new(
                "AccessDenied",
                format!(
                    "User: arn:aws:iam::000000000000:user/test is not authorized to perform: {} on resource: arn:aws:sqs:us-east-1:000000000000:{queue}",
                    action.to_lowercase()
                ),
            ));
        }
        let uses_key = ["SendMessage", "SendMessageBatch", "ReceiveMessage"].contains(&operation);
        (uses_key && self.locked.iter().any(|queue| url.ends_with(queue)))
            .then(|| Refusal::new("KmsDisabled", "arn:aws:kms:us-east-1:000000000000:key/test is disabled."))
    }

    /// Notes received messages, and how long each is hidden.
    fn note(&mut self, operation: &str, input: &Value, output: &[u8]) {
        let now = Instant::now() + self.ahead;
        let seconds = |value: &Value| value.as_u64().map(Duration::from_secs);
        match operation {
            "ReceiveMessage" => {
                let queue = input["QueueUrl"].as_str().unwrap_or_default();
                let output: Value = serde_json::from_slice(output).unwrap_or_default();
                for message in output["Messages"].as_array().into_iter().flatten() {
                    let Some(handle) = message["ReceiptHandle"].as_str() else { continue };
                    // Without a timeout the queue's own counts, which the proxy does not have.
                    let hidden = seconds(&input["VisibilityTimeout"]).unwrap_or(rules::VISIBILITY_MAX);
                    let one = Received { queue: queue.to_owned(), at: now, until: now + hidden };
                    self.received.insert(handle.to_owned(), one);
                }
            }
            "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => {
                for entry in rules::entries(input) {
                    let handle = entry["ReceiptHandle"].as_str().unwrap_or_default();
                    let hidden = seconds(&entry["VisibilityTimeout"]);
                    if let (Some(one), Some(hidden)) = (self.received.get_mut(handle), hidden) {
                        one.until = now + hidden;
                    }
                }
            }
            "DeleteMessage" | "DeleteMessageBatch" => {
                for entry in rules::entries(input) {
                    self.received.remove(entry["ReceiptHandle"].as_str().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
}
