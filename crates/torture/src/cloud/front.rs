//! The proxy in front of the emulator. It throttles, fails entries, loses and truncates answers, and delays them. It notes
//! the order in which events take effect on the bus.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::faults::Fault;
use crate::history::Put;
use testkit::strict::Strict;

/// The number of received messages that are kept, to be sent again.
const REMEMBERED: usize = 500;

/// The proxy.
pub(super) struct Front {
    /// A proxy with SQS's rules, in front of the emulator.
    strict: Strict,
    /// Each fault under way, with the number of its overlapping injections.
    under_way: Mutex<HashMap<Fault, usize>>,
    random: Mutex<fastrand::Rng>,
    ticks: AtomicI64,
    puts: Mutex<Vec<Put>>,
    received: Mutex<VecDeque<(String, String)>>,
}

impl Front {
    pub(super) fn new(emulator: SocketAddr, seed: u64) -> Self {
        Self {
            strict: Strict::new(emulator),
            under_way: Mutex::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            ticks: AtomicI64::new(0),
            puts: Mutex::default(),
            received: Mutex::default(),
        }
    }

    /// Passes a request without faults and without rules.
    pub(super) async fn ask(&self, parts: Parts, body: Bytes) -> Result<Response<Bytes>, std::io::Error> {
        self.strict.forward(parts, body).await
    }

    pub(super) fn puts(&self) -> Vec<Put> {
        self.puts.lock().expect("no panic while held").clone()
    }

    /// Begins or ends an injection; overlapping ones are counted.
    pub(super) fn switch(&self, fault: Fault, begins: bool) {
        let mut under_way = self.under_way.lock().expect("no panic while held");
        let times = under_way.entry(fault).or_default();
        *times = if begins { *times + 1 } else { times.saturating_sub(1) };
    }

    /// Some recently received messages, and their queues.
    pub(super) fn received(&self, many: usize) -> Vec<(String, String)> {
        let received = self.received.lock().expect("no panic while held");
        let mut random = self.random.lock().expect("no panic while held");
        (0..many.min(received.len())).map(|_| received[random.usize(0..received.len())].clone()).collect()
    }

    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
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

    /// Passes one request, with the faults under way. An error ends the connection without an answer.
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
            // The request runs to its end, even if the client disconnects, so that its effect is known.
            let front = Arc::clone(&self);
            tokio::spawn(async move { front.put(parts, &body).await })
                .await
                .map_err(std::io::Error::other)??
        } else if target.ends_with(".BatchExecuteStatement") {
            self.strict.statements(parts, &body, |_| self.fails_statement()).await?
        } else {
            let answer = self.strict.pass(parts, body.clone()).await?;
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

    /// `PutEvents`: some entries may fail. The others are put and noted.
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
            let answer = self.strict.forward(parts, Bytes::from(input.to_string())).await?;
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

    /// Some statements of a batch fail, and the others run.
    fn fails_statement(&self) -> Option<&'static str> {
        const CODES: [&str; 3] = ["InternalServerError", "ProvisionedThroughputExceeded", "ThrottlingError"];
        let fails = self.is(Fault::CloudFailsEntries, 0.3);
        fails.then(|| CODES[self.random.lock().expect("no panic while held").usize(..CODES.len())])
    }

    /// Whether this request meets the fault, which hits a share of all.
    fn is(&self, fault: Fault, share: f64) -> bool {
        let now =
            self.under_way.lock().expect("no panic while held").get(&fault).is_some_and(|times| *times > 0);
        now && self.random.lock().expect("no panic while held").f64() < share
    }
}

fn respond(status: StatusCode, output: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(output.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    response
}
