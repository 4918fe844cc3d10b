//! Where each RPC is, and how it is called. Everything that can be known is found out at start.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use connectrpc::client::HttpClient;
use contract::{CarrierError, Contract, RpcError};
use event_router::{Router, Rpc};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use prost_reflect::MethodDescriptor;

use super::body::Body;
use super::{Call, CallError, Code, Encoding, Endpoint, RpcClient, ServiceEncoding, connect, failed, grpc};

/// Calls over `http://` with HTTP/1.1, `h2c://` and gRPC with HTTP/2 in the clear, `https://` with either, as the server
/// likes it, its certificate checked against the system's roots.
#[derive(Debug, Clone)]
pub struct Client {
    targets: Arc<HashMap<Rpc, Target>>,
}

/// What the environment says of the services.
#[derive(Debug, Clone, Copy)]
pub struct Services<'a> {
    pub endpoints: &'a [Endpoint],
    /// JSON where nothing is said.
    pub encodings: &'a [ServiceEncoding],
    /// Without it RPCs are called by the name they have in event_router.yaml.
    pub contract: Option<&'a Contract>,
}

#[derive(Debug)]
struct Target {
    http: HttpClient,
    uri: Uri,
    encoding: Encoding,
    body: Body,
}

impl Client {
    /// # Errors
    ///
    /// What no call could work with: a service without an endpoint, an RPC that proto does not have, an encoding that
    /// needs descriptors where there are none.
    pub fn new(router: &Router, services: &Services<'_>) -> Result<Self, ClientError> {
        let missing: BTreeSet<String> = router
            .rpcs()
            .map(|(rpc, _)| rpc.service())
            .filter(|service| services.endpoint(service).is_none())
            .map(str::to_owned)
            .collect();
        if !missing.is_empty() {
            return Err(ClientError::NoEndpoint { services: missing.into_iter().collect() });
        }
        let routed = |service: &str| router.rpcs().any(|(rpc, _)| same_service(rpc.service(), service));
        if let Some(stray) = services.encodings.iter().find(|it| !routed(&it.service)) {
            return Err(ClientError::StrayEncoding { service: stray.service.clone() });
        }
        let mut transports = Transports::default();
        let mut targets = HashMap::new();
        for (rpc, _) in router.rpcs() {
            let encoding = services.encoding(rpc.service());
            let url = services.endpoint(rpc.service()).map_or("", |endpoint| endpoint.url.as_str());
            let method = services.method(rpc)?;
            let (http, base) = transports.of(url, encoding)?;
            let path = method.as_ref().map_or_else(|| rpc.to_string(), path);
            let uri = Uri::from_str(&format!("{base}/{path}"))
                .map_err(|_| ClientError::Uri { service: rpc.service().to_owned() })?;
            let body = body(router, rpc, encoding, services.contract.zip(method.as_ref()))?;
            targets.insert(rpc.clone(), Target { http, uri, encoding, body });
        }
        Ok(Self { targets: Arc::new(targets) })
    }
}

impl Services<'_> {
    fn endpoint(&self, service: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .rev()
            .find(|endpoint| endpoint.service == service)
            .or_else(|| self.endpoints.iter().rev().find(|endpoint| same_service(&endpoint.service, service)))
    }

    fn encoding(&self, service: &str) -> Encoding {
        let said = self.encodings.iter().rev().find(|it| same_service(&it.service, service));
        said.map_or(Encoding::default(), |it| it.encoding)
    }

    fn method(&self, rpc: &Rpc) -> Result<Option<MethodDescriptor>, ClientError> {
        let Some(contract) = self.contract else { return Ok(None) };
        contract.rpc(rpc.as_str()).map(Some).map_err(|source| ClientError::Rpc { rpc: rpc.clone(), source })
    }
}

/// With or without its package, in the environment and in event_router.yaml.
fn same_service(one: &str, other: &str) -> bool {
    let ends =
        |long: &str, short: &str| long.strip_suffix(short).is_some_and(|package| package.ends_with('.'));
    one == other || ends(one, other) || ends(other, one)
}

/// `notification.v1.NotificationService/NotifyHogeUpdated`
fn path(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

fn body(
    router: &Router,
    rpc: &Rpc,
    encoding: Encoding,
    described: Option<(&Contract, &MethodDescriptor)>,
) -> Result<Body, ClientError> {
    match (encoding, described) {
        (Encoding::Json, None) => Ok(Body::json()),
        (Encoding::Json, Some((contract, method))) => Ok(Body::json_of(contract, method)),
        (Encoding::Proto | Encoding::Grpc, None) => {
            Err(ClientError::NeedsProto { service: rpc.service().to_owned(), encoding: encoding.as_str() })
        }
        (Encoding::Proto | Encoding::Grpc, Some((contract, method))) => {
            let events = router.routes().filter(|route| route.rpc == rpc).map(|route| route.event);
            Body::binary_of(contract, method, events).map_err(|(event, source)| match source {
                Some(source) => ClientError::Carrier { rpc: rpc.clone(), source },
                None => ClientError::UnknownEvent { rpc: rpc.clone(), event: event.to_owned() },
            })
        }
    }
}

impl RpcClient for Client {
    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        let Some(Target { http, uri, encoding, body }) = self.targets.get(call.rpc) else {
            return Err(failed(Code::Unavailable, &format!("no endpoint for {}", call.rpc.service())));
        };
        let body = body.encode(call.event)?;
        let (headers, timeout) = (headers(call), call.timeout);
        let answer = async {
            match encoding {
                Encoding::Json => connect::call(http, uri, headers, timeout, "application/json", body).await,
                Encoding::Proto => {
                    connect::call(http, uri, headers, timeout, "application/proto", body).await
                }
                Encoding::Grpc => grpc::call(http, uri, headers, timeout, body).await,
            }
        };
        tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| {
            Err(failed(
                Code::DeadlineExceeded,
                &format!("no answer within {}", humantime::format_duration(timeout)),
            ))
        })
    }
}

/// What every encoding sends: the event's own headers, and who and what it is.
fn headers(call: &Call<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &call.event.headers {
        // Checked at enqueue; a row written past it must not stop the call.
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    let id = HeaderValue::from_str(&call.event.id.to_string()).expect("a uuid is a valid header");
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("outbox-worker/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert("idempotency-key", id.clone());
    headers.insert("outbox-event-id", id);
    if let Ok(name) = HeaderValue::from_str(&call.event.name) {
        headers.insert("outbox-event-name", name);
    }
    headers.insert("outbox-attempt", HeaderValue::from(call.attempt));
    headers
}

/// One pool of connections for each way of connecting.
#[derive(Default)]
struct Transports {
    http1: Option<HttpClient>,
    http2: Option<HttpClient>,
    tls: Option<HttpClient>,
}

impl Transports {
    /// The client for an address, and the address as that client takes it.
    fn of(&mut self, url: &str, encoding: Encoding) -> Result<(HttpClient, String), ClientError> {
        let url = url.trim_end_matches('/');
        let clear = url
            .strip_prefix("h2c://")
            .or_else(|| url.strip_prefix("http://").filter(|_| encoding == Encoding::Grpc));
        if let Some(rest) = clear {
            let client = self.http2.get_or_insert_with(HttpClient::plaintext_http2_only);
            return Ok((client.clone(), format!("http://{rest}")));
        }
        let client = if url.starts_with("https://") {
            match &mut self.tls {
                Some(tls) => tls,
                none => none.insert(tls_client()?),
            }
        } else {
            self.http1.get_or_insert_with(HttpClient::plaintext)
        };
        Ok((client.clone(), url.to_owned()))
    }
}

fn tls_client() -> Result<HttpClient, ClientError> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(ClientError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpClient::with_tls(Arc::new(config)))
}

/// Why calls can't work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("event_router.yaml names services without an endpoint: {}", .services.join(", "))]
    NoEndpoint { services: Vec<String> },
    #[error("the endpoint of {service} is not a valid address")]
    Uri { service: String },
    #[error("--encoding names {service}, and event_router.yaml has no RPC of it")]
    StrayEncoding { service: String },
    #[error("--encoding {service}={encoding} needs to know the service's proto")]
    NeedsProto { service: String, encoding: &'static str },
    #[error("event_router.yaml names '{rpc}', but {source}")]
    Rpc { rpc: Rpc, source: RpcError },
    #[error("'{rpc}' can't be sent its event: {source}")]
    Carrier { rpc: Rpc, source: CarrierError },
    #[error("'{rpc}' subscribes to '{event}', which proto does not have")]
    UnknownEvent { rpc: Rpc, event: String },
    #[error("an endpoint is https, and this machine has no root certificates")]
    NoRoots,
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
}

impl ClientError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoEndpoint { services } => {
                let flags = services.iter().map(|service| format!("--endpoint {service}=http://HOST:PORT"));
                format!("pass {}", flags.collect::<Vec<_>>().join(" "))
            }
            Self::Uri { .. } => "see --endpoint in worker --help".to_owned(),
            Self::StrayEncoding { .. } => "correct the service's name, or remove the flag".to_owned(),
            Self::NeedsProto { .. } => "pass --proto DIR with its .proto files, or a descriptor set".to_owned(),
            Self::Rpc { source, .. } => source.hint(),
            Self::Carrier { source, .. } => source.hint(),
            Self::UnknownEvent { .. } => {
                "define it in proto, or give the worker the newer proto; `outbox check` finds every such mistake".to_owned()
            }
            Self::NoRoots => "install ca-certificates, or set SSL_CERT_FILE".to_owned(),
            Self::Tls(_) => "see --endpoint in worker --help".to_owned(),
        }
    }
}
