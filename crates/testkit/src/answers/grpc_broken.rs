//! gRPC: streams with a wrong end.

use super::frames::Frame;
use super::grpc_status::{MESSAGE_BYTES, begun};
use super::row::{Answer, GRPC, Then};

const RESET: &str = "PROTOCOL-HTTP2.md: RST_STREAM error codes";
const AGAIN: &str = "grpc-go stream.go: shouldRetry, transparently if the stream is unprocessed, once";
const LOST: &str = "grpc-go http2_client.go: reader, `error reading from server` is UNAVAILABLE";
const BAD: &str = "grpc-go http2_client.go: a stream that can't be read is INTERNAL";
const UNREADABLE: &str = "here: an answer came, so the server is not away (grpc-go: UNAVAILABLE)";

/// The meaning of each error code of HTTP/2, by number.
const REASONS: [(u32, &str); 14] = [
    (0, "internal"),
    (1, "internal"),
    (2, "internal"),
    (3, "internal"),
    (4, "internal"),
    (5, "internal"),
    (6, "internal"),
    (8, "canceled"),
    (9, "internal"),
    (10, "internal"),
    (11, "resource_exhausted"),
    (12, "permission_denied"),
    (13, "internal"),
    (99, "unknown"),
];

pub(super) fn rows() -> Vec<Answer> {
    let mut rows = Vec::new();
    for (reason, code) in REASONS {
        let before = vec![Frame::Reset(reason)];
        rows.push(Answer::grpc(format!("gRPC: reset {reason} before headers"), before, code, RESET));
        let after = vec![zero(), Frame::data(MESSAGE_BYTES, false), Frame::Reset(reason)];
        rows.push(Answer::grpc(format!("gRPC: 0 in headers, then reset {reason}"), after, code, RESET));
    }
    rows.extend([refusals(), losses(), malformed()].concat());
    rows
}

/// Headers of a success that do not end the stream.
fn zero() -> Frame {
    Frame::headers(&[(":status", "200"), GRPC, ("grpc-status", "0")], false)
}

fn refusals() -> Vec<Answer> {
    let away = |code| vec![Frame::GoAway { begun: false, code }];
    let twice = |name, frames| Answer::grpc(name, frames, "unavailable", AGAIN).calls(2);
    vec![
        twice("gRPC: refused twice", vec![Frame::Reset(7)]),
        twice("gRPC: going away twice", away(0)),
        twice("gRPC: going away twice, with an error", away(2)),
        twice("gRPC: going away twice, too many pings", away(11)).then(Then::Close),
        Answer::grpc("gRPC: refused after headers", vec![begun(), Frame::Reset(7)], "unavailable", RESET),
    ]
}

fn losses() -> Vec<Answer> {
    let ok = || Frame::headers(&[("grpc-status", "0")], true);
    let lost = |name, frames| Answer::grpc(name, frames, "unavailable", LOST).then(Then::Close);
    let away = || Frame::GoAway { begun: true, code: 0 };
    vec![
        lost("gRPC: no answer", vec![]),
        lost("gRPC: no answer, and a reset", vec![]).then(Then::Reset),
        lost("gRPC: headers, and closed", vec![zero()]),
        lost("gRPC: a message, and closed", vec![zero(), Frame::data(MESSAGE_BYTES, false)]),
        lost("gRPC: going away with it, and closed", vec![away()]),
        lost("gRPC: going away, headers, and closed", vec![away(), zero()]),
        Answer::grpc(
            "gRPC: going away, and a success",
            vec![away(), begun(), Frame::data(MESSAGE_BYTES, false), ok()],
            "",
            LOST,
        )
        .then(Then::Close),
        Answer::grpc("gRPC: a success, and a reset", vec![begun(), ok(), Frame::Reset(0)], "", RESET),
        Answer::grpc(
            "gRPC: an error, and a reset",
            vec![begun(), Frame::headers(&[("grpc-status", "6")], true), Frame::Reset(0)],
            "already_exists",
            RESET,
        ),
    ]
}

fn malformed() -> Vec<Answer> {
    let bad = |name, frames| Answer::grpc(name, frames, "internal", BAD);
    let unreadable = |name, frames| Answer::grpc(name, frames, "internal", UNREADABLE);
    let raw = |bytes: &[u8]| Frame::Raw(bytes.to_vec());
    vec![
        bad("gRPC: headers twice", vec![begun(), begun(), Frame::headers(&[("grpc-status", "0")], true)]),
        bad(
            "gRPC: data before headers",
            vec![Frame::data(MESSAGE_BYTES, false), Frame::headers(&[("grpc-status", "0")], true)],
        ),
        Answer::grpc(
            "gRPC: an HTTP status among the trailers",
            vec![begun(), Frame::headers(&[(":status", "503"), ("grpc-status", "0")], true)],
            "",
            "grpc-go http2_client.go: operateHeaders looks at :status only where there is no gRPC content type yet",
        ),
        bad("gRPC: no HTTP status", vec![Frame::headers(&[GRPC, ("grpc-status", "0")], true)]),
        // A header block that ends in the middle of a string.
        unreadable(
            "gRPC: headers that can't be decompressed",
            vec![raw(&[0, 0, 3, 1, 5, 0, 0, 0, 1, 0, 9, b'a'])],
        ),
        unreadable("gRPC: a frame larger than agreed", vec![raw(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
        // More padding than data.
        unreadable("gRPC: padding beyond the frame", vec![begun(), raw(&[0, 0, 1, 0, 8, 0, 0, 0, 1, 9])]),
    ]
}
