//! The stand-in for AWS with what Terraform made of the torture's routes, and before it a proxy with AWS's bad days: it
//! throttles, fails entries of a request, loses answers, cuts them off, takes its time. It also sees in which order events
//! take effect on the bus.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outbox::EventId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::Failure;
use super::faults::Fault;
use super::history::Put;
use super::routes::{Rpc, yaml};
use crate::emulator::Emulator;
use crate::terraform::Terraform;

const DEDUP_TABLE: &str = "outbox-dedup";
/// Messages that were received, to be sent again.
const REMEMBERED: usize = 500;
/// Longer than any run: what was found in a dead-letter queue is counted, and not found again.
const COUNTED_FOR_SECONDS: u32 = 43_200;

pub(super) struct Cloud {
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

/// The proxy.
struct Front {
    emulator: SocketAddr,
    /// What is wrong now, and how often over.
    weather: Mutex<HashMap<Fault, usize>>,
    random: Mutex<fastrand::Rng>,
    ticks: AtomicI64,
    puts: Mutex<Vec<Put>>,
    received: Mutex<VecDeque<(String, String)>>,
}

impl Cloud {
    /// Everything that `terraform apply` makes of the torture's routes. Blocks.
    pub(super) fn make(dir: &Path) -> Result<(Emulator, Terraform), Failure> {
        let terraform = Terraform::copy(&dir.join("terraform"), &yaml())?;
        let emulator = Emulator::start()?;
        terraform.apply(emulator.endpoint())?;
        Ok((emulator, terraform))
    }

    pub(super) async fn start(
        (emulator, terraform): (Emulator, Terraform),
        seed: u64,
    ) -> Result<Self, Failure> {
        let by_rpc: HashMap<String, QueueUrls> = serde_json::from_str(&terraform.output("queues")?)?;
        let queues = by_rpc.into_iter().filter_map(|(rpc, urls)| Some((Rpc::of(&rpc)?, urls))).collect();
        let undeliverable = serde_json::from_str(&terraform.output("undeliverable_queue_url")?)?;
        let address = emulator.endpoint().trim_start_matches("http://").parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let front = Arc::new(Front {
            emulator: address,
            weather: Mutex::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            ticks: AtomicI64::new(0),
            puts: Mutex::default(),
            received: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&front).serve(listener));
        Ok(Self { emulator, front, port, queues, undeliverable, dead: Mutex::default() })
    }

    /// What relay and worker need to take the proxy for AWS.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let mut environment: Vec<(String, String)> =
            self.emulator.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        environment.push(("AWS_ENDPOINT_URL".to_owned(), format!("http://127.0.0.1:{}", self.port)));
        environment.push(("OUTBOX_TRANSPORT".to_owned(), "aws".to_owned()));
        environment.push(("OUTBOX_DEDUP_TABLE".to_owned(), DEDUP_TABLE.to_owned()));
        environment
    }

    /// It is like this for so long.
    pub(super) async fn weather(&self, fault: Fault, time: Duration) {
        let count = |add: bool| {
            let mut weather = self.front.weather.lock().expect("no panic while held");
            let times = weather.entry(fault).or_default();
            *times = if add { *times + 1 } else { times.saturating_sub(1) };
        };
        count(true);
        tokio::time::sleep(time).await;
        count(false);
    }

    /// Sends messages again that were received before.
    pub(super) async fn duplicate(&self, many: usize) -> Result<(), Failure> {
        let copies: Vec<(String, String)> = {
            let received = self.front.received.lock().expect("no panic while held");
            let mut random = self.front.random.lock().expect("no panic while held");
            (0..many.min(received.len())).map(|_| received[random.usize(0..received.len())].clone()).collect()
        };
        for (url, body) in copies {
            self.ask("AmazonSQS.SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await?;
        }
        Ok(())
    }

    pub(super) fn puts(&self) -> Vec<Put> {
        self.front.puts.lock().expect("no panic while held").clone()
    }

    /// Messages that are neither done nor dead.
    pub(super) async fn open(&self) -> Result<i64, Failure> {
        let mut open = 0;
        for urls in self.queues.values() {
            open += self.depth(&urls.url).await?;
        }
        Ok(open)
    }

    /// What EventBridge could not put into a queue.
    pub(super) async fn undeliverable(&self) -> Result<i64, Failure> {
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

    /// Everything that was dead-lettered so far.
    pub(super) async fn dead(&self) -> Result<HashSet<(EventId, Rpc)>, Failure> {
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

    /// What the record has as done, and since when.
    pub(super) async fn recorded(&self) -> Result<Vec<(EventId, Rpc, DateTime<Utc>)>, Failure> {
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

    /// A request of ours, past the proxy.
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
        let answer = self.front.forward(parts, Bytes::from(input.to_string())).await?;
        if answer.status() != StatusCode::OK {
            let said = String::from_utf8_lossy(answer.body()).into_owned();
            return Err(format!("{target}: HTTP {}: {said}", answer.status()).into());
        }
        Ok(serde_json::from_slice(answer.body())?)
    }
}

impl Front {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let front = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| Arc::clone(&front).pass(request));
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    /// One request, in today's weather. An error ends the connection without an answer.
    async fn pass(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let target = target.unwrap_or_default().to_owned();
        if self.is(Fault::DynamoAway, 1.0) && target.starts_with("DynamoDB") {
            let away = json!({"__type": "InternalServerError"});
            return Ok(respond(StatusCode::INTERNAL_SERVER_ERROR, &away).map(Full::new));
        }
        if self.is(Fault::CloudThrottles, 0.5) {
            let throttled = json!({"__type": "ThrottlingException", "message": "Rate exceeded"});
            return Ok(respond(StatusCode::BAD_REQUEST, &throttled).map(Full::new));
        }
        if self.is(Fault::CloudSlow, 0.5) {
            let wait = self.random.lock().expect("no panic while held").u64(100..7000);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let answer = if target.ends_with(".PutEvents") {
            // To its end, whether or not anybody waits for it: it is known then what took effect.
            let front = Arc::clone(&self);
            tokio::spawn(async move { front.put(parts, &body).await })
                .await
                .map_err(std::io::Error::other)??
        } else {
            let answer = self.forward(parts, body.clone()).await?;
            if target.ends_with(".ReceiveMessage") {
                self.remember(&body, answer.body());
            }
            answer
        };
        if self.is(Fault::CloudLosesAnswers, 0.3) {
            return Err(std::io::Error::other("lost"));
        }
        if self.is(Fault::CloudTruncates, 0.3) {
            let (parts, mut body) = answer.into_parts();
            body.truncate(body.len() / 2);
            let mut answer = Response::from_parts(parts, Full::new(body));
            answer.headers_mut().remove("content-length");
            return Ok(answer);
        }
        Ok(answer.map(Full::new))
    }

    /// `PutEvents`: some entries may fail, the others go on, and are noted.
    async fn put(&self, parts: Parts, body: &[u8]) -> Result<Response<Bytes>, std::io::Error> {
        let mut input: Value = serde_json::from_slice(body)?;
        let entries = input["Entries"].take().as_array().cloned().unwrap_or_default();
        let failed: Vec<bool> = entries.iter().map(|_| self.is(Fault::CloudFailsEntries, 0.3)).collect();
        let passed: Vec<&Value> =
            entries.iter().zip(&failed).filter(|(_, failed)| !**failed).map(|(entry, _)| entry).collect();
        let mut taken = Vec::new();
        if !passed.is_empty() {
            input["Entries"] = json!(passed);
            let begun = self.ticks.fetch_add(1, Ordering::SeqCst);
            let answer = self.forward(parts, Bytes::from(input.to_string())).await?;
            let done = self.ticks.fetch_add(1, Ordering::SeqCst);
            if answer.status() != StatusCode::OK {
                return Ok(answer);
            }
            let output: Value = serde_json::from_slice(answer.body())?;
            taken = output["Entries"].as_array().cloned().unwrap_or_default();
            let mut puts = self.puts.lock().expect("no panic while held");
            for (entry, result) in passed.iter().zip(&taken) {
                let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap_or_default())?;
                let event = detail["id"].as_str().and_then(|id| id.parse().ok());
                if let (Some(event), true) = (event, result["ErrorCode"].is_null()) {
                    puts.push(Put { event, rpc: None, begun, done });
                }
            }
        }
        let mut taken = taken.into_iter();
        let results: Vec<Value> = failed
            .iter()
            .map(|failed| match failed {
                true => json!({"ErrorCode": "InternalFailure", "ErrorMessage": "as the torture wants it"}),
                false => taken.next().unwrap_or_default(),
            })
            .collect();
        let failed = failed.iter().filter(|failed| **failed).count();
        Ok(respond(StatusCode::OK, &json!({"FailedEntryCount": failed, "Entries": results})))
    }

    fn remember(&self, input: &[u8], output: &[u8]) {
        let (Ok(input), Ok(output)) =
            (serde_json::from_slice::<Value>(input), serde_json::from_slice::<Value>(output))
        else {
            return;
        };
        let Some(url) = input["QueueUrl"].as_str() else { return };
        let mut received = self.received.lock().expect("no panic while held");
        for message in output["Messages"].as_array().into_iter().flatten() {
            if let Some(body) = message["Body"].as_str() {
                received.push_back((url.to_owned(), body.to_owned()));
            }
        }
        while received.len() > REMEMBERED {
            received.pop_front();
        }
    }

    /// Is the weather like this, for this one of so many?
    fn is(&self, fault: Fault, share: f64) -> bool {
        let now =
            self.weather.lock().expect("no panic while held").get(&fault).is_some_and(|times| *times > 0);
        now && self.random.lock().expect("no panic while held").f64() < share
    }

    async fn forward(&self, parts: Parts, body: Bytes) -> Result<Response<Bytes>, std::io::Error> {
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
}

fn respond(status: StatusCode, output: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(output.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    response
}
