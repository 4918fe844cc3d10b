//! One event in three encodings: Connect with JSON, Connect with protobuf's binary, and gRPC.

use std::time::Duration;

use outbox_worker::rpc::{Call, Code, RpcClient};
use testkit::process::root;
use tests::proto::every::v1::{EveryKindHappenedEvent as Every, MaybeKeyedEvent, TakeRequest};
use tokio::sync::mpsc;

use super::every::*;
use crate::world::{PATIENCE, World};

const EVERY: &str = "event_every_kind_happened";

const ROUTER: &str = "
event:
  - name: event_every_kind_happened
    subscriber:
      - id: EveryJsonService/Take
      - id: every.v1.EveryProtoService/Take
      - id: EveryGrpcService/Take
        max_attempts: 3
        backoff: { min: 1ms, max: 10ms }
  - name: event_maybe_keyed
    subscriber:
      - id: EveryJsonService/Take
      - id: every.v1.EveryProtoService/Take
      - id: EveryGrpcService/Take
        max_attempts: 3
        backoff: { min: 1ms, max: 10ms }
";

/// Guards: the same event reaches a Connect server as JSON and as binary, and a plain gRPC server, with the headers of the
/// contract. RPCs are found with and without their package, and the event in any field.
#[tokio::test(flavor = "multi_thread")]
async fn one_event_reaches_services_of_every_encoding() {
    let mut world = World::new(ROUTER).await;
    let (taken, mut takes) = mpsc::unbounded_channel();
    let connect = connect_server(taken.clone()).await;
    let grpc = grpc_server(taken, |_| Ok(())).await;
    world.relay();
    let proto = root().join("tests/proto").display().to_string();
    let endpoints = [
        format!("EveryJsonService=http://{connect}"),
        format!("EveryProtoService=http://{connect}"),
        format!("every.v1.EveryGrpcService=http://{grpc}"),
    ];
    let mut args = vec![
        "--proto",
        &proto,
        "--encoding",
        "EveryProtoService=proto",
        "--encoding",
        "EveryGrpcService=grpc",
    ];
    args.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
    let worker = world.worker_process_with(&args);

    let event = Every {
        int64_value: i64::MIN,
        bytes_value: vec![0xff, 0],
        strings: vec!["é".into()],
        ..Every::default()
    };
    let id = world.publish(&event).await;
    let expected = TakeRequest { what_happened: Some(event), ..TakeRequest::default() };
    for _ in 0..3 {
        let take = tokio::time::timeout(PATIENCE, takes.recv()).await.expect("in time").expect("a call");
        assert_eq!(take.request, expected, "{}", take.encoding);
        assert_eq!(take.event_id, id.to_string(), "{}", take.encoding);
    }
    let maybe = MaybeKeyedEvent { id: Some(0) };
    world.publish(&maybe).await;
    let mut encodings = Vec::new();
    for _ in 0..3 {
        let take = tokio::time::timeout(PATIENCE, takes.recv()).await.expect("in time").expect("a call");
        assert_eq!(take.request.maybe, Some(maybe), "{}", take.encoding);
        encodings.push(take.encoding);
    }
    encodings.sort();
    assert_eq!(encodings, ["application/grpc", "application/json", "application/proto"]);
    world.until_settled().await;
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards: a payload that is newer than the worker's proto is sent whole as JSON. In the other encodings it waits, and the
/// error names the field and no value.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_kept_on_json_and_named_on_the_others() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let connect = connect_server(taken).await;
    let payload = r#"{"id":3,"fromTheFuture":"secret-7"}"#;
    call(format!("http://{connect}"), "EveryJsonService", payload).await.unwrap();
    let take = takes.recv().await.unwrap();
    assert_eq!(take.body, format!(r#"{{"maybe":{payload}}}"#));

    let cases = [
        (MAYBE, payload, "the payload has a field 'fromTheFuture' that every.v1.MaybeKeyedEvent does not"),
        (MAYBE, r#"{"id":"secret-7"}"#, "the payload's field 'id' is not what every.v1.MaybeKeyedEvent says"),
        (MAYBE, r#"{"id":-1}"#, "the payload's field 'id' is not what every.v1.MaybeKeyedEvent says"),
        (
            EVERY,
            r#"{"messages":[{"deeper":{"numbr":"secret-7"}}]}"#,
            "a field 'numbr' in 'messages[0].deeper' that",
        ),
        (
            EVERY,
            r#"{"messages":[{"deeper":{"number":"secret-7"}}]}"#,
            "'messages[0].deeper.number' is not what",
        ),
        (
            EVERY,
            r#"{"int64sByString":{"secret-7":"x"}}"#,
            "the payload's field 'int64s_by_string[…]' is not what",
        ),
        (
            EVERY,
            r#"{"enumValue":"unrecognized field name 'secret-7'"}"#,
            "the payload's field 'enum_value' is not what",
        ),
    ];
    for service in ["EveryProtoService", "EveryGrpcService"] {
        for (event, payload, expected) in cases {
            let error = call_with(format!("http://{connect}"), service, event, payload).await.unwrap_err();
            assert_eq!(error.code, Code::FailedPrecondition, "{error}");
            assert!(error.message.contains(expected), "{error}");
            assert!(error.message.contains("--proto") && !error.message.contains("secret"), "{error}");
        }
    }
    assert!(takes.try_recv().is_err(), "nothing was called");
}

/// Guards promise 6: no payload panics a worker. Odd values stand in every kind of field, and are sent or refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_payload_panics_a_worker() {
    let contract = contract();
    let every = contract.event(EVERY).unwrap().message.clone();
    let texts = [
        "",
        "-",
        "0",
        "-0",
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "9223372036854775808",
        "-9223372036854775809",
        "1s",
        "s",
        "-s",
        ".s",
        "315576000001s",
        "-315576000001s",
        "9223372036854775807s",
        "99999999999999999999s",
        "1.9999999999s",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "10000-01-01T00:00:00Z",
        "-262144-01-01T00:00:00Z",
        "292277026596-12-04T15:30:08Z",
        "2026-02-30T00:00:00Z",
        "2026-11-25T24:00:00Z",
        "2026-11-25T23:59:60Z",
        "2026-11-25T00:00:00+99:99",
        "2026-11-25T00:00:00.Z",
        "é026-11-25T00:00:00Z",
        "=",
        "A",
        "AAAA=",
        "-_",
        "a.b,c..d,",
        "A_b",
        ",",
        "\\u0000",
        "\\ud800",
        "\\udc00\\ud800",
        "é",
    ];
    let texts = texts.iter().map(|text| format!("\"{text}\""));
    let deep = |open: &str, close: &str| open.repeat(120) + "1" + &close.repeat(120);
    let others = [
        "null".into(), "true".into(), "0".into(), "-0.0".into(), "1e400".into(), "1e-400".into(), "0.1".into(),
        "18446744073709551616".into(), "-9223372036854775809".into(), "1e19".into(), "4294967296".into(),
        "340282356779733661637539395458142568448".into(), "[]".into(), "[null]".into(), "{}".into(),
        r#"{"":null}"#.into(), r#"{"value":1}"#.into(), r#"{"@type":""}"#.into(), r#"{"@type":"x/y"}"#.into(),
        r#"{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"type.googleapis.com/google.protobuf.Any"}}"#.into(),
        r#"{"@type":"type.googleapis.com/google.protobuf.Duration","value":"315576000001s"}"#.into(),
        r#"{"seconds":1,"nanos":-1}"#.into(), r#"{"18446744073709551616":1,"-1":"1s","":{}}"#.into(),
        deep("[", "]"), deep(r#"{"a":"#, "}"),
    ];
    let values: Vec<String> = texts.chain(others).collect();
    let (router, rpc) = routed("EveryProtoService", EVERY);
    let client = client(&router, "EveryProtoService", "http://127.0.0.1:1".to_owned());
    let mut sent = 0;
    for field in every.fields() {
        for value in &values {
            for value in [value.clone(), format!("[{value}]"), format!(r#"{{"1":{value}}}"#)] {
                let payload = format!(r#"{{"{}":{value}}}"#, field.json_name());
                let body = body("EveryProtoService", EVERY, &payload);
                let Ok(message) = outbox_event::Message::decode(&body) else { continue };
                let timeout = Duration::from_secs(5);
                let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout };
                match client.call(&call).await.unwrap_err().code {
                    Code::Unavailable => sent += 1,
                    Code::FailedPrecondition => {}
                    other => panic!("{other}: {payload}"),
                }
            }
        }
    }
    assert!(sent > 500, "{sent}");
}
