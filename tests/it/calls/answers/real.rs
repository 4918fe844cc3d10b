//! What servers of other projects answer: connect-node, grpc-js, grpcio, and nginx in between.

use std::collections::HashMap;
use std::time::Duration;

use outbox_contract::Contract;
use outbox_worker::rpc::{CallError, Code};
use testkit::answers::Sent;

use super::calling::{Caller, contract};
use super::peers::{self, or_told};

/// The call, its expected result (a success without a code), and a part of its message.
type Case<'c> = (Sent, String, Option<Code>, &'c str);

/// How a message begins that names the remedy for another protocol.
const MISMATCH: &str = "it ";

/// Makes every call, and reports all failures at once.
async fn check(cases: Vec<Case<'_>>, contract: &Contract) {
    let mut wrong = Vec::new();
    for (sent, url, code, message) in &cases {
        let caller = Caller::new(*sent, url.clone(), contract);
        let right = |said: &Result<(), CallError>| match (said, code) {
            (Ok(()), None) => true,
            (Err(error), Some(code)) => error.code == *code && error.message.contains(message),
            _ => false,
        };
        let mut said = caller.call().await;
        // A server may reset the connection before its answer is read, which loses the message.
        for _ in 0..if message.starts_with(MISMATCH) { 20 } else { 0 } {
            if right(&said) {
                break;
            }
            said = caller.call().await;
        }
        if !right(&said) {
            wrong.push(format!("{sent:?} {url}: {said:?}, and not {code:?} '{message}'"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} calls:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Connect's name of a code in connect-es: `InvalidArgument`.
fn name(code: Code) -> String {
    format!("{code:?}")
}

/// Guards promises 2 and 7 against connect-node: JSON, binary and gRPC, over HTTP/1.1 and HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn connect_node_is_understood() {
    let Some(server) = or_told(peers::node("connect.mjs"), "connect-node") else { return };
    let [http1, http2] = server.ports[..] else { panic!("{:?}", server.ports) };
    let exists = Some(Code::AlreadyExists);
    let ways = [
        (Sent::Json, format!("http://127.0.0.1:{http1}")),
        (Sent::Proto, format!("http://127.0.0.1:{http1}")),
        (Sent::Json, format!("h2c://127.0.0.1:{http2}")),
        (Sent::Proto, format!("h2c://127.0.0.1:{http2}")),
        (Sent::Grpc, format!("http://127.0.0.1:{http2}")),
    ];
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (sent, base) in &ways {
        let mut case =
            |path: &str, code, message| cases.push((*sent, format!("{base}/{path}"), code, message));
        for code in Code::ALL {
            case(&name(code), Some(code), "as told: ");
        }
        case("ok", None, "");
        case("large", None, "");
        case("crash", Some(Code::Internal), "internal error");
        case("message", exists, "xxxx");
        case("details", exists, "details");
        // Node.js can't send more than 64 KiB of trailers, and resets the stream.
        let (sends, unsent) =
            if *sent == Sent::Grpc { (Some(Code::Internal), true) } else { (exists, false) };
        case("long-message", sends, if unsent { "frame with invalid size" } else { "xxxx" });
        case("long-details", sends, if unsent { "frame with invalid size" } else { "details" });
        case("unicode", exists, "café 100 % \u{1f600}");
        case("many-headers", exists, "headers");
        case("later", Some(Code::ResourceExhausted), "later");
        case("ok/no/such", Some(Code::Unimplemented), "/ok/no/such/every.v1.");
        case("small", Some(Code::ResourceExhausted), "");
    }
    for (sent, base) in &ways[..2] {
        cases.push((*sent, format!("{base}/destroy"), Some(Code::Unavailable), ""));
    }
    cases.push((Sent::Json, format!("{}/half", ways[0].1), Some(Code::Unknown), "the answer broke off"));
    cases.push((Sent::Json, format!("{}/half", ways[2].1), Some(Code::Internal), "the answer broke off"));
    let (json, grpc) = ("write --encoding every.v1.EveryGrpcService=json", "it does not speak HTTP/2");
    cases.push((Sent::Grpc, format!("{}/connect-only", ways[4].1), Some(Code::Unknown), json));
    cases.push((Sent::Grpc, ways[0].1.clone(), Some(Code::Unavailable), grpc));
    cases.push((Sent::Json, ways[0].1.replace("http:", "h2c:"), Some(Code::Unavailable), grpc));
    cases.push((
        Sent::Json,
        ways[4].1.clone(),
        Some(Code::Unavailable),
        "it speaks HTTP/2 only: write h2c://",
    ));
    check(cases, &contract()).await;
}

fn grpc_cases(base: &str) -> Vec<Case<'static>> {
    let exists = Some(Code::AlreadyExists);
    let mut cases: Vec<Case<'_>> = Vec::new();
    let mut case =
        |path: &str, code, message| cases.push((Sent::Grpc, format!("{base}/{path}"), code, message));
    for (number, code) in (1..).zip(Code::ALL) {
        case(&number.to_string(), Some(code), "as told: ");
    }
    case("ok", None, "");
    case("large", None, "");
    case("crash", Some(Code::Unknown), "");
    case("long-message", exists, "xxxx");
    case("longer-message", exists, "xxxx");
    case("long-details", exists, "details");
    case("many-trailers", exists, "trailers");
    case("unicode", exists, "café 100 % \u{1f600}");
    case("pushback", Some(Code::Unavailable), "later");
    case("no-such", Some(Code::Unimplemented), "");
    cases
}

/// Guards promises 2 and 7 against grpc-js.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_js_is_understood() {
    let Some(server) = or_told(peers::node("grpc.mjs"), "grpc-js") else { return };
    let port = server.ports[0];
    let mut cases = grpc_cases(&format!("http://127.0.0.1:{port}"));
    cases.push((
        Sent::Grpc,
        format!("http://127.0.0.1:{port}/initial"),
        Some(Code::AlreadyExists),
        "after headers",
    ));
    let grpc = "write --encoding every.v1.EveryJsonService=grpc";
    cases.push((Sent::Json, format!("h2c://127.0.0.1:{port}/ok"), Some(Code::Unknown), grpc));
    let h2c = "it speaks HTTP/2 only: write h2c://";
    cases.push((Sent::Json, format!("http://127.0.0.1:{port}/ok"), Some(Code::Unavailable), h2c));
    check(cases, &contract()).await;
    let pushback = Caller::new(Sent::Grpc, format!("http://127.0.0.1:{port}/pushback"), &contract());
    assert_eq!(pushback.call().await.unwrap_err().retry_after, Some(Duration::from_millis(1500)));
}

/// Guards promises 2 and 7 against grpcio.
#[tokio::test(flavor = "multi_thread")]
async fn grpcio_is_understood() {
    let Some(server) = or_told(peers::python(), "grpcio") else { return };
    let port = server.ports[0];
    let mut cases = grpc_cases(&format!("http://127.0.0.1:{port}"));
    let h2c = "it speaks HTTP/2 only: write h2c://";
    cases.push((Sent::Json, format!("http://127.0.0.1:{port}/ok"), Some(Code::Unavailable), h2c));
    check(cases, &contract()).await;
}

/// Guards promises 2, 6 and 7 with nginx in between: its own answers differ from the RPC's, and the connections it closes
/// cost no attempt.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_understood() {
    let Some(connect) = or_told(peers::node("connect.mjs"), "connect-node") else { return };
    let Some(grpc) = or_told(peers::node("grpc.mjs"), "grpc-js") else { return };
    let mut ports = HashMap::from([("connect", connect.ports[0]), ("grpc", grpc.ports[0])]);
    let Some(_nginx) = or_told(peers::nginx(&mut ports), "nginx") else { return };
    let http1 = |path: &str| format!("http://127.0.0.1:{}/{path}", ports["http1"]);
    let http2 = |path: &str| format!("http://127.0.0.1:{}/{path}", ports["http2"]);
    let (json, grpc, contract) = (Sent::Json, Sent::Grpc, contract());
    let unavailable = Some(Code::Unavailable);
    let cases = vec![
        (json, http1("pass/ok"), None, ""),
        (json, http1("pass/large"), None, ""),
        (json, http1("pass/long-message"), Some(Code::AlreadyExists), "xxxx"),
        (json, http1("pass/long-details"), Some(Code::AlreadyExists), "details"),
        (json, http1("pass/destroy"), unavailable, "HTTP 502"),
        (json, http1("pass/half"), Some(Code::Unknown), "the answer broke off"),
        (json, http1("small/ok"), Some(Code::Unknown), "HTTP 413"),
        (json, http1("away/ok"), unavailable, "HTTP 502"),
        (json, http1("slow"), unavailable, "HTTP 504"),
        (json, http1("busy"), unavailable, "HTTP 503"),
        (json, http1("denied"), Some(Code::Unauthenticated), "HTTP 401"),
        (json, http1("nowhere"), Some(Code::Unimplemented), "/nowhere/every.v1.EveryJsonService/Take"),
        (json, http1("moved"), Some(Code::Unknown), "HTTP 308 to https://elsewhere.example/moved/every.v1"),
        (grpc, http2("pass/ok"), None, ""),
        (grpc, http2("pass/3"), Some(Code::InvalidArgument), "as told: 3"),
        (grpc, http2("pass/unicode"), Some(Code::AlreadyExists), "café"),
        (grpc, http2("away"), unavailable, "HTTP 502"),
        (grpc, http2("told"), unavailable, "nobody there"),
        (grpc, http2("nowhere"), Some(Code::Unimplemented), "HTTP 404"),
        (grpc, http1("pass/ok"), unavailable, "it does not speak HTTP/2"),
        (json, http1("pass/ok").replace("http:", "h2c:"), unavailable, "it does not speak HTTP/2"),
        (json, http2("pass/ok"), unavailable, "it speaks HTTP/2 only: write h2c://"),
        (
            json,
            format!("http://127.0.0.1:{}", ports["tls"]),
            Some(Code::Internal),
            "it speaks TLS: write https://",
        ),
        (json, http1("").replace("http:", "https:"), unavailable, "it does not speak TLS: write http://"),
        (json, format!("https://127.0.0.1:{}", ports["tls"]), unavailable, "certificate"),
    ];
    check(cases, &contract).await;
    let busy = Caller::new(json, http1("busy"), &contract).call().await.unwrap_err();
    assert_eq!(busy.retry_after, Some(Duration::from_secs(7)));
    // Every third call is the last of its connection.
    let kept = Caller::new(json, http1("pass/ok"), &contract);
    for call in 0..60 {
        kept.call().await.unwrap_or_else(|error| panic!("call {call}: {error}"));
    }
}
