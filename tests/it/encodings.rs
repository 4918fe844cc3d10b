//! One event, three ways to send it: Connect with JSON, Connect with protobuf's binary, and gRPC.

use std::convert::Infallible;
use std::future::Ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use connectrpc::ConnectError;
use contract::{Contract, Sources};
use event_router::{Router, Rpc};
use outbox::proto::prost::Message;
use testkit::process::root;
use tests::proto::every::v1::{EveryKindHappenedEvent as Every, MaybeKeyedEvent, TakeRequest};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use worker::rpc::{By, Call, CallError, Client, Code, Endpoint, RpcClient, Services};

use crate::server;
use crate::world::{PATIENCE, World};

const MAYBE: &str = "event_maybe_keyed";
const EVERY: &str = "event_every_kind_happened";
const ROUTER: &str = "
event:
  - name: event_every_kind_happened
    subscriber:
      - id: EveryJsonService/Take
      - id: every.v1.EveryProtoService/Take
      - id: EveryGrpcService/Take
        max_attempts: 3
        backoff: { min: 1ms, max: 10ms }
  - name: event_maybe_keyed
    subscriber:
      - id: EveryJsonService/Take
      - id: every.v1.EveryProtoService/Take
      - id: EveryGrpcService/Take
        max_attempts: 3
        backoff: { min: 1ms, max: 10ms }
";

/// Guards: the same event reaches a Connect server as JSON and as binary, and a plain gRPC server, each with the headers
/// of the contract; RPCs are found with and without their package, the event in whatever field carries it.
#[tokio::test(flavor = "multi_thread")]
async fn one_event_reaches_services_of_every_encoding() {
    let mut world = World::new(ROUTER).await;
    let (taken, mut takes) = mpsc::unbounded_channel();
    let connect = connect_server(taken.clone()).await;
    let grpc = grpc_server(taken, |_| Ok(())).await;
    world.relay();
    let proto = root().join("tests/proto").display().to_string();
    let endpoints = [
        format!("EveryJsonService=http://{connect}"),
        format!("EveryProtoService=http://{connect}"),
        format!("every.v1.EveryGrpcService=http://{grpc}"),
    ];
    let mut args = vec![
        "--proto",
        &proto,
        "--encoding",
        "EveryProtoService=proto",
        "--encoding",
        "EveryGrpcService=grpc",
    ];
    args.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
    let worker = world.worker_process_with(&args);

    let event = Every {
        int64_value: i64::MIN,
        bytes_value: vec![0xff, 0],
        strings: vec!["é".into()],
        ..Every::default()
    };
    let id = world.publish(&event).await;
    let expected = TakeRequest { what_happened: Some(event), ..TakeRequest::default() };
    for _ in 0..3 {
        let take = tokio::time::timeout(PATIENCE, takes.recv()).await.expect("in time").expect("a call");
        assert_eq!(take.request, expected, "{}", take.encoding);
        assert_eq!(take.event_id, id.to_string(), "{}", take.encoding);
    }
    let maybe = MaybeKeyedEvent { id: Some(0) };
    world.publish(&maybe).await;
    let mut encodings = Vec::new();
    for _ in 0..3 {
        let take = tokio::time::timeout(PATIENCE, takes.recv()).await.expect("in time").expect("a call");
        assert_eq!(take.request.maybe, Some(maybe), "{}", take.encoding);
        encodings.push(take.encoding);
    }
    encodings.sort();
    assert_eq!(encodings, ["application/grpc", "application/json", "application/proto"]);
    world.until_settled().await;
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards: what a gRPC server refuses is told from what it can't do now, with its own message; its pushback is honoured.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_statuses_are_understood() {
    let (taken, _takes) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(Status::unavailable("")));
    let answer = Arc::clone(&answers);
    let grpc = grpc_server(taken, move |_| Err(answer.lock().unwrap().clone())).await;
    let call = |status: Status| {
        *answers.lock().unwrap() = status;
        call(format!("http://{grpc}"), "EveryGrpcService", r#"{"id":1}"#)
    };
    let mut pushback = Status::unavailable("come back later");
    pushback.metadata_mut().insert("grpc-retry-pushback-ms", "1500".parse().unwrap());
    let cases = [
        (Status::invalid_argument("no such card: 7 %"), Code::InvalidArgument, "no such card: 7 %", None),
        (Status::already_exists("done"), Code::AlreadyExists, "done", None),
        (Status::permission_denied(""), Code::PermissionDenied, "", None),
        (Status::data_loss("é"), Code::DataLoss, "é", None),
        (pushback, Code::Unavailable, "come back later", Some(Duration::from_millis(1500))),
    ];
    for (status, code, message, retry_after) in cases {
        let error = call(status).await.unwrap_err();
        assert_eq!(error, CallError { code, message: message.to_owned(), retry_after, by: By::Server });
    }
}

/// Guards: what does not answer, or answers something else, is an error that says so, and no success.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_fail_clearly() {
    let refused = call("http://127.0.0.1:1".into(), "EveryGrpcService", "{}").await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "{refused}");

    // A server that speaks no HTTP/2.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung =
        call(format!("http://{}", silent.local_addr().unwrap()), "EveryGrpcService", "{}").await.unwrap_err();
    assert_eq!((hung.code, hung.message.as_str()), (Code::DeadlineExceeded, "no answer within 2s"));

    // A gRPC server that has no such service, and a Connect server that does not know the path.
    let (taken, _takes) = mpsc::unbounded_channel();
    let grpc = grpc_server(taken.clone(), |_| Ok(())).await;
    let other = call(format!("http://{grpc}/prefix"), "EveryGrpcService", "{}").await.unwrap_err();
    assert_eq!(other.code, Code::Unimplemented, "{other}");
    let connect = connect_server(taken).await;
    let other = call(format!("http://{connect}/prefix"), "EveryProtoService", "{}").await.unwrap_err();
    assert_eq!(other.code, Code::Unimplemented, "{other}");
}

/// Guards: a connection whose other end is gone without a word is given up after a few calls, not when the kernel does.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_given_up() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let grpc = grpc_server(taken, |_| Ok(())).await;
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", between.local_addr().unwrap());
    tokio::spawn(async move {
        let (_lost, _) = between.accept().await.unwrap();
        loop {
            let (mut here, _) = between.accept().await.unwrap();
            let mut there = tokio::net::TcpStream::connect(&grpc).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await });
        }
    });
    let (router, rpc) = routed("EveryGrpcService", MAYBE);
    let client = client(&router, "EveryGrpcService", url);
    let body = body("EveryGrpcService", MAYBE, r#"{"id":1}"#);
    let message = event::Message::decode(&body).unwrap();
    let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_millis(300) };
    for _ in 0..3 {
        assert_eq!(client.call(&call).await.unwrap_err().code, Code::DeadlineExceeded);
    }
    client.call(&Call { timeout: PATIENCE, ..call }).await.unwrap();
    assert_eq!(takes.recv().await.unwrap().request.maybe, Some(MaybeKeyedEvent { id: Some(1) }));
}

/// Guards: a payload that is newer than the worker's proto is kept whole on JSON; on the others it waits, and the error
/// names the field and no value.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_kept_on_json_and_named_on_the_others() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let connect = connect_server(taken).await;
    let payload = r#"{"id":3,"fromTheFuture":"secret-7"}"#;
    call(format!("http://{connect}"), "EveryJsonService", payload).await.unwrap();
    let take = takes.recv().await.unwrap();
    assert_eq!(take.body, format!(r#"{{"maybe":{payload}}}"#));

    let cases = [
        (MAYBE, payload, "the payload has a field 'fromTheFuture' that every.v1.MaybeKeyedEvent does not"),
        (MAYBE, r#"{"id":"secret-7"}"#, "the payload's field 'id' is not what every.v1.MaybeKeyedEvent says"),
        (MAYBE, r#"{"id":-1}"#, "the payload's field 'id' is not what every.v1.MaybeKeyedEvent says"),
        (
            EVERY,
            r#"{"messages":[{"deeper":{"numbr":"secret-7"}}]}"#,
            "a field 'numbr' in 'messages[0].deeper' that",
        ),
        (
            EVERY,
            r#"{"messages":[{"deeper":{"number":"secret-7"}}]}"#,
            "'messages[0].deeper.number' is not what",
        ),
        (
            EVERY,
            r#"{"int64sByString":{"secret-7":"x"}}"#,
            "the payload's field 'int64s_by_string[…]' is not what",
        ),
        (
            EVERY,
            r#"{"enumValue":"unrecognized field name 'secret-7'"}"#,
            "the payload's field 'enum_value' is not what",
        ),
    ];
    for service in ["EveryProtoService", "EveryGrpcService"] {
        for (event, payload, expected) in cases {
            let error = call_with(format!("http://{connect}"), service, event, payload).await.unwrap_err();
            assert_eq!(error.code, Code::FailedPrecondition, "{error}");
            assert!(error.message.contains(expected), "{error}");
            assert!(error.message.contains("--proto") && !error.message.contains("secret"), "{error}");
        }
    }
    assert!(takes.try_recv().is_err(), "nothing was called");
}

/// Guards promise 6: no payload panics a worker. Odd values of every kind stand where each kind of field is, and are sent or
/// refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_payload_panics_a_worker() {
    let contract = contract();
    let every = contract.event(EVERY).unwrap().message.clone();
    let texts = [
        "",
        "-",
        "0",
        "-0",
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "9223372036854775808",
        "-9223372036854775809",
        "1s",
        "s",
        "-s",
        ".s",
        "315576000001s",
        "-315576000001s",
        "9223372036854775807s",
        "99999999999999999999s",
        "1.9999999999s",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "10000-01-01T00:00:00Z",
        "-262144-01-01T00:00:00Z",
        "292277026596-12-04T15:30:08Z",
        "2026-02-30T00:00:00Z",
        "2026-11-25T24:00:00Z",
        "2026-11-25T23:59:60Z",
        "2026-11-25T00:00:00+99:99",
        "2026-11-25T00:00:00.Z",
        "é026-11-25T00:00:00Z",
        "=",
        "A",
        "AAAA=",
        "-_",
        "a.b,c..d,",
        "A_b",
        ",",
        "\\u0000",
        "\\ud800",
        "\\udc00\\ud800",
        "é",
    ];
    let texts = texts.iter().map(|text| format!("\"{text}\""));
    let deep = |open: &str, close: &str| open.repeat(120) + "1" + &close.repeat(120);
    let others = [
        "null".into(), "true".into(), "0".into(), "-0.0".into(), "1e400".into(), "1e-400".into(), "0.1".into(),
        "18446744073709551616".into(), "-9223372036854775809".into(), "1e19".into(), "4294967296".into(),
        "340282356779733661637539395458142568448".into(), "[]".into(), "[null]".into(), "{}".into(),
        r#"{"":null}"#.into(), r#"{"value":1}"#.into(), r#"{"@type":""}"#.into(), r#"{"@type":"x/y"}"#.into(),
        r#"{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"type.googleapis.com/google.protobuf.Any"}}"#.into(),
        r#"{"@type":"type.googleapis.com/google.protobuf.Duration","value":"315576000001s"}"#.into(),
        r#"{"seconds":1,"nanos":-1}"#.into(), r#"{"18446744073709551616":1,"-1":"1s","":{}}"#.into(),
        deep("[", "]"), deep(r#"{"a":"#, "}"),
    ];
    let values: Vec<String> = texts.chain(others).collect();
    let (router, rpc) = routed("EveryProtoService", EVERY);
    let client = client(&router, "EveryProtoService", "http://127.0.0.1:1".to_owned());
    let mut sent = 0;
    for field in every.fields() {
        for value in &values {
            for value in [value.clone(), format!("[{value}]"), format!(r#"{{"1":{value}}}"#)] {
                let payload = format!(r#"{{"{}":{value}}}"#, field.json_name());
                let body = body("EveryProtoService", EVERY, &payload);
                let Ok(message) = event::Message::decode(&body) else { continue };
                let timeout = Duration::from_secs(5);
                let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout };
                match client.call(&call).await.unwrap_err().code {
                    Code::Unavailable => sent += 1,
                    Code::FailedPrecondition => {}
                    other => panic!("{other}: {payload}"),
                }
            }
        }
    }
    assert!(sent > 500, "{sent}");
}

/// Guards SECURITY.md: in every encoding, a row that was written past `enqueue` included, an RPC gets no header that could
/// say who calls or which way, and in gRPC none that is base64; those that the operator allows arrive.
#[tokio::test(flavor = "multi_thread")]
async fn no_encoding_lets_forged_headers_through() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let connect = connect_server(taken.clone()).await;
    let grpc = grpc_server(taken, |_| Ok(())).await;
    let headers = r#""acme-tenant":"t-1","baggage":"b=1","acme-key-bin":"AAAA","key-bin":"AAAA","x-envoy-original-path":"/a",
        "grpc-timeout":"1n","te":"x","host":"elsewhere","authorization":"Bearer x","X-Api-Key":"k","content-type":"text/html",
        "user-agent":"me","idempotency-key":"other","outbox-event-id":"other","acme-odd":"a\r\nb: c","acme-é":"x","":"x""#;
    for (service, addr) in
        [("EveryJsonService", &connect), ("EveryProtoService", &connect), ("EveryGrpcService", &grpc)]
    {
        let body = body(service, MAYBE, r#"{"id":1}"#).replace(r#""tenant":"t-1""#, headers);
        let message = event::Message::decode(&body).unwrap();
        let (router, rpc) = routed(service, MAYBE);
        let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(5) };
        client(&router, service, format!("http://{addr}")).call(&call).await.unwrap();
        let take = takes.recv().await.unwrap();
        let mut custom: Vec<&str> = take.headers.keys().map(http::HeaderName::as_str).collect();
        custom.retain(|name| {
            ![
                "host",
                "content-length",
                "connect-protocol-version",
                "connect-timeout-ms",
                "te",
                "grpc-timeout",
            ]
            .contains(name)
        });
        custom.sort_unstable();
        let expected = [
            "acme-tenant",
            "baggage",
            "content-type",
            "idempotency-key",
            "outbox-attempt",
            "outbox-event-id",
            "outbox-event-name",
            "user-agent",
        ];
        assert_eq!(custom, expected, "{service}");
        let header = |name: &str| take.headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!((header("acme-tenant"), header("idempotency-key")), ("t-1", take.event_id.as_str()));
        assert!(header("user-agent").starts_with("outbox-worker/") && header("host") != "elsewhere");
        assert!(!header("grpc-timeout").contains("1n") && header("outbox-event-id").starts_with("0198c7e2"));
        assert_eq!(header("content-type"), take.encoding);
    }
}

/// Guards: an encoding that can't work is refused at start, with what to write.
#[tokio::test(flavor = "multi_thread")]
async fn impossible_encodings_are_refused_at_start() {
    let contract = contract();
    let refused = |yaml: &str, encodings: &[&str], contract: Option<&Contract>| {
        let router = Router::parse("event_router.yaml", yaml).unwrap();
        let endpoints: Vec<Endpoint> = router
            .rpcs()
            .map(|(rpc, _)| Endpoint {
                service: rpc.service().to_owned(),
                url: "http://127.0.0.1:1".to_owned(),
            })
            .collect();
        let encodings: Vec<_> = encodings.iter().map(|text| text.parse().unwrap()).collect();
        let error = Client::new(
            &router,
            &Services { endpoints: &endpoints, encodings: &encodings, contract, header_prefixes: &[] },
        )
        .unwrap_err();
        format!("{error}; {}", error.remedy())
    };
    let routed =
        |event: &str, rpc: &str| format!("event:\n  - name: {event}\n    subscriber:\n      - id: {rpc}\n");
    let grpc = routed("event_maybe_keyed", "EveryGrpcService/Take");
    let cases = [
        (&grpc, "EveryGrpcService=grpc", None, "needs to know the service's proto; pass --proto DIR"),
        (&grpc, "EveryGprcService=grpc", Some(&contract), "--encoding names EveryGprcService"),
        (
            &routed("event_maybe_keyed", "EveryGrpcService/Tak"),
            "EveryGrpcService=json",
            Some(&contract),
            "did you mean 'EveryGrpcService/Take'?",
        ),
        (
            &routed("event_unknown", "EveryGrpcService/Take"),
            "EveryGrpcService=proto",
            Some(&contract),
            "which proto does not have",
        ),
        (
            &routed("event_number_counted", "EveryGrpcService/Take"),
            "EveryGrpcService=grpc",
            Some(&contract),
            "add `every.v1.NumberCountedEvent event = 9;` to TakeRequest",
        ),
    ];
    for (yaml, encoding, contract, expected) in cases {
        let said = refused(yaml, &[encoding], contract);
        assert!(said.contains(expected), "{said}");
    }
}

/// Guards: what is said of a service by its very name goes before what may be meant for another one of that short name.
#[tokio::test(flavor = "multi_thread")]
async fn services_of_one_short_name_are_told_apart() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let right = format!("http://{}", connect_server(taken).await);
    let wrong = "http://127.0.0.1:1".to_owned();
    let contract = contract();
    let client = |id: &str, endpoints: &[(&str, &str)], contract: Option<&Contract>| {
        let yaml = format!("event:\n  - name: {MAYBE}\n    subscriber: [{{ id: {id} }}]\n");
        let endpoint = |&(service, url): &(&str, &str)| Endpoint { service: service.into(), url: url.into() };
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        let services = Services { endpoints: &endpoints, encodings: &[], contract, header_prefixes: &[] };
        Client::new(&Router::parse("test.yaml", &yaml).unwrap(), &services)
    };
    let body = r#"{"rpc":"x","event":{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_maybe_keyed","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{},"payload":{"id":1}}}"#;
    let message = event::Message::decode(body).unwrap();
    let said = [("every.v1.EveryJsonService", right.as_str()), ("other.v1.EveryJsonService", wrong.as_str())];
    for id in ["EveryJsonService/Take", "every.v1.EveryJsonService/Take"] {
        let client = client(id, &said, Some(&contract)).unwrap();
        let rpc = Rpc::new(id).unwrap();
        let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(5) };
        client.call(&call).await.unwrap();
        takes.recv().await.unwrap();
    }
    let error = client("EveryJsonService/Take", &said, None).unwrap_err();
    assert!(error.to_string().contains("may be"), "{error}");
}

fn contract() -> Contract {
    Sources { protos: vec![root().join("tests/proto")], includes: Vec::new() }.read().unwrap()
}

async fn call(url: String, service: &str, payload: &str) -> Result<(), CallError> {
    call_with(url, service, MAYBE, payload).await
}

/// Calls a service's `Take` with an event of this payload, in the encoding the service is named after.
async fn call_with(url: String, service: &str, event: &str, payload: &str) -> Result<(), CallError> {
    let body = body(service, event, payload);
    let message = event::Message::decode(&body).unwrap();
    let (router, rpc) = routed(service, event);
    let client = client(&router, service, url);
    client.call(&Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(2) }).await
}

fn body(service: &str, event: &str, payload: &str) -> String {
    format!(
        r#"{{"rpc":"{service}/Take","event":{{"id":"0198c7e2-0000-7000-8000-000000000001","name":"{event}","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{"tenant":"t-1"}},"payload":{payload}}}}}"#
    )
}

fn routed(service: &str, event: &str) -> (Router, Rpc) {
    let rpc = Rpc::new(&format!("{service}/Take")).unwrap();
    let yaml = format!("event:\n  - name: {event}\n    subscriber: [{{ id: {rpc} }}]\n");
    (Router::parse("test.yaml", &yaml).unwrap(), rpc)
}

fn client(router: &Router, service: &str, url: String) -> Client {
    let encoding = service.trim_start_matches("Every").trim_end_matches("Service").to_lowercase();
    let services = Services {
        endpoints: &[Endpoint { service: service.to_owned(), url }],
        encodings: &[format!("{service}={encoding}").parse().unwrap()],
        contract: Some(&contract()),
        header_prefixes: &["acme-".parse().unwrap()],
    };
    Client::new(router, &services).unwrap()
}

// ---- servers

struct Take {
    encoding: String,
    event_id: String,
    headers: http::HeaderMap,
    request: TakeRequest,
    body: String,
}

/// Takes JSON and binary.
async fn connect_server(taken: mpsc::UnboundedSender<Take>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let handle = move |incoming: server::Incoming| -> server::Answer {
        let encoding = incoming.header("content-type").to_owned();
        let request = match encoding.as_str() {
            "application/json" => serde_json::from_slice(&incoming.body).map_err(|error| error.to_string()),
            _ => TakeRequest::decode(incoming.body.clone()).map_err(|error| error.to_string()),
        };
        let event_id = incoming.header("idempotency-key").to_owned();
        let body = String::from_utf8_lossy(&incoming.body).into_owned();
        let taken = taken.clone();
        Box::pin(async move {
            let request = request.map_err(ConnectError::invalid_argument)?;
            let headers = incoming.headers;
            let _ = taken.send(Take { encoding, event_id, headers, request, body });
            Ok(())
        })
    };
    let serves =
        |path: &str| ["every.v1.EveryJsonService/Take", "every.v1.EveryProtoService/Take"].contains(&path);
    tokio::spawn(server::serve(listener, serves, handle, std::future::pending()));
    addr
}

/// A gRPC server as tonic's users have it, but for the generated code.
async fn grpc_server(
    taken: mpsc::UnboundedSender<Take>,
    answer: impl Fn(&TakeRequest) -> Result<(), Status> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let service = EveryGrpcService { taken, answer: Arc::new(answer) };
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    addr
}

#[derive(Clone)]
struct EveryGrpcService {
    taken: mpsc::UnboundedSender<Take>,
    answer: Arc<dyn Fn(&TakeRequest) -> Result<(), Status> + Send + Sync>,
}

impl tonic::server::NamedService for EveryGrpcService {
    const NAME: &'static str = "every.v1.EveryGrpcService";
}

impl tower_service::Service<http::Request<tonic::body::Body>> for EveryGrpcService {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let take = self.clone();
        Box::pin(async move {
            let codec = tonic_prost::ProstCodec::<(), TakeRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(take, request).await)
        })
    }
}

impl tonic::server::UnaryService<TakeRequest> for EveryGrpcService {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, request: Request<TakeRequest>) -> Self::Future {
        let header = |name: &str| {
            request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let event_id = header("idempotency-key");
        assert!(!header("outbox-attempt").is_empty() && !header("grpc-timeout").is_empty());
        let headers = request.metadata().clone().into_headers();
        let request = request.into_inner();
        let answer = (self.answer)(&request);
        let _ = self.taken.send(Take {
            encoding: "application/grpc".into(),
            event_id,
            headers,
            request,
            body: String::new(),
        });
        std::future::ready(answer.map(Response::new))
    }
}
