//! gRPC: the meaning of headers, trailers and the end of a stream together. Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri, header};
use percent_encoding::percent_decode;

use super::answer::{self, End};
use super::connect;
use super::hint;
use super::{CallError, Code, RETRY_AFTER_MAX, failed};

const CONTENT_TYPE: &str = "application/grpc";

/// Whether it is gRPC. If not, only the HTTP status counts.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = answer::kind(headers);
    kind.strip_prefix(CONTENT_TYPE).is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

/// The outcome of an answer. Headers that end the stream are its trailers; any other headers have no status.
pub(super) fn outcome(status: StatusCode, headers: &HeaderMap, end: End, uri: &Uri) -> Result<(), CallError> {
    let trailers = match end {
        End::Trailers(trailers) => trailers,
        End::BrokeOff(failure) => {
            return Err(failed(failure.code(), &format!("the answer broke off: {}", failure.message)));
        }
        End::Whole | End::More if status == StatusCode::OK => return Err(failed(Code::Internal, NO_STATUS)),
        End::Whole | End::More => HeaderMap::new(),
    };
    match Status::of(&trailers) {
        Status::Ok if status == StatusCode::OK => Ok(()),
        Status::Failed(code) => Err(refused(code, &trailers)),
        Status::Malformed => Err(refused(Code::Unknown, &trailers)),
        Status::Ok | Status::Missing => Err(not_grpc(status, headers, uri)),
    }
}

/// An answer that is not from a gRPC server, or has no status where it needs one.
pub(super) fn not_grpc(status: StatusCode, headers: &HeaderMap, uri: &Uri) -> CallError {
    let (number, kind) = (status.as_u16(), answer::kind(headers));
    let message = match number {
        200 if is_grpc(headers) => NO_STATUS.to_owned(),
        200 => format!("HTTP 200 with {kind} instead of {CONTENT_TYPE}: is this a gRPC server?"),
        404 => format!("HTTP 404 without a gRPC status: it does not know {}", uri.path()),
        301..=303 | 307 | 308 => {
            format!("HTTP {number} to {}: write that address in --endpoint", connect::location(headers))
        }
        401 | 403 => format!("HTTP {number} without a gRPC status: {}", hint::WANTS_TOKEN),
        415 => format!("HTTP 415: it is not a gRPC server: {}", hint::write_connect(uri)),
        _ => format!("HTTP {number} without a gRPC status"),
    };
    let retry_after = answer::retry_after(headers);
    CallError { retry_after, by: connect::by(status), ..failed(Code::of_http_status(number), &message) }
}

const NO_STATUS: &str = "the answer ended without a gRPC status: is there a proxy that cuts off trailers?";

enum Status {
    Ok,
    Failed(Code),
    /// No number.
    Malformed,
    Missing,
}

impl Status {
    /// The last one counts; one that isn't a number makes all malformed.
    fn of(trailers: &HeaderMap) -> Self {
        let mut status = Self::Missing;
        for value in trailers.get_all("grpc-status") {
            status = match value.to_str().ok().and_then(answer::digits) {
                None => return Self::Malformed,
                Some(0) => Self::Ok,
                // gRPC counts them from 1, in this order.
                Some(number) => Self::Failed(nth(number).unwrap_or(Code::Unknown)),
            };
        }
        status
    }
}

fn nth(number: u64) -> Option<Code> {
    Code::ALL.get(usize::try_from(number - 1).ok()?).copied()
}

fn refused(code: Code, trailers: &HeaderMap) -> CallError {
    let message = trailers.get_all("grpc-message").iter().next_back();
    let message = message.map(|message| percent_decode(message.as_bytes()).decode_utf8_lossy());
    let name = header::HeaderName::from_static("grpc-retry-pushback-ms");
    let pushback = answer::text(trailers, &name).and_then(answer::digits).map(Duration::from_millis);
    let retry_after = pushback.map(|wait| wait.min(RETRY_AFTER_MAX));
    CallError { retry_after, ..failed(code, &message.unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::super::failure::{Cause, Failure};
    use super::*;

    type Pairs<'p> = &'p [(&'static str, &'static str)];

    fn map(pairs: Pairs<'_>) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    fn of(status: u16, headers: Pairs<'_>, end: End) -> Result<(), CallError> {
        let uri = Uri::from_static("http://n:8080/a.v1.NService/Notify");
        outcome(StatusCode::from_u16(status).unwrap(), &map(headers), end, &uri)
    }

    /// Guards promise 2: only an end with status 0 is a success, whatever else a server sends.
    #[test]
    fn only_the_status_at_the_end_decides() {
        let grpc: Pairs<'_> = &[("content-type", "application/grpc+proto"), ("grpc-status", "13")];
        let zero: Pairs<'_> = &[("content-type", "application/grpc"), ("grpc-status", "0")];
        let ended = |pairs: Pairs<'_>| End::Trailers(map(pairs));
        let garbage = ("grpc-status-details-bin", "-_ not base64 \\");
        assert_eq!(of(200, grpc, ended(&[("grpc-status", "0"), garbage])), Ok(()));
        let broken = End::BrokeOff(Failure { cause: Cause::Lost, message: "gone".into(), mismatch: None });
        let cases: [(u16, Pairs<'_>, End, Code, &str); 9] = [
            (200, zero, ended(&[("grpc-status", "13")]), Code::Internal, ""),
            (200, zero, End::Whole, Code::Internal, "the answer ended without a gRPC status"),
            (200, zero, broken, Code::Unavailable, "the answer broke off: gone"),
            (200, zero, ended(&[garbage]), Code::Unknown, "the answer ended without a gRPC status"),
            (200, grpc, ended(&[("grpc-status", "+0")]), Code::Unknown, ""),
            (200, grpc, ended(&[("grpc-status", "99")]), Code::Unknown, ""),
            (
                200,
                grpc,
                ended(&[("grpc-status", "3"), ("grpc-message", "no%20card%0a7")]),
                Code::InvalidArgument,
                "no card 7",
            ),
            (503, grpc, ended(&[("grpc-status", "0")]), Code::Unavailable, "HTTP 503 without a gRPC status"),
            (503, grpc, End::Whole, Code::Unavailable, "HTTP 503 without a gRPC status"),
        ];
        for (status, headers, end, code, message) in cases {
            let error = of(status, headers, end).unwrap_err();
            assert!(error.code == code && error.message.starts_with(message), "{code}: {error}");
        }
    }

    /// Guards: a content type that only begins alike is another protocol.
    #[test]
    fn grpc_is_told_by_its_content_type() {
        let is = |kind: &'static str| is_grpc(&map(&[("content-type", kind)]));
        for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC; charset=utf-8"] {
            assert!(is(kind), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpcx", "text/html", ""] {
            assert!(!is(kind), "{kind}");
        }
    }
}
