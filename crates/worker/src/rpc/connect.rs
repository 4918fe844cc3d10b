use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use connectrpc::client::{ClientTransport, HttpClient, full_body};
use event_router::Rpc;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;

use super::{Call, CallError, Code, RpcClient};

/// Errors are read this far and no farther; the body of a success is not needed at all.
const ERROR_BYTES_MAX: usize = 64 * 1024;
const MESSAGE_CHARS_MAX: usize = 1000;
/// Longer than any backoff makes no sense, and an RPC may answer anything.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Connect unary JSON: `http://` over HTTP/1.1, `h2c://` over HTTP/2 in the clear, `https://` over either, as the
/// server likes it, with its certificate checked against the system's roots.
#[derive(Debug, Clone)]
pub struct ConnectClient {
    /// By service name.
    targets: Arc<HashMap<String, Target>>,
}

#[derive(Debug)]
struct Target {
    client: HttpClient,
    base: String,
}

/// Where a service is served: `NotificationService=http://notification:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub service: String,
    pub url: String,
}

impl ConnectClient {
    pub fn new(endpoints: &[Endpoint]) -> Result<Self, EndpointError> {
        let plain = HttpClient::plaintext();
        let http2 = HttpClient::plaintext_http2_only();
        let mut tls = None;
        let mut targets = HashMap::new();
        for Endpoint { service, url } in endpoints {
            let url = url.trim_end_matches('/');
            let (client, base) = if let Some(rest) = url.strip_prefix("h2c://") {
                (http2.clone(), format!("http://{rest}"))
            } else if url.starts_with("https://") {
                let tls: &mut HttpClient = match &mut tls {
                    Some(tls) => tls,
                    none => none.insert(tls_client()?),
                };
                (tls.clone(), url.to_owned())
            } else {
                (plain.clone(), url.to_owned())
            };
            targets.insert(service.clone(), Target { client, base });
        }
        Ok(Self { targets: Arc::new(targets) })
    }

    /// The services among these RPCs that have no endpoint.
    pub fn missing<'a>(&self, rpcs: impl Iterator<Item = &'a Rpc>) -> Vec<&'a str> {
        let mut missing: Vec<&str> =
            rpcs.map(Rpc::service).filter(|service| self.target(service).is_none()).collect();
        missing.dedup();
        missing
    }

    /// A service is found with or without its package.
    fn target(&self, service: &str) -> Option<&Target> {
        self.targets.get(service).or_else(|| self.targets.get(service.rsplit('.').next()?))
    }
}

impl RpcClient for ConnectClient {
    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        let Some(target) = self.target(call.rpc.service()) else {
            return Err(failed(Code::Unavailable, &format!("no endpoint for {}", call.rpc.service())));
        };
        let request = request(&target.base, call)?;
        let answer = async {
            let response = target.client.send(request).await.map_err(|error| {
                // A connection refused, reset or not made in time.
                failed(Code::Unavailable, &runtime::Chain(&error).to_string())
            })?;
            read(response).await
        };
        tokio::time::timeout(call.timeout, answer).await.unwrap_or_else(|_| {
            Err(failed(
                Code::DeadlineExceeded,
                &format!("no answer within {}", humantime::format_duration(call.timeout)),
            ))
        })
    }
}

fn request(base: &str, call: &Call<'_>) -> Result<Request<connectrpc::client::ClientBody>, CallError> {
    let uri: Uri = format!("{base}/{}", call.rpc).parse().map_err(|_| {
        failed(Code::Internal, &format!("the endpoint of {} is not a valid address", call.rpc.service()))
    })?;
    // The request's one field carries the event; its JSON name is `event` by convention.
    let body = Bytes::from(format!(r#"{{"event":{}}}"#, call.event.payload.get()));
    let mut request = Request::post(uri).body(full_body(body)).expect("a valid uri makes a valid request");
    *request.headers_mut() = headers(call);
    Ok(request)
}

fn headers(call: &Call<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &call.event.headers {
        // Checked at enqueue; a row written past it must not stop the call.
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    let id = HeaderValue::from_str(&call.event.id.to_string()).expect("a uuid is a valid header");
    let timeout_ms = u64::try_from(call.timeout.as_millis()).unwrap_or(u64::MAX);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("outbox-worker/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert("connect-protocol-version", HeaderValue::from_static("1"));
    headers.insert("connect-timeout-ms", HeaderValue::from(timeout_ms));
    headers.insert("idempotency-key", id.clone());
    headers.insert("outbox-event-id", id);
    if let Ok(name) = HeaderValue::from_str(&call.event.name) {
        headers.insert("outbox-event-name", name);
    }
    headers.insert("outbox-attempt", HeaderValue::from(call.attempt));
    headers
}

async fn read<B>(response: Response<B>) -> Result<(), CallError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (parts, body) = response.into_parts();
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    if parts.status == StatusCode::OK {
        // A proxy's page with status 200 is no answer of the RPC.
        if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Ok(());
        }
        return Err(failed(
            Code::Unknown,
            &format!("HTTP 200 with {kind} instead of application/json: is this a Connect server?"),
        ));
    }
    let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(retry_after);
    // Half an error is as good as none: the status says enough.
    let body =
        Limited::new(body, ERROR_BYTES_MAX).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(decode(parts.status.as_u16(), &body, retry_after))
}

#[derive(Deserialize)]
struct WireError {
    code: String,
    #[serde(default)]
    message: String,
}

fn decode(status: u16, body: &[u8], retry_after: Option<Duration>) -> CallError {
    let (code, message) = match serde_json::from_slice::<WireError>(body) {
        Ok(error) => (error.code.parse().unwrap_or(Code::of_http_status(status)), error.message),
        Err(_) => (Code::of_http_status(status), format!("HTTP {status} without a Connect error")),
    };
    CallError { retry_after, ..failed(code, &message) }
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// A message is shown to people and kept in a table: so it is bounded, and has no control characters, of which
/// Postgres refuses one and terminals obey others.
fn failed(code: Code, message: &str) -> CallError {
    let message =
        message.chars().take(MESSAGE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    CallError { code, message, retry_after: None }
}

fn tls_client() -> Result<HttpClient, EndpointError> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(EndpointError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(EndpointError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpClient::with_tls(Arc::new(config)))
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((service, url)) = text.split_once('=') else { return Err(EndpointError::NoService) };
        let valid = ["http://", "https://", "h2c://"].iter().any(|scheme| {
            url.strip_prefix(scheme).is_some_and(|rest| {
                !rest.is_empty()
                    && Uri::from_str(&format!("http://{rest}")).is_ok_and(|uri| uri.host().is_some())
            })
        });
        if service.is_empty() || service.contains('/') {
            return Err(EndpointError::NoService);
        }
        if !valid {
            return Err(EndpointError::Url { service: service.to_owned() });
        }
        Ok(Self { service: service.to_owned(), url: url.to_owned() })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("write SERVICE=URL, for example NotificationService=http://notification:8080")]
    NoService,
    #[error("the address of {service} is not http://, https:// or h2c:// with a host")]
    Url { service: String },
    #[error(
        "an endpoint is https, and this machine has no root certificates: install ca-certificates, or set SSL_CERT_FILE"
    )]
    NoRoots,
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an RPC's own error is understood, and so is the answer of whatever stands in between.
    #[test]
    fn errors_decode_with_and_without_a_connect_body() {
        let cases: [(u16, &[u8], Code, &str); 7] = [
            (400, br#"{"code":"invalid_argument","message":"no card"}"#, Code::InvalidArgument, "no card"),
            (503, br#"{"code":"unavailable"}"#, Code::Unavailable, ""),
            (500, br#"{"code":"brand_new","message":"x"}"#, Code::Unknown, "x"),
            (503, b"<html>upstream down</html>", Code::Unavailable, "HTTP 503 without a Connect error"),
            (404, b"", Code::Unimplemented, "HTTP 404 without a Connect error"),
            (302, b"", Code::Unknown, "HTTP 302 without a Connect error"),
            (500, b"\xff\xfe", Code::Unknown, "HTTP 500 without a Connect error"),
        ];
        for (status, body, code, message) in cases {
            let error = decode(status, body, None);
            assert_eq!((error.code, error.message.as_str()), (code, message), "{status}");
        }
        let long = format!(r#"{{"code":"internal","message":"{}"}}"#, "é".repeat(5000));
        assert_eq!(decode(500, long.as_bytes(), None).message.chars().count(), MESSAGE_CHARS_MAX);
        let nasty = br#"{"code":"internal","message":"a\u0000b\u001b[31mc\nd"}"#;
        assert_eq!(decode(500, nasty, None).message, "a b [31mc d");
    }

    /// Guards: Retry-After is honoured in both its forms, and never beyond reason.
    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let parse = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap());
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(parse("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(parse(&soon).is_some_and(|wait| (50..=60).contains(&wait.as_secs())));
        assert_eq!(parse("soon"), None);
    }

    /// Guards: a wrong endpoint is refused at start, with what to write.
    #[test]
    fn endpoints_parse() {
        let endpoint: Endpoint = "NotificationService=http://notification:8080".parse().unwrap();
        assert_eq!(
            (endpoint.service.as_str(), endpoint.url.as_str()),
            ("NotificationService", "http://notification:8080")
        );
        for (text, expected) in [
            ("http://notification:8080", "write SERVICE=URL"),
            ("NotificationService", "write SERVICE=URL"),
            ("NotificationService=notification:8080", "is not http://"),
            ("NotificationService=ftp://notification", "is not http://"),
            ("NotificationService=http://", "is not http://"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
