//! The worker's options for a service's encoding and address, and their mistakes.

use std::time::Duration;

use outbox_contract::Contract;
use outbox_event_router::{Router, Rpc};
use outbox_worker::rpc::{Call, Client, Endpoint, RpcClient, Services};
use tokio::sync::mpsc;

use super::every::*;

/// Guards SECURITY.md: in every encoding an RPC gets no header that could forge a caller or a route, and in gRPC no base64
/// header. This includes rows that were written past `enqueue`. Headers that the operator allows arrive.
#[tokio::test(flavor = "multi_thread")]
async fn no_encoding_lets_forged_headers_through() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let connect = connect_server(taken.clone()).await;
    let grpc = grpc_server(taken, |_| Ok(())).await;
    let headers = r#""acme-tenant":"t-1","baggage":"b=1","acme-key-bin":"AAAA","key-bin":"AAAA","x-envoy-original-path":"/a",
        "grpc-timeout":"1n","te":"x","host":"elsewhere","authorization":"Bearer x","X-Api-Key":"k","content-type":"text/html",
        "user-agent":"me","idempotency-key":"other","outbox-event-id":"other","acme-odd":"a\r\nb: c","acme-é":"x","":"x""#;
    for (service, addr) in
        [("EveryJsonService", &connect), ("EveryProtoService", &connect), ("EveryGrpcService", &grpc)]
    {
        let body = body(service, MAYBE, r#"{"id":1}"#).replace(r#""tenant":"t-1""#, headers);
        let message = outbox_event::Message::decode(&body).unwrap();
        let (router, rpc) = routed(service, MAYBE);
        let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(5) };
        client(&router, service, format!("http://{addr}")).call(&call).await.unwrap();
        let take = takes.recv().await.unwrap();
        let mut custom: Vec<&str> = take.headers.keys().map(http::HeaderName::as_str).collect();
        custom.retain(|name| {
            ![
                "host",
                "content-length",
                "connect-protocol-version",
                "connect-timeout-ms",
                "te",
                "grpc-timeout",
            ]
            .contains(name)
        });
        custom.sort_unstable();
        let expected = [
            "acme-tenant",
            "baggage",
            "content-type",
            "idempotency-key",
            "outbox-attempt",
            "outbox-event-id",
            "outbox-event-name",
            "user-agent",
        ];
        assert_eq!(custom, expected, "{service}");
        let header = |name: &str| take.headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!((header("acme-tenant"), header("idempotency-key")), ("t-1", take.event_id.as_str()));
        assert!(header("user-agent").starts_with("outbox-worker/") && header("host") != "elsewhere");
        assert!(!header("grpc-timeout").contains("1n") && header("outbox-event-id").starts_with("0198c7e2"));
        assert_eq!(header("content-type"), take.encoding);
    }
}

/// Guards: an encoding that can't work is refused at start, with the remedy.
#[tokio::test(flavor = "multi_thread")]
async fn impossible_encodings_are_refused_at_start() {
    let contract = contract();
    let refused = |yaml: &str, encodings: &[&str], contract: Option<&Contract>| {
        let router = Router::parse("event_router.yaml", yaml).unwrap();
        let endpoints: Vec<Endpoint> = router
            .rpcs()
            .map(|(rpc, _)| Endpoint {
                service: rpc.service().to_owned(),
                url: "http://127.0.0.1:1".to_owned(),
            })
            .collect();
        let encodings: Vec<_> = encodings.iter().map(|text| text.parse().unwrap()).collect();
        let error = Client::new(
            &router,
            &Services {
                endpoints: &endpoints,
                encodings: &encodings,
                contract,
                header_prefixes: &[],
                ..Services::default()
            },
        )
        .unwrap_err();
        format!("{error}; {}", error.remedy())
    };
    let routed =
        |event: &str, rpc: &str| format!("event:\n  - name: {event}\n    subscriber:\n      - id: {rpc}\n");
    let grpc = routed("event_maybe_keyed", "EveryGrpcService/Take");
    let cases = [
        (&grpc, "EveryGrpcService=grpc", None, "needs to know the service's proto; pass --proto DIR"),
        (&grpc, "EveryGprcService=grpc", Some(&contract), "--encoding names EveryGprcService"),
        (
            &routed("event_maybe_keyed", "EveryGrpcService/Tak"),
            "EveryGrpcService=json",
            Some(&contract),
            "did you mean 'EveryGrpcService/Take'?",
        ),
        (
            &routed("event_unknown", "EveryGrpcService/Take"),
            "EveryGrpcService=proto",
            Some(&contract),
            "which proto does not have",
        ),
        (
            &routed("event_number_counted", "EveryGrpcService/Take"),
            "EveryGrpcService=grpc",
            Some(&contract),
            "add `every.v1.NumberCountedEvent event = 9;` to TakeRequest",
        ),
    ];
    for (yaml, encoding, contract, expected) in cases {
        let said = refused(yaml, &[encoding], contract);
        assert!(said.contains(expected), "{said}");
    }
}

/// Guards: an option for a service's full name goes before one for its short name.
#[tokio::test(flavor = "multi_thread")]
async fn services_with_one_short_name_are_distinct() {
    let (taken, mut takes) = mpsc::unbounded_channel();
    let right = format!("http://{}", connect_server(taken).await);
    let wrong = "http://127.0.0.1:1".to_owned();
    let contract = contract();
    let client = |id: &str, endpoints: &[(&str, &str)], contract: Option<&Contract>| {
        let yaml = format!("event:\n  - name: {MAYBE}\n    subscriber: [{{ id: {id} }}]\n");
        let endpoint = |&(service, url): &(&str, &str)| Endpoint { service: service.into(), url: url.into() };
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        let services = Services {
            endpoints: &endpoints,
            encodings: &[],
            contract,
            header_prefixes: &[],
            ..Services::default()
        };
        Client::new(&Router::parse("test.yaml", &yaml).unwrap(), &services)
    };
    let body = r#"{"rpc":"x","event":{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_maybe_keyed","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{},"payload":{"id":1}}}"#;
    let message = outbox_event::Message::decode(body).unwrap();
    let said = [("every.v1.EveryJsonService", right.as_str()), ("other.v1.EveryJsonService", wrong.as_str())];
    for id in ["EveryJsonService/Take", "every.v1.EveryJsonService/Take"] {
        let client = client(id, &said, Some(&contract)).unwrap();
        let rpc = Rpc::new(id).unwrap();
        let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(5) };
        client.call(&call).await.unwrap();
        takes.recv().await.unwrap();
    }
    let error = client("EveryJsonService/Take", &said, None).unwrap_err();
    assert!(error.to_string().contains("may be"), "{error}");
}
