//! One trace from the change to the RPC.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::world::{One, ROUTER, World, until};

/// Guards promise 8: the spans of publisher, relay, worker and RPC are one trace, each the parent of the next, exported with
/// OTLP. A process without an exporter passes the publisher's span on.
#[tokio::test(flavor = "multi_thread")]
async fn one_trace_from_the_change_to_the_rpc() {
    let collector = Collector::start().await;
    let world = World::new(ROUTER).await;
    let env =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let (relay, worker) = (world.relay_process_in(&env), world.worker_process_in(&env, &[]));

    let (event, published) = enqueue_in_a_span(&world).await;
    world.rpcs.until_done("Test/One", &[event]).await;
    let received = world.rpcs.calls_of(event)[0].incoming.header("traceparent").to_owned();
    until("relay and worker have exported theirs", async || collector.spans().len() >= 2).await;
    let spans = collector.spans();
    let of = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    let (put, deliver) = (of("put event_one"), of("deliver Test/One"));
    let [_, trace, parent, flags]: [&str; 4] = published.split('-').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((hex(&put.trace_id), hex(&put.parent_span_id)), (trace.to_owned(), parent.to_owned()));
    assert_eq!((&deliver.trace_id, &deliver.parent_span_id), (&put.trace_id, &put.span_id));
    assert_eq!(received, format!("00-{trace}-{}-{flags}", hex(&deliver.span_id)));
    assert!(deliver.attributes.iter().any(|attribute| attribute.key == "messaging.message.id"));

    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    let (relay, worker) = (world.relay_process(), world.worker_process());
    let (event, published) = enqueue_in_a_span(&world).await;
    world.rpcs.until_done("Test/One", &[event]).await;
    assert_eq!(world.rpcs.calls_of(event)[0].incoming.header("traceparent"), published);
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards: an unsupported protocol of the exporter is refused, with the remedy.
#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_is_not_spoken_is_refused() {
    let world = World::new(ROUTER).await;
    let env =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let mut relay = world.relay_process_in(&env);
    let said = relay.wait_for("error").await.unwrap();
    assert!(said.contains("http/protobuf") && said.contains("not with grpc"), "{said}");
    assert_eq!(relay.ended().await.unwrap().code(), Some(1));
    world.finish().await;
}

/// Enqueues in a span, as a service with tracing-opentelemetry's layer does. Returns the event and the span's `traceparent`.
async fn enqueue_in_a_span(world: &World) -> (outbox_event::EventId, String) {
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("service"));
    let subscriber = tracing_subscriber::registry().with(layer);
    let enqueue = async {
        let span = tracing::info_span!("settle");
        let context = span.context();
        let id = world.publish(One { n: 1 }).instrument(span).await;
        let context = context.span().span_context().clone();
        (id, format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags()))
    };
    enqueue.with_subscriber(subscriber).await
}

/// Receives spans as an OpenTelemetry collector does.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector =
            Self { endpoint: format!("http://{}", listener.local_addr().unwrap()), spans: Arc::default() };
        let spans = Arc::clone(&collector.spans);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let spans = Arc::clone(&spans);
                let service =
                    hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                        let spans = Arc::clone(&spans);
                        async move {
                            assert_eq!(request.uri().path(), "/v1/traces");
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let exported = ExportTraceServiceRequest::decode(body).unwrap();
                            let all = exported.resource_spans.into_iter().flat_map(|of| of.scope_spans);
                            spans.lock().unwrap().extend(all.flat_map(|of| of.spans));
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                        }
                    });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        collector
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
