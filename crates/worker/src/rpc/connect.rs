//! Connect unary: JSON as it was published, or protobuf's binary.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;

use super::answer::{self, End};
use super::failure::Cause;
use super::hint::{self, Called};
use super::line::Http;
use super::wire_error::WireError;
use super::{By, CallError, Code, failed};

/// Errors are read up to this size; the body of a success is not kept at all.
const ERROR_BYTES_MAX: usize = 1 << 20;
const JSON: &str = "application/json";

/// `content_type` is that of the request's body, and of the answer.
pub(super) async fn call(
    http: &Http<'_>,
    uri: &Uri,
    headers: HeaderMap,
    timeout: Duration,
    content_type: &'static str,
    body: Bytes,
) -> Result<(), CallError> {
    let body = Full::new(body);
    let mut request = Request::post(uri.clone()).body(body).expect("a valid uri makes a valid request");
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    request.headers_mut().insert("connect-protocol-version", HeaderValue::from_static("1"));
    request.headers_mut().insert("connect-timeout-ms", HeaderValue::from(timeout_ms));
    let response = http.send(request).await.map_err(|failure| hint::told(&failure, Called::Connect, uri))?;
    read(response, content_type, uri).await
}

async fn read(response: Response<Incoming>, content_type: &str, uri: &Uri) -> Result<(), CallError> {
    let (status, kind) = (response.status(), answer::kind(response.headers()));
    if status == StatusCode::OK {
        if kind != content_type {
            return Err(unexpected(&kind, content_type, uri));
        }
        return succeeded(answer::pass(response).await);
    }
    let retry_after = answer::retry_after(response.headers());
    let headers = response.headers().clone();
    // Only a body that can contain a code, or the mistake in a call, is read.
    let is_read = is_error(&headers, &kind) || status == StatusCode::BAD_REQUEST;
    let body = if is_read { answer::read(response, ERROR_BYTES_MAX).await.0 } else { Vec::new() };
    Err(CallError { retry_after, ..refused(status, &headers, &body, uri) })
}

/// A proxy's page with status 200 is not an answer of the RPC.
fn unexpected(kind: &str, content_type: &str, uri: &Uri) -> CallError {
    let code = if kind.starts_with("application/") { Code::Internal } else { Code::Unknown };
    let hint = match kind.starts_with("application/grpc") {
        true => format!("it is a gRPC server: {}", hint::write_grpc(uri)),
        false => "is this a Connect server?".to_owned(),
    };
    failed(code, &format!("HTTP 200 with {kind} instead of {content_type}: {hint}"))
}

/// The content of a success is not read, but all of it must arrive.
fn succeeded(end: End) -> Result<(), CallError> {
    let End::BrokeOff(failure) = end else { return Ok(()) };
    let code = match failure.cause {
        // The server had begun to answer.
        Cause::Lost | Cause::NoConnection => Code::Unknown,
        Cause::GoneAway | Cause::Reset(_) | Cause::Unreadable => failure.code(),
    };
    Err(failed(code, &format!("the answer broke off: {}", failure.message)))
}

/// Whether a body is a Connect error: JSON without a content encoding.
fn is_error(headers: &HeaderMap, kind: &str) -> bool {
    let encoding = answer::text(headers, &header::CONTENT_ENCODING).unwrap_or_default().trim();
    kind == JSON && (encoding.is_empty() || encoding.eq_ignore_ascii_case("identity"))
}

/// The code of an incomplete error counts. Without a code, the status counts.
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], uri: &Uri) -> CallError {
    let kind = answer::kind(headers);
    let error = if is_error(headers, &kind) { WireError::read(body) } else { WireError::default() };
    if let Some(code) = error.code {
        return failed(code, &error.message);
    }
    let number = status.as_u16();
    let says = if error.message.is_empty() { String::new() } else { format!(": {}", error.message) };
    let is_grpc = kind.starts_with("application/grpc") || headers.contains_key("grpc-status");
    let message = match number {
        301..=303 | 307 | 308 => {
            format!("HTTP {number} to {}: write that address in --endpoint", location(headers))
        }
        401 | 403 => format!("HTTP {number} without a Connect error: {}{says}", hint::WANTS_TOKEN),
        400 if wants_tls(body) => format!("HTTP 400: {}", hint::speaks_tls(uri)),
        404 => format!("HTTP 404 without a Connect error: it does not know {}{says}", uri.path()),
        415 if is_grpc => format!("HTTP 415: it is a gRPC server: {}", hint::write_grpc(uri)),
        // grpc-js gives no more details.
        415 => format!(
            "HTTP 415 without a Connect error: if it is a gRPC server, {}{says}",
            hint::write_grpc(uri)
        ),
        _ => format!("HTTP {number} without a Connect error{says}"),
    };
    CallError { by: by(status), ..failed(Code::of_http_status(number), &message) }
}

/// Whether an answer without a code is from a proxy that found no server.
pub(super) fn by(status: StatusCode) -> By {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => By::Nobody,
        _ => By::Server,
    }
}

/// The target of a redirect, without parts that may be secret.
pub(super) fn location(headers: &HeaderMap) -> String {
    let Some(Ok(location)) = answer::text(headers, &header::LOCATION).map(str::parse::<Uri>) else {
        return "somewhere else".to_owned();
    };
    let host = location.authority().map_or("", |authority| authority.host());
    let port = location.port().map_or(String::new(), |port| format!(":{port}"));
    match location.scheme_str() {
        Some(scheme) => format!("{scheme}://{host}{port}{}", location.path()),
        None => location.path().to_owned(),
    }
}

/// The texts of nginx and Go's net/http.
fn wants_tls(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    ["sent to HTTPS port", "HTTP request to an HTTPS server"].iter().any(|words| body.contains(words))
}

#[cfg(test)]
mod tests {
    use super::super::MESSAGE_CHARS_MAX;
    use super::*;

    fn refusal(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> CallError {
        let pair = |&(name, value): &(&'static str, &str)| {
            (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let uri = Uri::from_static("http://n:8080/a.v1.NService/Notify");
        refused(StatusCode::from_u16(status).unwrap(), &headers.iter().map(pair).collect(), body, &uri)
    }

    /// Guards: an RPC's own error is understood, and so is the answer of a proxy in between.
    #[test]
    fn errors_decode_with_and_without_a_connect_body() {
        let (json, html) =
            (("content-type", "application/json; charset=utf-8"), ("content-type", "text/html"));
        let moved = ("location", "https://me:secret@other:8443/x?token=secret");
        let cases: [(u16, &[(&'static str, &str)], &[u8], Code, &str); 9] = [
            (
                400,
                &[json],
                br#"{"code":"invalid_argument","message":"no card"}"#,
                Code::InvalidArgument,
                "no card",
            ),
            (503, &[json], br#"{"code":"unavailable"}"#, Code::Unavailable, ""),
            (
                500,
                &[json],
                br#"{"code":"brand_new","message":"x"}"#,
                Code::Unknown,
                "HTTP 500 without a Connect error: x",
            ),
            (
                503,
                &[html],
                b"<html>upstream down</html>",
                Code::Unavailable,
                "HTTP 503 without a Connect error",
            ),
            (500, &[json], b"\xff\xfe", Code::Unknown, "HTTP 500 without a Connect error"),
            (
                302,
                &[moved],
                b"",
                Code::Unknown,
                "HTTP 302 to https://other:8443/x: write that address in --endpoint",
            ),
            (302, &[], b"", Code::Unknown, "HTTP 302 to somewhere else: write that address in --endpoint"),
            (
                404,
                &[],
                b"",
                Code::Unimplemented,
                "HTTP 404 without a Connect error: it does not know /a.v1.NService/Notify",
            ),
            (
                415,
                &[("grpc-status", "13")],
                b"",
                Code::Unknown,
                "HTTP 415: it is a gRPC server: write --encoding a.v1.NService=grpc",
            ),
        ];
        for (status, headers, body, code, message) in cases {
            let error = refusal(status, headers, body);
            assert_eq!((error.code, error.message.as_str()), (code, message), "{status}");
        }
        let long = format!(r#"{{"code":"internal","message":"{}"}}"#, "é".repeat(5000));
        assert_eq!(refusal(500, &[json], long.as_bytes()).message.chars().count(), MESSAGE_CHARS_MAX);
        let nasty = br#"{"code":"internal","message":"a\u0000b\u001b[31mc\nd"}"#;
        assert_eq!(refusal(500, &[json], nasty).message, "a b [31mc d");
    }
}
