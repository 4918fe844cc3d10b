//! `tests/aws-limits.json`: AWS's documented limits, and whether the emulator or the proxy in front of it enforces them.
//! Tests of the transport `aws` prove as much as this list, and no more.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use testkit::process::root;
use testkit::strict::Strict;

use super::stored::Queue;
use crate::cloud::{Cloud, cloud};

const QUEUE: &str = "outbox-Test--Limits";
const TABLE: &str = "outbox-dedup";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    says: String,
    source: String,
    by: By,
    /// Requests that come first, in order.
    #[serde(default)]
    given: Vec<Given>,
    #[serde(default)]
    ask: Option<Ask>,
    /// AWS's code. For a batch: the codes by the entry's id or place. Or `taken`.
    #[serde(default)]
    answer: Value,
}

/// What enforces the limit here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum By {
    StandIn,
    FaultServer,
    /// AWS would refuse the request, and neither emulator nor proxy does.
    Nobody,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Given {
    /// A message was sent, and received with a visibility of so many seconds: its handle is `$handle`.
    Received(u64),
    HoursLater(u64),
    Denied(String),
    KeyDisabled,
    /// A request that is accepted.
    Asked(Ask),
}

#[derive(Deserialize)]
struct Ask {
    operation: String,
    input: Value,
}

/// One line's resources: a queue that no other line uses, behind a proxy of its own.
struct Stand {
    strict: Arc<Strict>,
    endpoint: String,
    queue: String,
    handle: String,
}

impl Stand {
    async fn new(cloud: &Cloud) -> Self {
        let (strict, endpoint) = cloud.strict().await;
        let queue = Queue::of(cloud, QUEUE).await;
        Self { strict, endpoint, queue: queue.url, handle: String::new() }
    }

    async fn given(&mut self, given: &Given) {
        match given {
            Given::Received(seconds) => {
                let sent = json!({"QueueUrl": self.queue, "MessageBody": "x"});
                self.ask("AmazonSQS.SendMessage", &sent).await.expect("it is sent");
                let receive =
                    json!({"QueueUrl": self.queue, "VisibilityTimeout": seconds, "WaitTimeSeconds": 5});
                let received = self.ask("AmazonSQS.ReceiveMessage", &receive).await.expect("it is received");
                self.handle = received["Messages"][0]["ReceiptHandle"].as_str().unwrap().to_owned();
            }
            Given::HoursLater(hours) => self.strict.let_pass(Duration::from_secs(hours * 3600)),
            Given::Denied(action) => self.strict.deny(action, QUEUE, true),
            Given::KeyDisabled => self.strict.disable_key(QUEUE, true),
            Given::Asked(Ask { operation, input }) => {
                let input = self.filled(input);
                self.ask(operation, &input).await.expect("it is taken");
            }
        }
    }

    /// Fills in `$queue`, `$table` and `$handle`. `{"$repeat": ["x", 3]}` becomes `"xxx"`.
    fn filled(&self, input: &Value) -> Value {
        match input {
            Value::String(text) => {
                let text = text.replace("$queue", &self.queue).replace("$handle", &self.handle);
                json!(text.replace("$table", TABLE).replace("$dlq", &format!("{}-dlq", self.queue)))
            }
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(map) if map.contains_key("$repeat") => {
                let (text, times) =
                    (map["$repeat"][0].as_str().unwrap(), map["$repeat"][1].as_u64().unwrap());
                json!(text.repeat(usize::try_from(times).unwrap()))
            }
            Value::Object(map) => {
                map.iter().map(|(name, value)| (name.clone(), self.filled(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// Returns the output, or AWS's code.
    async fn ask(&self, target: &str, input: &Value) -> Result<Value, String> {
        let service = match target {
            _ if target.starts_with("Dynamo") => "dynamodb",
            _ if target.starts_with("AWSEvents") => "events",
            _ => "sqs",
        };
        let address = self.endpoint.trim_start_matches("http://");
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let carrying = tokio::spawn(connection);
        let request = http::Request::post("/")
            .header("host", address)
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.0")
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"),
            )
            .body(Full::new(Bytes::from(input.to_string())))
            .unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        carrying.abort();
        let output: Value = serde_json::from_slice(&body).unwrap_or_default();
        if parts.status.is_success() {
            return Ok(output);
        }
        let code = output["__type"].as_str().unwrap_or_default();
        Err(code.rsplit('#').next().unwrap().to_owned())
    }
}

/// In the form of the list.
fn answer(answered: Result<Value, String>) -> Value {
    let output = match answered {
        Ok(output) => output,
        Err(code) => return json!(code),
    };
    let failed = output["Failed"].as_array().cloned().unwrap_or_default();
    let entries = output["Entries"].as_array().cloned().unwrap_or_default();
    let put = entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| Some((at.to_string(), entry.get("ErrorCode")?.clone())));
    let failed = failed.iter().map(|entry| (entry["Id"].as_str().unwrap().to_owned(), entry["Code"].clone()));
    let results = output["Responses"].as_array().cloned().unwrap_or_default();
    let ran =
        results.iter().enumerate().map(|(at, result)| (at.to_string(), result["Error"]["Code"].clone()));
    let refused: serde_json::Map<String, Value> =
        failed.chain(put).chain(ran).filter(|(_, code)| !code.is_null()).collect();
    if refused.is_empty() { json!("taken") } else { Value::Object(refused) }
}

fn limits() -> Vec<Limit> {
    let text = std::fs::read_to_string(root().join("tests/aws-limits.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Guards: each line of tests/aws-limits.json is true. A limit that is listed as enforced is refused here as AWS documents
/// it. One that is listed as unenforced is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_limits_is_true() {
    let Some(cloud) = cloud() else { return };
    let mut wrong = Vec::new();
    for limit in limits() {
        let Some(ask) = &limit.ask else {
            assert_eq!(limit.by, By::Nobody, "{}: what is enforced is run", limit.says);
            continue;
        };
        let mut stand = Stand::new(cloud).await;
        for given in &limit.given {
            stand.given(given).await;
        }
        let answered = answer(stand.ask(&ask.operation, &stand.filled(&ask.input)).await);
        let expected = if limit.by == By::Nobody { json!("taken") } else { limit.answer.clone() };
        if answered != expected {
            wrong.push(format!("{}: {answered} instead of {expected}", limit.says));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Guards: each line says which of AWS's documents it is from.
#[test]
fn each_limit_has_its_source() {
    for limit in limits() {
        assert!(limit.source.starts_with("https://docs.aws.amazon.com/"), "{}: {}", limit.says, limit.source);
    }
}
