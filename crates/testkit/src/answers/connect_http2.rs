//! Connect over HTTP/2: the same rules, and other ends.

use super::frames::Frame;
use super::row::{Answer, GRPC, JSON, Sent, Then};

const OK: &str = "connect-go validateResponse";
const RESET: &str = "connect-go error.go: wrapIfRSTError, by gRPC's table of RST_STREAM codes";
const HALF: &str = "here: a stream that does not end is no success (connect-go: wrapIfRSTError)";
const AGAIN: &str = "RFC 9113, section 8.7: what was not processed may be sent again";
const SIZE: &str = "here: a header list of 1 MiB is read (net/http: 10 MiB)";
const BAD: &str = "RFC 9113, section 8.1.1: a malformed response is a stream error";

const ERROR: &str = r#"{"code":"already_exists","message":"m"}"#;

pub(super) fn rows() -> Vec<Answer> {
    [whole(), resets(), broken()].concat()
}

fn begun(status: &str) -> Frame {
    Frame::headers(&[(":status", status), JSON], false)
}

fn whole() -> Vec<Answer> {
    let row = |name, frames, code| Answer::http2(name, frames, code, OK);
    let wide = |status, bytes: usize, end| {
        Frame::headers(&[(":status", status), JSON, ("x-debug", &"v".repeat(bytes))], end)
    };
    let early = Frame::headers(&[(":status", "103"), ("link", "</a>")], false);
    let trailers = Frame::headers(&[("x-checksum", "7")], true);
    vec![
        row("HTTP/2: a success", vec![begun("200"), Frame::data("{}", true)], ""),
        row(
            "HTTP/2: a success in two frames",
            vec![begun("200"), Frame::data("{", false), Frame::data("}", true)],
            "",
        ),
        row("HTTP/2: a success without a body", vec![Frame::headers(&[(":status", "200"), JSON], true)], ""),
        row("HTTP/2: a success with trailers", vec![begun("200"), Frame::data("{}", false), trailers], ""),
        row("HTTP/2: a success after 103", vec![early, begun("200"), Frame::data("{}", true)], ""),
        row("HTTP/2: a success of 1 MiB", vec![begun("200"), Frame::data(vec![b' '; 1 << 20], true)], ""),
        row(
            "HTTP/2: a success, and then a reset",
            vec![begun("200"), Frame::data("{}", true), Frame::Reset(0)],
            "",
        ),
        row("HTTP/2: an error", vec![begun("503"), Frame::data(ERROR, true)], "already_exists").says("m"),
        row(
            "HTTP/2: an error without a body",
            vec![Frame::headers(&[(":status", "503"), JSON], true)],
            "unavailable",
        ),
        row(
            "HTTP/2: a proxy's page",
            vec![
                Frame::headers(&[(":status", "502"), ("content-type", "text/html")], false),
                Frame::data("oops", true),
            ],
            "unavailable",
        ),
        Answer::http2("HTTP/2: a header of 900 KiB", vec![wide("200", 900 << 10, true)], "", SIZE),
        Answer::http2(
            "HTTP/2: an error with a header of 900 KiB",
            vec![wide("503", 900 << 10, false), Frame::data(ERROR, true)],
            "already_exists",
            SIZE,
        ),
        Answer::http2("HTTP/2: a header of 1,100 KiB", vec![wide("200", 1100 << 10, true)], "internal", SIZE),
        row(
            "HTTP/2: gRPC for JSON",
            vec![Frame::headers(&[(":status", "200"), GRPC, ("grpc-status", "0")], true)],
            "internal",
        )
        .says("--encoding every.v1.EveryJsonService=grpc"),
        row(
            "HTTP/2: 415 of a gRPC server",
            vec![Frame::headers(&[(":status", "415"), GRPC], true)],
            "unknown",
        )
        .says("--encoding every.v1.EveryProtoService=grpc")
        .sent(Sent::Proto),
    ]
}

fn resets() -> Vec<Answer> {
    let codes = [
        (0, "internal"),
        (1, "internal"),
        (2, "internal"),
        (3, "internal"),
        (4, "internal"),
        (6, "internal"),
        (8, "canceled"),
        (9, "internal"),
        (10, "internal"),
        (11, "resource_exhausted"),
        (12, "permission_denied"),
    ];
    let row = |(reason, code)| {
        Answer::http2(
            format!("HTTP/2: reset {reason} before an answer"),
            vec![Frame::Reset(reason)],
            code,
            RESET,
        )
    };
    let mut rows: Vec<Answer> = codes.into_iter().map(row).collect();
    rows.push(Answer::http2("HTTP/2: refused twice", vec![Frame::Reset(7)], "unavailable", AGAIN).calls(2));
    let away = vec![Frame::GoAway { begun: false, code: 0 }];
    rows.push(Answer::http2("HTTP/2: going away twice", away, "unavailable", AGAIN).calls(2));
    rows
}

fn broken() -> Vec<Answer> {
    let half = |reason| vec![begun("200"), Frame::data("{", false), Frame::Reset(reason)];
    let row = |name, frames, code| Answer::http2(name, frames, code, HALF);
    let long = Frame::headers(&[(":status", "200"), JSON, ("content-length", "40")], false);
    let bad = |name, frames| Answer::http2(name, frames, "internal", BAD);
    vec![
        row("HTTP/2: a success that is reset with 0", half(0), "internal").says("broke off"),
        row("HTTP/2: a success that is reset with 2", half(2), "internal").says("broke off"),
        row("HTTP/2: a success that is reset with 8", half(8), "canceled").says("broke off"),
        row("HTTP/2: a success that is refused after all", half(7), "unavailable"),
        row(
            "HTTP/2: a success, closed before its end",
            vec![begun("200"), Frame::data("{", false)],
            "unknown",
        )
        .then(Then::Close)
        .says("broke off"),
        row("HTTP/2: a success, closed before its body", vec![begun("200")], "unknown").then(Then::Close),
        row("HTTP/2: no answer", vec![], "unavailable").then(Then::Close),
        row(
            "HTTP/2: going away with it, and closed",
            vec![Frame::GoAway { begun: true, code: 0 }],
            "unavailable",
        )
        .then(Then::Close),
        row(
            "HTTP/2: going away, and a success",
            vec![Frame::GoAway { begun: true, code: 0 }, begun("200"), Frame::data("{}", true)],
            "",
        )
        .then(Then::Close),
        row(
            "HTTP/2: an error that is reset after its code",
            vec![begun("503"), Frame::data(ERROR, false), Frame::Reset(2)],
            "already_exists",
        ),
        row(
            "HTTP/2: an error that is reset before its code",
            vec![begun("503"), Frame::Reset(2)],
            "unavailable",
        ),
        bad("HTTP/2: a success that is shorter than it says", vec![long.clone(), Frame::data("{}", true)]),
        bad("HTTP/2: a success that is longer than it says", vec![long, Frame::data("{}".repeat(40), true)]),
        bad("HTTP/2: an answer without a status", vec![Frame::headers(&[JSON], true)]),
        bad(
            "HTTP/2: a name in capitals",
            vec![Frame::headers(&[(":status", "200"), ("Content-Type", "x")], true)],
        ),
        bad("HTTP/2: data before the headers", vec![Frame::data("{}", true)]),
    ]
}
