//! Connect: a code, with everything that may stand beside it.

use super::row::{Answer, JSON, Sent, error, response};

const GO: &str = "connect-go protocol_connect.go: connectWireError.UnmarshalJSON, encoding/json";
const ES: &str = "connect-es error-json.ts: errorFromJson";
const HERE: &str =
    "here: the code counts whatever stands beside it (connect-go and connect-es throw it away)";
const STATUS: &str = "connect-go validateResponse: no code, so httpToCode";
const KIND: &str =
    "connect-es validate-response.ts, content-type.ts: an error is JSON, or it is the status's";

pub(super) fn rows() -> Vec<Answer> {
    [messages(), details(), keys(), bytes(), no_code(), kinds()].concat()
}

/// A code beside a status with another meaning, so that the two can be distinguished.
fn coded(name: &str, body: impl AsRef<[u8]>, source: &'static str) -> Answer {
    Answer::http1(name, error(503, body), "already_exists", source)
}

fn messages() -> Vec<Answer> {
    let long = |chars| "x".repeat(chars);
    let with = |message: &str| format!(r#"{{"code":"already_exists","message":{message}}}"#);
    vec![
        coded("a message of 70,000 characters", with(&format!("\"{}\"", long(70_000))), GO).says("xxxx"),
        coded("a message of 900,000 characters", with(&format!("\"{}\"", long(900_000))), GO).says("xxxx"),
        coded("a message beyond what is read", with(&format!("\"{}\"", long(3 << 20))), HERE).says("xxxx"),
        coded(
            "a long message before the code",
            format!(r#"{{"message":"{}","code":"already_exists"}}"#, long(70_000)),
            GO,
        ),
        Answer::http1(
            "a code beyond what is read",
            error(503, format!(r#"{{"message":"{}","code":"already_exists"}}"#, long(2 << 20))),
            "unavailable",
            STATUS,
        ),
        coded("a message that is null", with("null"), GO),
        coded("no message", r#"{"code":"already_exists"}"#, GO),
        coded("an empty message", with("\"\""), GO),
        coded("a message that is a number", with("7"), HERE),
        coded("a message that is true", with("true"), HERE),
        coded("a message that is an array", with(r#"["a",{"code":"internal"}]"#), HERE),
        coded("a message that is an object", with(r#"{"code":"internal"}"#), HERE),
        coded("a message with another error in it", with(r#""{\"code\":\"internal\"}""#), GO)
            .says("internal"),
        coded("a message with NUL and escapes", with(r#""a\u0000b\u001b[31mc\nd""#), GO).says("a b [31mc d"),
        coded("a message with a lone surrogate", with(r#""a\ud800b""#), GO).says("a"),
        coded("a message with a surrogate pair", with(r#""\ud83d\ude00!""#), GO).says("\u{1f600}!"),
        coded("a message with a raw line break", with("\"a\nb\""), HERE).says("a b"),
        coded("a message with an unknown escape", with(r#""a\qb""#), HERE).says("a"),
    ]
}

fn details() -> Vec<Answer> {
    let with = |details: &str| format!(r#"{{"code":"already_exists","message":"m","details":{details}}}"#);
    let before = |details: &str| format!(r#"{{"details":{details},"message":"m","code":"already_exists"}}"#);
    let large = |bytes: usize| format!(r#"[{{"type":"a.B","value":"{}"}}]"#, "QUJD".repeat(bytes / 4));
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        coded("details as they should be", with(&large(8)), GO).says("m"),
        coded("details of 48 KiB", with(&large(48 << 10)), GO).says("m"),
        coded("details of 900 KiB before the code", before(&large(900 << 10)), GO).says("m"),
        coded("details of 3 MiB after the code", with(&large(3 << 20)), HERE).says("m"),
        coded("details that are null", with("null"), GO).says("m"),
        coded("details that are a string", with("\"x\""), ES).says("m"),
        coded("details that are an object", with("{\"a\":1}"), ES).says("m"),
        coded("details without a type", with(r#"[{"value":"QUJD"}]"#), HERE).says("m"),
        coded("details that are no base64", with(r#"[{"type":"a.B","value":"-_ not"}]"#), HERE).says("m"),
        coded("details with brackets in strings", before(r#"[{"type":"]}\"","value":"[{"}]"#), GO).says("m"),
        coded("details 5,000 deep", before(&deep(5_000)), GO).says("m"),
        coded("details 200,000 deep", before(&deep(200_000)), HERE).says("m"),
    ]
}

fn keys() -> Vec<Answer> {
    let status = |name, body: &str| Answer::http1(name, error(503, body), "unavailable", GO);
    vec![
        coded(
            "a code twice: the last one",
            r#"{"code":"internal","message":"m","code":"already_exists"}"#,
            GO,
        ),
        coded("a code and null: the code", r#"{"code":"already_exists","code":null}"#, GO),
        status("a code and a number: neither", r#"{"code":"already_exists","code":7}"#),
        status("a code and an unknown one: neither", r#"{"code":"already_exists","code":"brand_new"}"#),
        coded("keys in capitals", r#"{"CODE":"already_exists","Message":"m"}"#, GO).says("m"),
        coded("a key that is escaped", r#"{"c\u006fde":"already_exists"}"#, GO),
        coded("a code that is escaped", r#"{"code":"already\u005fexists"}"#, GO),
        coded("two messages: the last one", r#"{"code":"already_exists","message":"a","message":"b"}"#, GO)
            .says("b"),
        coded("unknown fields", r#"{"a":1,"b":[true,false,null],"code":"already_exists","c":-1.5e7}"#, GO),
        coded("a field of which code is a part", r#"{"code":"already_exists","error_code":"internal"}"#, GO),
        coded("a code deeper down", r#"{"x":{"code":"internal"},"code":"already_exists"}"#, GO),
    ]
}

fn bytes() -> Vec<Answer> {
    let code = r#"{"code":"already_exists","message":"m"}"#;
    let utf8 = [br#"{"code":"already_exists","message":"a"#.as_slice(), b"\xff\xfe", br#"b"}"#].concat();
    let key = [b"{\"\xff\":\"\xfe\",".as_slice(), br#""code":"already_exists"}"#].concat();
    vec![
        coded("a byte order mark", format!("\u{feff}{code}"), ES).says("m"),
        coded("invalid UTF-8 in the message", utf8, GO).says("a"),
        coded("invalid UTF-8 before the code", key, GO),
        coded("space all around", format!("\r\n\t {code} \n"), GO).says("m"),
        coded("something after it", format!("{code}<!-- appended by a proxy -->"), HERE).says("m"),
        coded("a comma too much", r#"{"code":"already_exists","message":"m",}"#, HERE).says("m"),
        coded("nonsense after the code", r#"{"code":"already_exists", oops"#, HERE),
        coded("an object that does not end", r#"{"code":"already_exists","message":"m""#, HERE).says("m"),
        coded("a message that does not end", r#"{"code":"already_exists","message":"half of"#, HERE)
            .says("half of"),
    ]
}

fn no_code() -> Vec<Answer> {
    let bodies = [
        ("no body", ""),
        ("an empty object", "{}"),
        ("a message without a code", r#"{"message":"m"}"#),
        ("an unknown code", r#"{"code":"brand_new","message":"m"}"#),
        ("a code in capitals", r#"{"code":"ALREADY_EXISTS"}"#),
        ("a code with a space", r#"{"code":"already_exists "}"#),
        ("an empty code", r#"{"code":""}"#),
        ("a code that is null", r#"{"code":null}"#),
        ("a code that is a number", r#"{"code":6,"message":"m","details":[]}"#),
        ("a code that is an object", r#"{"code":{"code":"already_exists"}}"#),
        ("a code that is cut", r#"{"code":"already_ex"#),
        ("a code within an error", r#"{"error":{"code":"already_exists"}}"#),
        ("an array", r#"[{"code":"already_exists"}]"#),
        ("a string", r#""already_exists""#),
        ("no JSON", "already_exists"),
        ("a key without quotes", "{code:\"already_exists\"}"),
    ];
    let row = |(name, body): (&str, &str)| Answer::http1(name, error(503, body), "unavailable", STATUS);
    bodies.into_iter().map(row).collect()
}

fn kinds() -> Vec<Answer> {
    let body = r#"{"code":"already_exists","message":"m"}"#;
    let of = |kind: &str| response(503, &[("content-type", kind)], body);
    let json = ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"];
    let other =
        ["text/html", "text/plain", "application/problem+json", "application/proto", "application/jsonx", ""];
    let mut rows: Vec<Answer> = Vec::new();
    for kind in json {
        rows.push(Answer::http1(format!("an error of {kind}"), of(kind), "already_exists", KIND).says("m"));
    }
    for kind in other {
        rows.push(Answer::http1(format!("an error of '{kind}'"), of(kind), "unavailable", KIND));
    }
    let encoded = |encoding| response(503, &[JSON, ("content-encoding", encoding)], body);
    const IDENTITY: &str = "connect-go validateResponse: identity is no compression";
    const GZIP: &str = "here: the client did not request it, so the status decides (connect-es: internal)";
    rows.extend([
        Answer::http1("unknown parameters", of("application/json; a=b; c=\"d\""), "already_exists", HERE),
        Answer::http1("no content type", response(503, &[], body), "unavailable", KIND),
        Answer::http1("to binary, an error is JSON, too", of("application/json"), "already_exists", KIND)
            .sent(Sent::Proto),
        Answer::http1("an error that is not compressed", encoded("identity"), "already_exists", IDENTITY),
        Answer::http1("an error said to be compressed", encoded("gzip"), "unavailable", GZIP),
        Answer::http1("an error said to be brotli", encoded("br"), "unavailable", GZIP),
    ]);
    rows
}
