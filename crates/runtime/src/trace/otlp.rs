use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use super::{Role, is_wanted};

const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Begins spans, if traces are exported.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<(SdkTracerProvider, SdkTracer)>);

/// The work of one process on one event. The span ends when dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

impl Tracer {
    /// Reads the OTEL_ variables.
    ///
    /// # Errors
    ///
    /// The mistake in them, for an operator.
    pub(crate) fn from_env(program: &'static str) -> Result<Self, String> {
        if !is_wanted() {
            return Ok(Self(None));
        }
        let protocol = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        if let Some(other) = protocol.filter(|protocol| protocol != "http/protobuf") {
            return Err(format!(
                "traces are exported with http/protobuf (port 4318 as a rule), not with {other}: set OTEL_EXPORTER_OTLP_PROTOCOL so"
            ));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Http::new()?)
            .build()
            .map_err(|error| format!("failed to set up the export of traces: {error}"))?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(format!("outbox-{program}"));
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("outbox");
        Ok(Self(Some((provider, tracer))))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span that continues the trace in these headers, or a new trace.
    pub fn start(
        &self,
        name: String,
        role: Role,
        parent: &BTreeMap<String, String>,
        attributes: [(&'static str, String); 3],
    ) -> Span {
        let Some((_, tracer)) = &self.0 else { return Span(None) };
        let parent: HashMap<String, String> = ["traceparent", "tracestate"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), parent.get(*name)?.clone())))
            .collect();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &parent);
        let kind = match role {
            Role::Producer => SpanKind::Producer,
            Role::Consumer => SpanKind::Consumer,
        };
        let span = tracer
            .span_builder(name)
            .with_kind(kind)
            .with_attributes(attributes.map(|(name, value)| KeyValue::new(name, value)))
            .start_with_context(tracer, &parent);
        Span(Some(Context::new().with_span(span)))
    }

    pub(crate) fn flush(&self) {
        if let Some((provider, _)) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::debug!(%error, "failed to export the last spans");
        }
    }
}

impl Span {
    /// Makes this span the parent of what the reader of these headers does.
    pub fn continue_in(&self, headers: &mut BTreeMap<String, String>) {
        let Some(context) = &self.0 else { return };
        let mut fields = HashMap::new();
        TraceContextPropagator::new().inject_context(context, &mut fields);
        headers.extend(fields.into_iter().filter(|(_, value)| !value.is_empty()));
    }

    pub fn fail(&mut self, code: &str, message: &str) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", code.to_owned()));
            context.span().set_status(Status::error(message.to_owned()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// The exporter's thread is outside the runtime, so requests are handed over to the runtime.
#[derive(Debug)]
struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: tokio::runtime::Handle,
}

impl Http {
    fn new() -> Result<Self, String> {
        let tls =
            rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_native_roots()
                .map_err(|error| format!("no root certificates for the export of traces: {error}"))?
                .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            runtime: tokio::runtime::Handle::current(),
        })
    }
}

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.client.request(request.map(Full::new));
        let answer = self.runtime.spawn(async move {
            let (parts, body) = sent.await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, body))
        });
        answer.await?
    }
}
