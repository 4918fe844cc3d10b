//! Connect over HTTP/1.1: the beginning and end of an answer, and answers without an end.

use super::row::{Answer, JSON, Then, head, response};

const CUT: &str = "here: the code counts that was read (connect-go: the status)";
const WHOLE: &str = "RFC 9112, section 6.3: the length of a message";
const HALF: &str = "connect-go protocol_connect.go: connectUnaryUnmarshaler, `read message: unexpected EOF`";
const NONE: &str = "connect-go duplex_http_call.go: no response is unavailable";
const UNREADABLE: &str = "here: an answer came, so the server is not away (connect-go: unavailable)";

pub(super) fn rows() -> Vec<Answer> {
    [framed_errors(), broken_successes(), heads()].concat()
}

const ERROR: &str = r#"{"code":"already_exists","message":"m"}"#;

/// A chunk with its length.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn chunked(status: u16, body: &str) -> Vec<u8> {
    [head(status, &[JSON, ("transfer-encoding", "chunked")]), body.as_bytes().to_vec()].concat()
}

fn framed_errors() -> Vec<Answer> {
    let (one, two) = ERROR.split_at(11);
    let long = |length: &str, body: &str| {
        [head(503, &[JSON, ("content-length", length)]), body.as_bytes().to_vec()].concat()
    };
    let coded = |name, bytes, source| Answer::http1(name, bytes, "already_exists", source);
    let closed = |bytes: Vec<u8>| {
        String::from_utf8(bytes).expect("it is").replace("HTTP/1.1", "HTTP/1.0").into_bytes()
    };
    vec![
        coded("an error in chunks", chunked(503, &format!("{}{}0\r\n\r\n", chunk(one), chunk(two))), WHOLE),
        coded(
            "an error in chunks with trailers",
            chunked(503, &format!("{}0\r\nx-checksum: 7\r\n\r\n", chunk(ERROR))),
            WHOLE,
        ),
        coded(
            "an error that ends with the connection",
            [head(503, &[JSON]), ERROR.as_bytes().to_vec()].concat(),
            WHOLE,
        )
        .then(Then::Close),
        coded(
            "an error of HTTP/1.0",
            closed([head(503, &[JSON]), ERROR.as_bytes().to_vec()].concat()),
            WHOLE,
        )
        .then(Then::Close),
        coded("an error that is shorter than it says", long("4000", ERROR), CUT).then(Then::Close),
        coded("an error that is cut in its message", long("4000", &ERROR[..36]), CUT).then(Then::Close),
        coded("an error whose chunks do not end", chunked(503, &chunk(ERROR)), CUT).then(Then::Close),
        coded(
            "an error with a chunk that is no chunk",
            chunked(503, &format!("{}zz\r\n", chunk(ERROR))),
            CUT,
        ),
        Answer::http1("an error that is cut in its code", long("4000", &ERROR[..14]), "unavailable", HALF)
            .then(Then::Close),
        Answer::http1("an error of which nothing came", long("4000", ""), "unavailable", HALF)
            .then(Then::Close),
    ]
}

fn broken_successes() -> Vec<Answer> {
    let long =
        |body: &str| [head(200, &[JSON, ("content-length", "4000")]), body.as_bytes().to_vec()].concat();
    let broken = |name, bytes, then| Answer::http1(name, bytes, "unknown", HALF).then(then).says("broke off");
    vec![
        broken("a success that is shorter than it says", long("{}"), Then::Close),
        broken("a success of which nothing came", long(""), Then::Close),
        broken("a success that is reset", long("{}"), Then::Reset),
        broken("a success whose chunks do not end", chunked(200, &chunk("{}")), Then::Close),
        broken("a success without a chunk", chunked(200, ""), Then::Close),
        broken("a success with half a chunk", chunked(200, "10\r\n{}"), Then::Close),
        broken("a success with a chunk that is no chunk", chunked(200, "zz\r\n{}\r\n"), Then::KeepOpen),
        broken(
            "a success whose last chunk lacks its end",
            chunked(200, &format!("{}0\r\n", chunk("{}"))),
            Then::Close,
        ),
    ]
}

fn heads() -> Vec<Answer> {
    let many: Vec<(String, String)> = (0..400).map(|n| (format!("x-trace-{n}"), "v".repeat(60))).collect();
    let many: Vec<(&str, &str)> = std::iter::once(JSON)
        .chain(many.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .collect();
    let one = |bytes: usize| "v".repeat(bytes);
    let wide = |bytes: usize| response(200, &[JSON, ("x-debug", &one(bytes))], "{}");
    let wide_error = |bytes: usize| response(503, &[JSON, ("x-debug", &one(bytes))], ERROR);
    let unreadable =
        |name, bytes: &[u8]| Answer::http1(name, bytes.to_vec(), "internal", UNREADABLE).then(Then::Close);
    const SIZE: &str = "here: a head of 1 MiB is read (net/http: 10 MiB, node: 16 KiB)";
    vec![
        Answer::http1("a success with 400 headers", response(200, &many, "{}"), "", SIZE),
        Answer::http1("an error with 400 headers", response(503, &many, ERROR), "already_exists", SIZE),
        Answer::http1("a header of 64 KiB", wide(64 << 10), "", SIZE),
        Answer::http1("a header of 900 KiB", wide(900 << 10), "", SIZE),
        Answer::http1("an error with a header of 900 KiB", wide_error(900 << 10), "already_exists", SIZE),
        Answer::http1("a header of 4 MiB", wide(4 << 20), "internal", SIZE).then(Then::Close),
        Answer::http1("no answer", Vec::new(), "unavailable", NONE).then(Then::Close),
        Answer::http1("no answer, and a reset", Vec::new(), "unavailable", NONE).then(Then::Reset),
        Answer::http1("half a head", b"HTTP/1.1 200 OK\r\ncontent-ty".to_vec(), "unavailable", NONE).then(Then::Close),
        unreadable("no HTTP", b"hello, who is there?\r\n\r\n"),
        unreadable("a status that is no number", b"HTTP/1.1 abc OK\r\n\r\n"),
        unreadable("a header without a colon", b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
        unreadable("two lengths", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
        unreadable("a length that is no number", b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}"),
    ]
}
