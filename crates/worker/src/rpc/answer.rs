//! What every encoding reads of an answer: its content type, its end, and when to call again.

use std::time::{Duration, SystemTime};

use h2::Reason;
use http::{HeaderMap, HeaderName, Response, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::RETRY_AFTER_MAX;
use super::failure::{Cause, Failure};

#[derive(Debug)]
pub(super) enum End {
    Whole,
    /// With the trailers that HTTP/2 sends after a body.
    Trailers(HeaderMap),
    /// It is longer than wanted.
    More,
    BrokeOff(Failure),
}

/// Reads to the end, but no more than `most` bytes, and keeps those.
pub(super) async fn read(response: Response<Incoming>, most: usize) -> (Vec<u8>, End) {
    let mut kept = Vec::new();
    let end = each(response, |data| {
        let wanted = data.len().min(most - kept.len());
        kept.extend_from_slice(&data[..wanted]);
        wanted == data.len()
    })
    .await;
    (kept, end)
}

/// Reads to the end, and keeps nothing.
pub(super) async fn pass(response: Response<Incoming>) -> End {
    each(response, |_| true).await
}

/// Reads to the end, or until `takes` returns false.
async fn each(response: Response<Incoming>, mut takes: impl FnMut(&[u8]) -> bool) -> End {
    let version = response.version();
    let mut body = response.into_body();
    loop {
        match body.frame().await {
            None => return end(version, body.is_end_stream()),
            Some(Err(error)) => return End::BrokeOff(Failure::of(&error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if takes(&data) => {}
                Ok(_) => return End::More,
                Err(frame) => return frame.into_trailers().map_or(End::Whole, End::Trailers),
            },
        }
    }
}

/// hyper treats a reset with NO_ERROR as the end of a body. It is one only if the stream was ended before.
fn end(version: Version, is_ended: bool) -> End {
    if version != Version::HTTP_2 || is_ended {
        return End::Whole;
    }
    let message = "stream error received: not a result of an error".to_owned();
    End::BrokeOff(Failure { cause: Cause::Reset(Reason::NO_ERROR), message, mismatch: None })
}

/// A header's value, if it is text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The content type without its parameters, in lower case; `nothing` if there is none.
pub(super) fn kind(headers: &HeaderMap) -> String {
    let kind = text(headers, &header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    kind.map(|kind| kind.trim().to_ascii_lowercase())
        .filter(|kind| !kind.is_empty())
        .unwrap_or("nothing".into())
}

/// Reads Retry-After, in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, &header::RETRY_AFTER)?.trim();
    let wait = match digits(text) {
        Some(seconds) => Duration::from_secs(seconds),
        None => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Reads a number without a sign; one that is too large becomes the maximum.
pub(super) fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Guards: both forms of Retry-After are honoured, up to a limit.
    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let parse = |text: &str| {
            let headers = [(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())];
            retry_after(&headers.into_iter().collect())
        };
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(parse(&"9".repeat(40)), Some(RETRY_AFTER_MAX));
        assert_eq!(parse("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(parse(&soon).is_some_and(|wait| (50..=60).contains(&wait.as_secs())));
        for none in ["soon", "+7", "-7", "1.5", ""] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
