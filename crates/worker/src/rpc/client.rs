//! Where each RPC is, and how it is called. Every mistake that can be found at start is found there.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Uri, header};
use outbox_contract::{CarrierError, Contract, RpcError, carrier};
use outbox_event_router::{Router, Rpc};
use prost_reflect::MethodDescriptor;

use super::body::Body;
use super::headers::Headers;
use super::line::{Line, TlsError};
use super::prefix::HeaderPrefix;
use super::{
    By, Call, CallError, Code, Encoding, Endpoint, RpcClient, ServiceEncoding, connect, failed, grpc,
};

#[derive(Debug, Clone)]
pub struct Client {
    targets: Arc<HashMap<Rpc, Target>>,
}

#[derive(Debug, Clone, Copy)]
pub struct Services<'a> {
    pub endpoints: &'a [Endpoint],
    /// The default is JSON.
    pub encodings: &'a [ServiceEncoding],
    /// Without it RPCs are called by their name in event_router.yaml.
    pub contract: Option<&'a Contract>,
    /// Which headers of an event travel, besides those of traces.
    pub header_prefixes: &'a [HeaderPrefix],
}

#[derive(Debug)]
struct Target {
    line: Line,
    uri: Uri,
    encoding: Encoding,
    body: Body,
    headers: Headers,
}

impl Client {
    /// Fails if no call could work: a service without an endpoint, or an RPC that proto does not have. Likewise a request that
    /// can't carry its event, or an encoding without the descriptors that it needs.
    pub fn new(router: &Router, services: &Services<'_>) -> Result<Self, ClientError> {
        let mut tls = None;
        let (mut targets, mut missing) = (HashMap::new(), BTreeSet::new());
        let mut named = BTreeSet::new();
        let prefixes = services.header_prefixes.into();
        for (rpc, _) in router.rpcs() {
            let called = router.called(rpc);
            let method = services.method(rpc, called)?;
            let full = method.as_ref().map(|method| method.parent_service().full_name().to_owned());
            let names = Names { written: called.service(), full };
            let encoding = names.find(services.encodings, |it| &it.service)?;
            named.extend(encoding.map(|it| it.service.as_str()));
            let encoding = encoding.map_or(Encoding::default(), |it| it.encoding);
            let Some(endpoint) = names.find(services.endpoints, |it| &it.service)? else {
                missing.insert(called.service().to_owned());
                continue;
            };
            let (line, base) = Line::to(&endpoint.url, encoding, &mut tls)?;
            let path = method.as_ref().map_or_else(|| called.to_string(), path);
            let uri = Uri::from_str(&format!("{base}/{path}"))
                .map_err(|_| ClientError::Uri { service: called.service().to_owned() })?;
            let body = body(router, rpc, encoding, services.contract.zip(method.as_ref()))?;
            let headers = Headers::new(rpc.as_str(), &prefixes);
            targets.insert(rpc.clone(), Target { line, uri, encoding, body, headers });
        }
        if !missing.is_empty() {
            return Err(ClientError::NoEndpoint { services: missing.into_iter().collect() });
        }
        if let Some(stray) = services.encodings.iter().find(|it| !named.contains(it.service.as_str())) {
            return Err(ClientError::StrayEncoding { service: stray.service.clone() });
        }
        Ok(Self { targets: Arc::new(targets) })
    }
}

impl Services<'_> {
    fn method(&self, rpc: &Rpc, called: &Rpc) -> Result<Option<MethodDescriptor>, ClientError> {
        let Some(contract) = self.contract else { return Ok(None) };
        let unknown = |source| ClientError::Rpc { rpc: called.clone(), queue: rpc.clone(), source };
        contract.rpc(called.as_str()).map(Some).map_err(unknown)
    }
}

/// A service's name in event_router.yaml, and in full if proto has it. The environment may leave out packages, too.
struct Names<'a> {
    written: &'a str,
    full: Option<String>,
}

impl Names<'_> {
    /// The last option for exactly this service. Otherwise the one for a name that differs only in its package, if that is not
    /// ambiguous.
    fn find<'t, T>(&self, said: &'t [T], of: impl Fn(&T) -> &String) -> Result<Option<&'t T>, ClientError> {
        let full = self.full.as_deref().unwrap_or(self.written);
        for name in [full, self.written] {
            if let Some(found) = said.iter().rev().find(|one| of(one) == name) {
                return Ok(Some(found));
            }
        }
        let ends =
            |long: &str, short: &str| long.strip_suffix(short).is_some_and(|package| package.ends_with('.'));
        // If the full name is unknown here, the environment may have it.
        let same = |name: &str| ends(full, name) || (self.full.is_none() && ends(name, full));
        let mut found = said.iter().rev().filter(|one| same(of(one)));
        let Some(last) = found.next() else { return Ok(None) };
        match found.find(|one| of(one) != of(last)) {
            None => Ok(Some(last)),
            Some(other) => Err(ClientError::Ambiguous {
                service: self.written.to_owned(),
                one: of(last).clone(),
                other: of(other).clone(),
            }),
        }
    }
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
    let Some((contract, method)) = described else {
        return match encoding {
            Encoding::Json => Ok(Body::json()),
            Encoding::Proto | Encoding::Grpc => Err(ClientError::NeedsProto {
                service: router.called(rpc).service().to_owned(),
                encoding: encoding.as_str(),
            }),
        };
    };
    let body = match encoding {
        Encoding::Json => Body::json_of(contract, method),
        Encoding::Proto | Encoding::Grpc => Body::binary_of(contract, method),
    };
    let uncarried = router.routes().find(|route| route.rpc == rpc && !body.carries(route.event));
    let Some(route) = uncarried else { return Ok(body) };
    let event = contract.event(route.event);
    Err(match event.and_then(|event| carrier(&method.input(), &event.message).err()) {
        Some(source) => ClientError::Carrier { rpc: rpc.clone(), source },
        None => ClientError::UnknownEvent { rpc: rpc.clone(), event: route.event.to_owned() },
    })
}

impl RpcClient for Client {
    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        let Some(Target { line, uri, encoding, body, headers }) = self.targets.get(call.rpc) else {
            let error = failed(Code::Unavailable, &format!("no endpoint for {}", call.rpc.service()));
            return Err(CallError { by: By::Nobody, ..error });
        };
        let body = body.encode(call.event)?;
        let headers = with_ours(headers.of(&call.event.headers), call);
        let (http, timeout) = (line.http(), call.timeout);
        let answer = async {
            match encoding {
                Encoding::Json => connect::call(&http, uri, headers, timeout, "application/json", body).await,
                Encoding::Proto => {
                    connect::call(&http, uri, headers, timeout, "application/proto", body).await
                }
                Encoding::Grpc => grpc::call(&http, uri, headers, timeout, &body).await,
            }
        };
        let answer = tokio::time::timeout(timeout, answer).await;
        line.heard(answer.is_ok());
        answer.unwrap_or_else(|_| {
            Err(failed(
                Code::DeadlineExceeded,
                &format!("no answer within {}", humantime::format_duration(timeout)),
            ))
        })
    }
}

/// Adds the headers of every encoding: the worker's name, and the event's id, name and attempt.
fn with_ours(mut headers: HeaderMap, call: &Call<'_>) -> HeaderMap {
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

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("event_router.yaml names services without an endpoint: {}", .services.join(", "))]
    NoEndpoint { services: Vec<String> },
    #[error("'{service}' may be {one} or {other}")]
    Ambiguous { service: String, one: String, other: String },
    #[error("the endpoint of {service} is not a valid address")]
    Uri { service: String },
    #[error("--encoding names {service}, and event_router.yaml has no RPC of it")]
    StrayEncoding { service: String },
    #[error("--encoding {service}={encoding} needs to know the service's proto")]
    NeedsProto { service: String, encoding: &'static str },
    #[error("event_router.yaml names '{rpc}', but {source}")]
    Rpc { rpc: Rpc, queue: Rpc, source: RpcError },
    #[error("'{rpc}' can't be sent its event: {source}")]
    Carrier { rpc: Rpc, source: CarrierError },
    #[error("'{rpc}' subscribes to '{event}', which proto does not have")]
    UnknownEvent { rpc: Rpc, event: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ClientError {
    pub fn remedy(&self) -> String {
        match self {
            Self::NoEndpoint { services } => {
                let flags = services.iter().map(|service| format!("--endpoint {service}=http://HOST:PORT"));
                format!("pass {}", flags.collect::<Vec<_>>().join(" "))
            }
            Self::Ambiguous { .. } => {
                "name its package in --endpoint and --encoding, and in event_router.yaml or by --proto".to_owned()
            }
            Self::Uri { .. } => "see --endpoint in worker --help".to_owned(),
            Self::StrayEncoding { .. } => "correct the service's name, or remove the flag".to_owned(),
            Self::NeedsProto { .. } => "pass --proto DIR with its .proto files, or a descriptor set".to_owned(),
            Self::Rpc { source, queue, .. } => source.hint(queue.as_str()),
            Self::Carrier { source, .. } => source.hint(),
            Self::UnknownEvent { .. } => {
                "define it in proto, or give the worker the newer proto; `outbox check` finds every such mistake".to_owned()
            }
            Self::Tls(TlsError::NoRoots) => "install ca-certificates, or set SSL_CERT_FILE".to_owned(),
            Self::Tls(TlsError::Setup(_)) => "see --endpoint in worker --help".to_owned(),
        }
    }
}
