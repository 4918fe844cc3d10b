//! gRPC: places of the status, and everything that may stand beside it.

use super::frames::Frame;
use super::row::{Answer, GRPC};

/// gRPC's codes, by number.
const CODES: [&str; 17] = [
    "",
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];
const GO: &str = "grpc-go http2_client.go: operateHeaders";
const MESSAGE: &str = "PROTOCOL-HTTP2.md: an implementation MUST NOT error or throw away the message";
const DIGITS: &str = "PROTOCOL-HTTP2.md: Status is 1*DIGIT; grpc-go: malformed grpc-status is UNKNOWN";
const BESIDE: &str = "here: what a success says is not read, and no neighbour changes a status";
const SIZE: &str = "here: a header list of 1 MiB is read (grpc-go: 16 MiB)";

pub(super) fn rows() -> Vec<Answer> {
    let mut rows = Vec::new();
    for (number, code) in CODES.into_iter().enumerate() {
        let number = number.to_string();
        let status = [("grpc-status", number.as_str()), ("grpc-message", "no%20card")];
        rows.push(
            Answer::grpc(format!("status {number} in trailers"), answered(&status), code, GO)
                .says(said(code)),
        );
        rows.push(Answer::grpc(format!("status {number} alone"), alone(&status), code, GO).says(said(code)));
    }
    rows.extend([numbers(), messages(), places(), besides(), sizes()].concat());
    rows
}

fn said(code: &str) -> &'static str {
    if code.is_empty() { "" } else { "no card" }
}

/// An empty message: not compressed, of length zero.
pub(super) const MESSAGE_BYTES: [u8; 5] = [0; 5];

pub(super) fn begun() -> Frame {
    Frame::headers(&[(":status", "200"), GRPC], false)
}

/// Headers, a message, and these trailers.
pub(super) fn answered(trailers: &[(&str, &str)]) -> Vec<Frame> {
    vec![begun(), Frame::data(MESSAGE_BYTES, false), Frame::headers(trailers, true)]
}

/// Trailers-Only.
pub(super) fn alone(trailers: &[(&str, &str)]) -> Vec<Frame> {
    vec![Frame::headers(&[&[(":status", "200"), GRPC], trailers].concat(), true)]
}

fn numbers() -> Vec<Answer> {
    let none = [
        "",
        "x",
        "+0",
        "-0",
        "0x0",
        "0.0",
        " 0",
        "0 ",
        "0,0",
        "OK",
        "17",
        "99",
        "4294967296",
        "99999999999999999999",
    ];
    let row = |text: &&str| {
        Answer::grpc(format!("status '{text}'"), answered(&[("grpc-status", text)]), "unknown", DIGITS)
    };
    let mut rows: Vec<Answer> = none.iter().map(row).collect();
    const ZEROS: &str = "grpc-go operateHeaders: ParseInt takes leading zeros";
    rows.push(Answer::grpc("status 00", answered(&[("grpc-status", "00")]), "", ZEROS));
    rows.push(Answer::grpc("status 006", answered(&[("grpc-status", "006")]), "already_exists", ZEROS));
    let two = |one, other| answered(&[("grpc-status", one), ("grpc-status", other)]);
    rows.push(Answer::grpc("two statuses: the last one", two("0", "6"), "already_exists", GO));
    rows.push(Answer::grpc("two statuses, one of them none", two("x", "0"), "unknown", GO));
    rows
}

fn messages() -> Vec<Answer> {
    let with = |message: &str| answered(&[("grpc-status", "6"), ("grpc-message", message)]);
    let raw = |message: &[u8]| {
        let fields =
            vec![("grpc-status".to_owned(), b"6".to_vec()), ("grpc-message".to_owned(), message.to_vec())];
        vec![begun(), Frame::Headers { fields, end: true }]
    };
    let row = |name, frames, says| Answer::grpc(name, frames, "already_exists", MESSAGE).says(says);
    vec![
        row("a message in UTF-8", with("caf%C3%A9"), "café"),
        row("a message with broken encoding", with("100% sure, %zz, %4"), "100% sure, %zz, %4"),
        row("a message of invalid UTF-8", with("a%FFb"), "a\u{fffd}b"),
        row("a message with raw UTF-8", raw("café".as_bytes()), "café"),
        row("a message with raw bytes", raw(b"a\xffb"), "a\u{fffd}b"),
        row("a message with control characters", with("a%00b%1B[31mc%0Ad"), "a b [31mc d"),
        row("a message with a tab", raw(b"a\tb"), "a b"),
        row("gRPC: an empty message", with(""), ""),
        row(
            "two messages",
            answered(&[("grpc-status", "6"), ("grpc-message", "a"), ("grpc-message", "b")]),
            "b",
        ),
        row(
            "a message before the status",
            answered(&[("grpc-message", "first"), ("grpc-status", "6")]),
            "first",
        ),
    ]
}

fn places() -> Vec<Answer> {
    let first = |status| Frame::headers(&[(":status", "200"), GRPC, ("grpc-status", status)], false);
    let last = |status| Frame::headers(&[("grpc-status", status)], true);
    let data = || Frame::data(MESSAGE_BYTES, false);
    let row = |name, frames, code| Answer::grpc(name, frames, code, GO);
    const ENDED: &str = "grpc-go handleData: `server closed the stream without sending trailers`";
    vec![
        row("0 in headers, 13 in trailers", vec![first("0"), data(), last("13")], "internal"),
        row("13 in headers, 0 in trailers", vec![first("13"), data(), last("0")], ""),
        Answer::grpc(
            "x in headers, 0 in trailers",
            vec![first("x"), data(), last("0")],
            "",
            "here: headers count only if they end the stream (grpc-go: UNKNOWN)",
        ),
        row(
            "0 in headers, and trailers without one",
            vec![first("0"), data(), Frame::headers(&[("a", "b")], true)],
            "unknown",
        ),
        Answer::grpc(
            "0 in headers, and data that end",
            vec![first("0"), Frame::data(MESSAGE_BYTES, true)],
            "internal",
            ENDED,
        ),
        Answer::grpc(
            "0 in headers, and no data that end",
            vec![first("0"), Frame::data("", true)],
            "internal",
            ENDED,
        ),
        Answer::grpc(
            "no status, and data that end",
            vec![begun(), Frame::data(MESSAGE_BYTES, true)],
            "internal",
            ENDED,
        )
        .says("without a gRPC status"),
        row("headers alone without a status", alone(&[]), "unknown").says("without a gRPC status"),
        row("trailers without a status", answered(&[("grpc-message", "m")]), "unknown"),
        row("trailers without a message before them", vec![begun(), last("0")], ""),
        row("a success alone, without a message", alone(&[("grpc-status", "0")]), ""),
    ]
}

fn besides() -> Vec<Answer> {
    let row = |name, frames, code| Answer::grpc(name, frames, code, BESIDE);
    let garbage = ("grpc-status-details-bin", "-_ not base64 \\");
    let other = ("grpc-status-details-bin", "CA0SBW90aGVy");
    let compressed = Frame::headers(&[(":status", "200"), GRPC, ("grpc-encoding", "gzip")], false);
    let bytes = [&[1, 0, 0, 0, 3][..], b"\x1f\x8b\x08"].concat();
    let large = vec![0; 1_500_000];
    let ok = || Frame::headers(&[("grpc-status", "0")], true);
    let kind = |kind| {
        vec![Frame::headers(&[(":status", "200"), ("content-type", kind), ("grpc-status", "0")], true)]
    };
    const KIND: &str = "grpc-go grpcutil/method.go: ContentSubtype";
    vec![
        row("a success with broken details", answered(&[("grpc-status", "0"), garbage]), ""),
        row("an error with broken details", answered(&[("grpc-status", "6"), garbage]), "already_exists"),
        row("an error with another's details", answered(&[("grpc-status", "6"), other]), "already_exists"),
        row("an unknown field", answered(&[("grpc-status", "6"), ("grpc-future", "x")]), "already_exists"),
        row("gRPC: a success that is compressed", vec![compressed, Frame::data(bytes, false), ok()], ""),
        row("a success of 1.5 MB", vec![begun(), Frame::data(large, false), ok()], ""),
        row(
            "two messages, and a success",
            vec![begun(), Frame::data(MESSAGE_BYTES, false), Frame::data(MESSAGE_BYTES, false), ok()],
            "",
        ),
        row("half a message, and a success", vec![begun(), Frame::data([0, 0], false), ok()], ""),
        Answer::grpc("a success of proto", kind("application/grpc+proto"), "", KIND),
        Answer::grpc("a success of json", kind("application/grpc;charset=utf-8"), "", KIND),
        Answer::grpc(
            "gRPC: a success in capitals",
            kind("Application/gRPC"),
            "",
            "RFC 9110, section 8.3.1: no case in media types",
        ),
    ]
}

fn sizes() -> Vec<Answer> {
    let message = |bytes: usize| "m".repeat(bytes);
    let failed =
        |bytes| [("grpc-status", "6"), ("grpc-message", Box::leak(message(bytes).into_boxed_str()) as &str)];
    let details = |bytes: usize| "QUJD".repeat(bytes / 4);
    let row = |name, frames| Answer::grpc(name, frames, "already_exists", SIZE);
    let (d40, d900) = (details(40 << 10), details(900 << 10));
    let many: Vec<(String, String)> = (0..300).map(|n| (format!("x-trace-{n}"), message(60))).collect();
    let many: Vec<(&str, &str)> = std::iter::once(("grpc-status", "6"))
        .chain(many.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .collect();
    vec![
        row("a message of 20 kB alone", alone(&failed(20_000))).says("mmmm"),
        row("a message of 20 kB in trailers", answered(&failed(20_000))).says("mmmm"),
        row("a message of 70 kB", alone(&failed(70_000))).says("mmmm"),
        row("a message of 500 kB", answered(&failed(500_000))).says("mmmm"),
        row("details of 40 kB", answered(&[("grpc-status", "6"), ("grpc-status-details-bin", &d40)])),
        row("details of 900 kB", alone(&[("grpc-status-details-bin", &d900), ("grpc-status", "6")])),
        row("300 trailers", answered(&many)),
        Answer::grpc(
            "gRPC: a message beyond what is read",
            alone(&failed(1_100_000)),
            "internal",
            "grpc-go: `peer header list size exceeded limit` is INTERNAL",
        ),
        Answer::grpc(
            "a success with a message of 500 kB",
            answered(&[("grpc-status", "0"), ("grpc-message", &message(500_000))]),
            "",
            SIZE,
        ),
    ]
}
