//! gRPC unary over HTTP/2. Only the status of an answer counts: the body of a success is not read, however large.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;

use super::CallError;
use super::answer::{self, End};
use super::grpc_status::{is_grpc, not_grpc, outcome};
use super::hint::{self, Called};
use super::line::Http;

pub(super) async fn call(
    http: &Http<'_>,
    uri: &Uri,
    headers: HeaderMap,
    timeout: Duration,
    body: Bytes,
) -> Result<(), CallError> {
    let body = Full::new(body);
    let mut request = Request::post(uri.clone()).body(body).expect("a valid uri makes a valid request");
    *request.headers_mut() = headers;
    let insert = |request: &mut Request<_>, name, value| request.headers_mut().insert(name, value);
    insert(&mut request, header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    insert(&mut request, header::TE, HeaderValue::from_static("trailers"));
    // At most 8 digits, which every timeout of ours fits.
    let timeout = format!("{}m", timeout.as_millis().min(99_999_999));
    let timeout = HeaderValue::from_str(&timeout).expect("digits are a valid header");
    insert(&mut request, HeaderName::from_static("grpc-timeout"), timeout);
    let response = http.send(request).await.map_err(|failure| hint::told(&failure, Called::Grpc, uri))?;
    read(response, uri).await
}

/// A message follows a flag, for no compression, and its length.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a payload is bounded, and so is its request"));
    frame.put_slice(message);
    frame.freeze()
}

async fn read(response: Response<Incoming>, uri: &Uri) -> Result<(), CallError> {
    let (status, headers) = (response.status(), response.headers().clone());
    if !is_grpc(&headers) {
        return Err(not_grpc(status, &headers, uri));
    }
    let end = match response.body().is_end_stream() {
        true => End::Trailers(headers.clone()),
        false => answer::pass(response).await,
    };
    outcome(status, &headers, end, uri)
}
