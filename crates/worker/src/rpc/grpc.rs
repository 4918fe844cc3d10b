//! gRPC over HTTP/2: tonic's framing and statuses, over the transport that the other encodings use.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut};
use connectrpc::client::{ClientTransport, HttpClient, full_body};
use futures_util::future::BoxFuture;
use http::{Extensions, HeaderMap, Request, Response, Uri};
use http_body_util::BodyExt;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;

use super::{CallError, Code, RETRY_AFTER_MAX, failed};

pub(super) async fn call(
    http: &HttpClient,
    uri: &Uri,
    headers: HeaderMap,
    timeout: Duration,
    body: Vec<u8>,
) -> Result<(), CallError> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    let mut request = tonic::Request::from_parts(MetadataMap::from_headers(headers), Extensions::new(), body);
    request.set_timeout(timeout);
    // The path of the call, with whatever stands before it in the endpoint's own.
    let mut client = Grpc::with_origin(Transport(http.clone()), origin(uri));
    client.unary(request, path, Bytes).await.map(|_| ()).map_err(|status| refused(&status))
}

fn origin(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).expect("an absolute uri without its path is one")
}

fn refused(status: &Status) -> CallError {
    // Of the sixteen, only `Ok` is no error, and that is none here.
    let code = Code::ALL.into_iter().find(|code| tonic_code(*code) == status.code()).unwrap_or(Code::Unknown);
    let pushback =
        status.metadata().get("grpc-retry-pushback-ms").and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = pushback.map(|ms| Duration::from_millis(ms).min(RETRY_AFTER_MAX));
    CallError { retry_after, ..failed(code, status.message()) }
}

fn tonic_code(code: Code) -> tonic::Code {
    match code {
        Code::Canceled => tonic::Code::Cancelled,
        Code::Unknown => tonic::Code::Unknown,
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Internal => tonic::Code::Internal,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
    }
}

/// The pooled client as tonic wants it.
#[derive(Clone)]
struct Transport(HttpClient);

impl tower_service::Service<Request<tonic::body::Body>> for Transport {
    type Response = Response<hyper::body::Incoming>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let http = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            http.send(Request::from_parts(parts, full_body(body))).await.map_err(|error| {
                // A connection refused, reset or not made in time.
                Status::unavailable(runtime::Chain(&error).to_string())
            })
        })
    }
}

/// Messages are encoded before they come here, and nobody reads what a success says.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        message.advance(message.remaining());
        Ok(Some(()))
    }
}
