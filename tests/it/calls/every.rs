//! Services that accept every kind of event, in each encoding, and one call of them by the worker's client.

use std::convert::Infallible;
use std::future::Ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use connectrpc::ConnectError;
use outbox::proto::prost::Message;
use outbox_contract::{Contract, Sources};
use outbox_event_router::{Router, Rpc};
use outbox_worker::rpc::{Call, CallError, Client, Endpoint, RpcClient, Services};
use testkit::process::root;
use tests::proto::every::v1::TakeRequest;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::server;

pub(crate) const MAYBE: &str = "event_maybe_keyed";

pub(crate) fn contract() -> Contract {
    Sources { protos: vec![root().join("tests/proto")], includes: Vec::new(), ..Sources::default() }
        .read()
        .unwrap()
}

pub(crate) async fn call(url: String, service: &str, payload: &str) -> Result<(), CallError> {
    call_with(url, service, MAYBE, payload).await
}

/// Calls a service's `Take` with this payload. The service's name says which encoding it has.
pub(crate) async fn call_with(
    url: String,
    service: &str,
    event: &str,
    payload: &str,
) -> Result<(), CallError> {
    let body = body(service, event, payload);
    let message = outbox_event::Message::decode(&body).unwrap();
    let (router, rpc) = routed(service, event);
    let client = client(&router, service, url);
    client.call(&Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(2) }).await
}

pub(crate) fn body(service: &str, event: &str, payload: &str) -> String {
    format!(
        r#"{{"rpc":"{service}/Take","event":{{"id":"0198c7e2-0000-7000-8000-000000000001","name":"{event}","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{"tenant":"t-1"}},"payload":{payload}}}}}"#
    )
}

pub(crate) fn routed(service: &str, event: &str) -> (Router, Rpc) {
    let rpc = Rpc::new(&format!("{service}/Take")).unwrap();
    let yaml = format!("event:\n  - name: {event}\n    subscriber: [{{ id: {rpc} }}]\n");
    (Router::parse("test.yaml", &yaml).unwrap(), rpc)
}

pub(crate) fn client(router: &Router, service: &str, url: String) -> Client {
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

pub(crate) struct Take {
    pub(crate) encoding: String,
    pub(crate) event_id: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) request: TakeRequest,
    pub(crate) body: String,
}

/// Takes JSON and binary.
pub(crate) async fn connect_server(taken: mpsc::UnboundedSender<Take>) -> String {
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

/// A gRPC server as users of tonic have it, without the generated code.
pub(crate) async fn grpc_server(
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
