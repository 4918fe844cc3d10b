//! gRPC unary over HTTP/2. Of the answer only its status matters: what a success says is not read, however large.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use connectrpc::client::{ClientTransport, HttpClient, full_body};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;

use super::{CallError, Code, RETRY_AFTER_MAX, failed};

const CONTENT_TYPE: &str = "application/grpc";

pub(super) async fn call(
    http: &HttpClient,
    uri: &Uri,
    headers: HeaderMap,
    timeout: Duration,
    body: &[u8],
) -> Result<(), CallError> {
    let mut request =
        Request::post(uri.clone()).body(full_body(framed(body))).expect("a valid uri makes a valid request");
    *request.headers_mut() = headers;
    let insert = |request: &mut Request<_>, name, value| request.headers_mut().insert(name, value);
    insert(&mut request, header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    insert(&mut request, header::TE, HeaderValue::from_static("trailers"));
    // At most 8 digits; no timeout of ours has more.
    let timeout = format!("{}m", timeout.as_millis().min(99_999_999));
    let timeout = HeaderValue::from_str(&timeout).expect("digits are a valid header");
    insert(&mut request, header::HeaderName::from_static("grpc-timeout"), timeout);
    let response = http.send(request).await.map_err(|error| {
        // A connection refused, reset or not made in time.
        failed(Code::Unavailable, &runtime::Chain(&error).to_string())
    })?;
    read(response).await
}

/// A message is preceded by a flag, not compressed, and its length.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a payload is bounded, and so is its request"));
    frame.put_slice(message);
    frame.freeze()
}

/// The status stands in the trailers; in the headers if there is nothing else.
async fn read<B>(response: Response<B>) -> Result<(), CallError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (parts, body) = response.into_parts();
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    if parts.status != StatusCode::OK {
        let status = parts.status.as_u16();
        return Err(failed(Code::of_http_status(status), &format!("HTTP {status} without a gRPC status")));
    }
    if !kind.starts_with(CONTENT_TYPE) {
        let message = format!("HTTP 200 with {kind} instead of {CONTENT_TYPE}: is this a gRPC server?");
        return Err(failed(Code::Unknown, &message));
    }
    let trailers = match parts.headers.contains_key("grpc-status") {
        true => parts.headers,
        false => trailers(body).await?,
    };
    status(&trailers)
}

async fn trailers<B>(body: B) -> Result<HeaderMap, CallError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            failed(Code::Unavailable, &format!("the answer broke off: {}", runtime::Chain(&error)))
        })?;
        if let Ok(trailers) = frame.into_trailers() {
            return Ok(trailers);
        }
    }
    Err(failed(
        Code::Unknown,
        "the answer ended without a gRPC status: is there a proxy that cuts off trailers?",
    ))
}

fn status(trailers: &HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let number = text("grpc-status").and_then(|status| status.parse::<usize>().ok());
    let code = match number {
        Some(0) => return Ok(()),
        // gRPC counts them from 1, in this order.
        Some(number) => Code::ALL.get(number - 1).copied().unwrap_or(Code::Unknown),
        None => Code::Unknown,
    };
    let message = percent_decode_str(text("grpc-message").unwrap_or_default()).decode_utf8_lossy();
    let pushback = text("grpc-retry-pushback-ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let retry_after = pushback.map(|wait| wait.min(RETRY_AFTER_MAX));
    Err(CallError { retry_after, ..failed(code, &message) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;

    type Frames = Vec<Result<Frame<Bytes>, Infallible>>;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    async fn answer(
        status: u16,
        headers: &[(&'static str, &'static str)],
        frames: Frames,
    ) -> Result<(), CallError> {
        let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = map(headers);
        read(response).await
    }

    /// Guards: a success is what the server calls one, whatever it says besides; nothing a server sends is a panic.
    #[tokio::test]
    async fn only_the_status_decides() {
        let grpc = ("content-type", "application/grpc+proto");
        let data = || Ok(Frame::data(Bytes::from(vec![0_u8; 6 << 20])));
        let trailers = |pairs: &[(&'static str, &'static str)]| Ok(Frame::trailers(map(pairs)));
        let compressed = ("grpc-encoding", "gzip");
        let garbage = ("grpc-status-details-bin", "-_ not base64 \\");
        let large = vec![data(), trailers(&[("grpc-status", "0")])];
        assert_eq!(answer(200, &[grpc, compressed], large).await, Ok(()));
        let nothing = vec![trailers(&[("grpc-status", "0"), garbage])];
        assert_eq!(answer(200, &[grpc], nothing).await, Ok(()));
        assert_eq!(answer(200, &[grpc, ("grpc-status", "0"), garbage], vec![]).await, Ok(()));

        let failures: [(u16, &[(&'static str, &'static str)], Frames, Code, &str); 7] = [
            (
                200,
                &[grpc, ("grpc-status", "3"), ("grpc-message", "no%20card%0a7")],
                vec![],
                Code::InvalidArgument,
                "no card 7",
            ),
            (
                200,
                &[grpc],
                vec![data(), trailers(&[("grpc-status", "16"), garbage])],
                Code::Unauthenticated,
                "",
            ),
            (200, &[grpc], vec![trailers(&[("grpc-status", "99")])], Code::Unknown, ""),
            (200, &[grpc], vec![trailers(&[("grpc-status", "x")])], Code::Unknown, ""),
            (200, &[grpc], vec![data()], Code::Unknown, "the answer ended without a gRPC status"),
            (
                200,
                &[("content-type", "text/html")],
                vec![],
                Code::Unknown,
                "HTTP 200 with text/html instead of",
            ),
            (503, &[grpc], vec![], Code::Unavailable, "HTTP 503 without a gRPC status"),
        ];
        for (status, headers, frames, code, message) in failures {
            let error = answer(status, headers, frames).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.starts_with(message), "{error}");
        }
    }
}
