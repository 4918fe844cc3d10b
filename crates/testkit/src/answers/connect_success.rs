//! Connect: successes, and answers that only look like one.

use super::row::{Answer, GRPC, JSON, Sent, Then, head, response};

const OK: &str = "connect-go validateResponse: 200 with the codec's content type";
const UNREAD: &str = "here: of a success only its status and its end matter; what it says is not read";
const KIND: &str =
    "connect-go connectValidateUnaryResponseContentType: unknown, or internal below application/";
const SKIPPED: &str = "RFC 9110, section 15.2: a client reads on after a 1xx";

pub(super) fn rows() -> Vec<Answer> {
    [successes(), others()].concat()
}

fn successes() -> Vec<Answer> {
    let ok = |name, bytes, source| Answer::http1(name, bytes, "", source);
    let of = |kind: &str| response(200, &[("content-type", kind)], "{}");
    let after = |first: &[u8]| [first.to_vec(), response(200, &[JSON], "{}")].concat();
    let chunks = |rest: &str| {
        [
            head(200, &[JSON, ("transfer-encoding", "chunked")]),
            format!("2\r\n{{}}\r\n0\r\n{rest}\r\n").into_bytes(),
        ]
        .concat()
    };
    let closed = [head(200, &[JSON]), b"{}".to_vec()].concat();
    let old = String::from_utf8(closed.clone()).expect("it is").replace("HTTP/1.1", "HTTP/1.0").into_bytes();
    vec![
        ok("a success", response(200, &[JSON], "{}"), OK),
        ok("a success in binary", response(200, &[("content-type", "application/proto")], ""), OK)
            .sent(Sent::Proto),
        ok("a success of utf-8", of("application/json; charset=utf-8"), OK),
        ok("a success of UTF-8 without a space", of("application/json;charset=UTF-8"), OK),
        ok("a success with other parameters", of("application/json; odata=minimal"), UNREAD),
        ok("a success in capitals", of("APPLICATION/JSON"), "connect-es content-type.ts: contentTypeRegExp"),
        ok("a success without a body", response(200, &[JSON], ""), UNREAD),
        ok("a success with an error's body", response(200, &[JSON], r#"{"code":"internal"}"#), OK),
        ok("a success with a body that is no JSON", response(200, &[JSON], "done!"), UNREAD),
        ok("a success of 6 MiB", response(200, &[JSON], vec![b' '; 6 << 20]), UNREAD),
        ok(
            "a success that is compressed",
            response(200, &[JSON, ("content-encoding", "gzip")], b"\x1f\x8b\x08"),
            UNREAD,
        ),
        ok("a success in chunks", chunks(""), OK),
        ok("a success in chunks with trailers", chunks("x-checksum: 7\r\n"), OK),
        ok("a success that ends with the connection", closed, OK).then(Then::Close),
        ok("a success of HTTP/1.0", old, OK).then(Then::Close),
        ok("a success that closes", response(200, &[JSON, ("connection", "close")], "{}"), OK)
            .then(Then::Close),
        ok("a success with trailers in its head", response(200, &[JSON, ("trailer-a", "b")], "{}"), OK),
        ok("a success with Retry-After", response(200, &[JSON, ("retry-after", "7")], "{}"), UNREAD),
        ok("a success with a gRPC status", response(200, &[JSON, ("grpc-status", "13")], "{}"), UNREAD),
        ok("a success after 100", after(b"HTTP/1.1 100 Continue\r\n\r\n"), SKIPPED),
        ok("a success after 102", after(b"HTTP/1.1 102 Processing\r\n\r\n"), SKIPPED),
        ok("a success after 103", after(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), SKIPPED),
        ok(
            "a success after two of them",
            after(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"),
            SKIPPED,
        ),
    ]
}

fn others() -> Vec<Answer> {
    let of = |kind: &str| response(200, &[("content-type", kind)], "{}");
    let no = |name, bytes, code| Answer::http1(name, bytes, code, KIND);
    vec![
        no("a proxy's page with 200", of("text/html"), "unknown").says("is this a Connect server?"),
        no("plain text with 200", of("text/plain"), "unknown"),
        no("JSON that is text", of("text/json"), "unknown"),
        no("no content type with 200", response(200, &[], "{}"), "unknown")
            .says("nothing instead of application/json"),
        no("binary for JSON", of("application/proto"), "internal"),
        no("JSON for binary", of("application/json"), "internal").sent(Sent::Proto),
        no("another binary for binary", of("application/x-protobuf"), "internal").sent(Sent::Proto),
        no("a stream for one answer", of("application/connect+json"), "internal"),
        no("a problem with 200", of("application/problem+json"), "internal"),
        no("gRPC for JSON", response(200, &[GRPC], ""), "internal")
            .says("--encoding every.v1.EveryJsonService=grpc"),
        no(
            "the first content type counts",
            response(200, &[("content-type", "text/html"), JSON], "{}"),
            "unknown",
        ),
        Answer::http1(
            "another protocol",
            head(101, &[("upgrade", "h2c"), ("connection", "upgrade")]),
            "unknown",
            "here: the client did not request it (net/http: no success either)",
        ),
    ]
}
