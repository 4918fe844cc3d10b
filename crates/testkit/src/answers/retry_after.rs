//! Answers with a wait before the next attempt.

use super::frames::Frame;
use super::row::{Answer, GRPC, JSON, error, response};

const HTTP: &str = "RFC 9110, section 10.2.3: Retry-After in seconds or as a date";
const BOUND: &str = "here: never longer than 7 days";
const PUSHBACK: &str = "gRPC A6-client-retries.md: grpc-retry-pushback-ms";
const DAY: u64 = 24 * 60 * 60 * 1000;

pub(super) fn rows() -> Vec<Answer> {
    [http(), grpc()].concat()
}

fn http() -> Vec<Answer> {
    let after = |value: &str| response(503, &[("retry-after", value), JSON], "");
    let row = |name, value, source| Answer::http1(name, after(value), "unavailable", source);
    let coded = response(429, &[("retry-after", "3"), JSON], r#"{"code":"resource_exhausted"}"#);
    vec![
        row("in 7 seconds", "7", HTTP).waits(7_000),
        row("at once", "0", HTTP).waits(0),
        row("in a day", "86400", HTTP).waits(DAY),
        row("in more seconds than there are", "99999999999999999999999", BOUND).waits(7 * DAY),
        row("at a date that is past", "Fri, 31 Dec 1999 23:59:59 GMT", HTTP).waits(0),
        row("at a date that is far off", "Tue, 31 Dec 2199 23:59:59 GMT", BOUND).waits(7 * DAY),
        row("soon", "soon", HTTP),
        row("in less than nothing", "-7", HTTP),
        row("in plus 7", "+7", HTTP),
        row("in one and a half", "1.5", HTTP),
        row("in nothing", "", HTTP),
        Answer::http1("with a code", coded, "resource_exhausted", HTTP).waits(3_000),
        Answer::http1(
            "twice: the first",
            response(503, &[("retry-after", "3"), ("retry-after", "9"), JSON], ""),
            "unavailable",
            "connect-go header.go: getHeaderCanonical takes the first",
        )
        .waits(3_000),
        Answer::http1(
            "with an event's own fault",
            error(400, r#"{"code":"invalid_argument"}"#),
            "invalid_argument",
            HTTP,
        ),
    ]
}

fn grpc() -> Vec<Answer> {
    let pushed = |value: &str| {
        vec![Frame::headers(
            &[(":status", "200"), GRPC, ("grpc-status", "14"), ("grpc-retry-pushback-ms", value)],
            true,
        )]
    };
    let row = |name, value, source| Answer::grpc(name, pushed(value), "unavailable", source);
    let proxy = vec![Frame::headers(
        &[(":status", "503"), ("content-type", "text/html"), ("retry-after", "7")],
        true,
    )];
    vec![
        row("pushed back", "1500", PUSHBACK).waits(1_500),
        row("pushed back by nothing", "0", PUSHBACK).waits(0),
        row("pushed back by a day", "86400000", PUSHBACK).waits(DAY),
        row("pushed back for ever", "99999999999999999999999", BOUND).waits(7 * DAY),
        row("not to be called again", "-1", "here: the policy decides how often a delivery is retried"),
        row("pushed back by a word", "soon", PUSHBACK),
        row("pushed back by plus 7", "+7", PUSHBACK),
        Answer::grpc("a proxy's Retry-After", proxy, "unavailable", HTTP).waits(7_000),
    ]
}
