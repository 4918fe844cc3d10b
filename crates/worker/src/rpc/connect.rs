//! Connect unary: JSON as it was published, or protobuf's binary.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use connectrpc::client::{ClientTransport, HttpClient, full_body};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;

use super::{CallError, Code, RETRY_AFTER_MAX, failed};

/// Errors are read this far and no farther; the body of a success is not needed at all.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// `content_type` is that of the body, and of the answer.
pub(super) async fn call(
    http: &HttpClient,
    uri: &Uri,
    headers: HeaderMap,
    timeout: Duration,
    content_type: &'static str,
    body: Vec<u8>,
) -> Result<(), CallError> {
    let body = full_body(Bytes::from(body));
    let mut request = Request::post(uri.clone()).body(body).expect("a valid uri makes a valid request");
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    request.headers_mut().insert("connect-protocol-version", HeaderValue::from_static("1"));
    request.headers_mut().insert("connect-timeout-ms", HeaderValue::from(timeout_ms));
    let response = http.send(request).await.map_err(|error| {
        // A connection refused, reset or not made in time.
        failed(Code::Unavailable, &runtime::Chain(&error).to_string())
    })?;
    read(response, content_type).await
}

async fn read<B>(response: Response<B>, content_type: &str) -> Result<(), CallError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (parts, body) = response.into_parts();
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    if parts.status == StatusCode::OK {
        // A proxy's page with status 200 is no answer of the RPC.
        if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(content_type)) {
            return Ok(());
        }
        return Err(failed(
            Code::Unknown,
            &format!("HTTP 200 with {kind} instead of {content_type}: is this a Connect server?"),
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

#[cfg(test)]
mod tests {
    use super::super::MESSAGE_CHARS_MAX;
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
}
