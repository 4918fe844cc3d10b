//! HTTP/2 in the clear, and TLS.

use std::time::Duration;

use outbox_worker::rpc::{Call, Client, Code, Endpoint, RpcClient, Services};

use crate::tls::TlsServer;
use crate::world::{One, ROUTER, World};

/// Guards: the call works over HTTP/2 in the clear, and over TLS with a checked certificate. An unknown certificate is
/// refused.
#[tokio::test(flavor = "multi_thread")]
async fn calls_go_over_http2_and_tls() {
    let world = World::new(ROUTER).await;
    let body = r#"{"rpc":"Test/One","event":{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_one","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{},"payload":{"n":1}}}"#;
    let message = outbox_event::Message::decode(body).unwrap();
    let rpc = outbox_event_router::Rpc::new("Test/One").unwrap();
    let call = Call { rpc: &rpc, event: &message.event, attempt: 1, timeout: Duration::from_secs(5) };
    let yaml = "event:\n  - name: event_one\n    subscriber: [{ id: Test/One }]\n";
    let router = outbox_event_router::Router::parse("test.yaml", yaml).unwrap();
    let client = |url: String| {
        let endpoints = [Endpoint { service: "Test".into(), url }];
        let services = Services {
            endpoints: &endpoints,
            encodings: &[],
            contract: None,
            header_prefixes: &[],
            ..Services::default()
        };
        Client::new(&router, &services).unwrap()
    };

    let rpcs = &world.rpcs;
    client(format!("http://{}", rpcs.addr)).call(&call).await.unwrap();
    client(format!("h2c://{}", rpcs.addr)).call(&call).await.unwrap();
    let refused = client("http://127.0.0.1:1".into()).call(&call).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "{refused}");

    let tls = TlsServer::start(rpcs.clone(), None).await;
    let unknown = client(format!("https://localhost:{}", tls.port)).call(&call).await.unwrap_err();
    assert_eq!(unknown.code, Code::Unavailable);
    assert!(unknown.message.to_lowercase().contains("certificate"), "{unknown}");

    // A worker reads the roots at its start, from the standard variable: so this needs a real process.
    let mut world = world;
    world.relay();
    let router = world.router_file.display().to_string();
    let endpoints =
        [format!("Test=https://localhost:{}", tls.port), format!("Other=https://localhost:{}", tls.port)];
    let args = [
        "--router",
        &router,
        "--metrics-addr",
        "127.0.0.1:0",
        "--endpoint",
        &endpoints[0],
        "--endpoint",
        &endpoints[1],
    ];
    let env = [("DATABASE_URL", world.url.as_str()), ("SSL_CERT_FILE", tls.root_file.as_str())];
    let worker =
        testkit::process::Process::start(&crate::world::programs().join("worker"), args, &env).unwrap();
    let id = world.publish(One { n: 1 }).await;
    world.rpcs.until_done("Test/One", &[id]).await;
    assert!(worker.stop().await.unwrap().success());
    // This test called the same event over each transport, without a dedup record.
    world.rpcs.forget();
    world.finish().await;
}
