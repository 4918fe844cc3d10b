//! Where each RPC is, and how it is called. Every mistake that can be found at start is found there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use outbox_contract::{Contract, carrier};
use outbox_event_router::services::{self, Called, Name, Said};
use outbox_event_router::{Router, Rpc};
use prost_reflect::MethodDescriptor;

use super::body::Body;
use super::client_error::ClientError;
use super::credentials::Credentials;
use super::headers::Headers;
use super::line::Line;
use super::prefix::HeaderPrefix;
use super::tls::System;
use super::{
    By, Call, CallError, Code, Encoding, Endpoint, RpcClient, Serves, ServiceEncoding, connect, failed, grpc,
};

#[derive(Debug, Clone)]
pub struct Client {
    targets: Arc<HashMap<Rpc, Target>>,
    /// RPCs whose service has no address, and the service.
    unaddressed: Arc<BTreeMap<Rpc, String>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Services<'a> {
    pub endpoints: &'a [Endpoint],
    /// The default is JSON.
    pub encodings: &'a [ServiceEncoding],
    /// The entries of services.yaml.
    pub file: Option<&'a services::Services>,
    /// If there are any, this worker serves only these.
    pub only: &'a [String],
    /// Without it RPCs are called by their name in event_router.yaml.
    pub contract: Option<&'a Contract>,
    /// Which headers of an event travel, besides those of traces.
    pub header_prefixes: &'a [HeaderPrefix],
}

#[derive(Debug)]
pub(super) struct Target {
    line: Line,
    pub(super) uri: Uri,
    pub(super) encoding: Encoding,
    body: Body,
    headers: Headers,
    credentials: Arc<Credentials>,
}

impl Client {
    /// Fails if no call could work: no service has an address, or proto does not have an RPC. Likewise a request that can't
    /// carry its event, or an encoding without the descriptors that it needs.
    pub fn new(router: &Router, services: &Services<'_>) -> Result<Self, ClientError> {
        let names = services.names(router);
        services.check(&names)?;
        let (mut targets, mut unaddressed) = (HashMap::new(), BTreeMap::new());
        let (mut system, mut credentials) = (System::default(), BTreeMap::new());
        let prefixes = services.header_prefixes.into();
        for (rpc, _) in router.rpcs() {
            let target = router.called(rpc);
            let name = &names[target.service()];
            if !services.is_served(name) {
                continue;
            }
            let method = services.method(rpc, target)?;
            let called = services.called(name)?;
            let Some(address) = &called.address else {
                unaddressed.insert(rpc.clone(), target.service().to_owned());
                continue;
            };
            let service = || target.service().to_owned();
            let tls = called.entry.and_then(|entry| Some((entry.tls.as_ref()?, &entry.place)));
            let encoding = called.encoding;
            let (line, base) = Line::to(address, encoding, tls, &mut system)
                .map_err(|source| ClientError::Tls { service: service(), source })?;
            let path = method.as_ref().map_or_else(|| target.to_string(), path);
            let uri = Uri::from_str(&format!("{base}/{path}"))
                .map_err(|_| ClientError::Uri { service: service() })?;
            let body = body(router, rpc, encoding, services.contract.zip(method.as_ref()))?;
            let headers = Headers::new(rpc.as_str(), &prefixes);
            let credentials = shared(&mut credentials, target.service(), &called)?;
            targets.insert(rpc.clone(), Target { line, uri, encoding, body, headers, credentials });
        }
        if targets.is_empty() && !unaddressed.is_empty() {
            let services: BTreeSet<String> = unaddressed.into_values().collect();
            return Err(ClientError::NoEndpoint { services: services.into_iter().collect() });
        }
        Ok(Self { targets: Arc::new(targets), unaddressed: Arc::new(unaddressed) })
    }

    /// The services that this worker has no address for.
    pub fn unaddressed(&self) -> BTreeSet<&str> {
        self.unaddressed.values().map(String::as_str).collect()
    }

    pub(super) fn target(&self, rpc: &Rpc) -> Option<&Target> {
        self.targets.get(rpc)
    }
}

/// The RPCs of a service share its credentials, so that a file is read once.
fn shared(
    known: &mut BTreeMap<String, Arc<Credentials>>,
    service: &str,
    called: &Called<'_>,
) -> Result<Arc<Credentials>, ClientError> {
    let Some(entry) = called.entry else { return Ok(Arc::default()) };
    if let Some(credentials) = known.get(&entry.name) {
        return Ok(Arc::clone(credentials));
    }
    let credentials = Credentials::of(entry)
        .map_err(|source| ClientError::Credentials { service: service.to_owned(), source })?;
    Ok(Arc::clone(known.entry(entry.name.clone()).or_insert(Arc::new(credentials))))
}

impl Services<'_> {
    fn said(&self) -> Said<'_> {
        Said { endpoints: self.endpoints, encodings: self.encodings, file: self.file }
    }

    fn method(&self, rpc: &Rpc, called: &Rpc) -> Result<Option<MethodDescriptor>, ClientError> {
        let Some(contract) = self.contract else { return Ok(None) };
        let unknown =
            |source| ClientError::Rpc { rpc: called.clone(), queue: rpc.clone(), source: Box::new(source) };
        contract.rpc(called.as_str()).map(Some).map_err(unknown)
    }

    /// Each service by its name in event_router.yaml. A worker for some services need not have the proto of the others.
    pub fn names<'r>(&self, router: &'r Router) -> BTreeMap<&'r str, Name> {
        let name = |(rpc, _): (&'r Rpc, _)| {
            let called = router.called(rpc);
            let method = self.method(rpc, called).ok().flatten();
            let full = method.map(|method| method.parent_service().full_name().to_owned());
            (called.service(), Name::new(called.service(), full))
        };
        router.rpcs().map(name).collect()
    }

    fn called(&self, name: &Name) -> Result<Called<'_>, ClientError> {
        self.said().of(name).map_err(|services::Ambiguous { one, other }| ClientError::Ambiguous {
            service: name.written.clone(),
            one,
            other,
        })
    }

    fn is_served(&self, name: &Name) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.is(only))
    }

    /// A flag for a service that is called no more is only logged, so that a retired service stops no worker.
    fn check(&self, names: &BTreeMap<&str, Name>) -> Result<(), ClientError> {
        let names: Vec<Name> = names.values().cloned().collect();
        let unknown = self.only.iter().find(|only| !names.iter().any(|name| name.is(only)));
        if let Some(only) = unknown {
            let meant = services::similar(only, &names);
            return Err(ClientError::Stray { flag: "--only", service: only.clone(), meant });
        }
        for services::Stray { flag, service, meant } in self.said().strays(&names) {
            if meant.is_some() || flag == "--encoding" {
                return Err(ClientError::Stray { flag, service, meant });
            }
            tracing::warn!(service, "{flag} names a service of which event_router.yaml has no RPC");
        }
        Ok(())
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
    fn serves(&self, rpc: &Rpc) -> Serves {
        match (self.targets.contains_key(rpc), self.unaddressed.contains_key(rpc)) {
            (true, _) => Serves::Yes,
            (false, true) => Serves::Unaddressed,
            (false, false) => Serves::NotHere,
        }
    }

    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        let Some(target) = self.target(call.rpc) else {
            let error = failed(Code::Unavailable, &format!("no address for {}", call.rpc));
            return Err(CallError { by: By::Nobody, ..error });
        };
        let body = target.body.encode(call.event)?;
        let headers = with_ours(target.headers.of(&call.event.headers), call);
        target.send(&target.uri, headers, &call.event.id.to_string(), body, call.timeout).await
    }
}

impl Target {
    /// Sends a body in the service's encoding, with its credentials.
    pub(super) async fn send(
        &self,
        uri: &Uri,
        mut headers: HeaderMap,
        id: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let http = self.line.http();
        let body = match self.encoding {
            Encoding::Json | Encoding::Proto => Bytes::from(body),
            Encoding::Grpc => grpc::framed(&body),
        };
        self.credentials.sign(&mut headers, id, &body);
        let answer = async {
            match self.encoding {
                Encoding::Json => connect::call(&http, uri, headers, timeout, "application/json", body).await,
                Encoding::Proto => {
                    connect::call(&http, uri, headers, timeout, "application/proto", body).await
                }
                Encoding::Grpc => grpc::call(&http, uri, headers, timeout, body).await,
            }
        };
        let answer = tokio::time::timeout(timeout, answer).await;
        self.line.heard(answer.is_ok());
        answer.unwrap_or_else(|_| {
            Err(failed(
                Code::DeadlineExceeded,
                &format!("no answer within {}", humantime::format_duration(timeout)),
            ))
        })
    }
}

pub(super) const AGENT: &str = concat!("outbox-worker/", env!("CARGO_PKG_VERSION"));

/// Adds the headers of every encoding: the worker's name, and the event's id, name, place and attempt.
fn with_ours(mut headers: HeaderMap, call: &Call<'_>) -> HeaderMap {
    let id = HeaderValue::from_str(&call.event.id.to_string()).expect("a uuid is a valid header");
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert("idempotency-key", id.clone());
    headers.insert("outbox-event-id", id);
    if let Ok(name) = HeaderValue::from_str(&call.event.name) {
        headers.insert("outbox-event-name", name);
    }
    if let Some(source) = call.event.source.as_deref().and_then(|source| HeaderValue::from_str(source).ok()) {
        headers.insert("outbox-source", source);
    }
    if let Some(sequence) = call.event.sequence {
        headers.insert("outbox-sequence", HeaderValue::from(sequence));
    }
    headers.insert("outbox-attempt", HeaderValue::from(call.attempt));
    headers
}
