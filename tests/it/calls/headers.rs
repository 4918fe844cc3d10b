//! Which of an event's headers reach its RPC.

use outbox::Entry;
use testkit::scrape;

use crate::world::{One, ROUTER, World};

/// Headers that could forge a caller, a protocol or a route: `enqueue` accepts them all.
const FORGED: [(&str, &str); 14] = [
    ("x-api-key", "k"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-client-cert", "By=spiffe://admin"),
    ("x-goog-authenticated-user-email", "accounts.google.com:admin@example.com"),
    ("x-envoy-original-path", "/admin"),
    ("x-http-method-override", "DELETE"),
    ("forwarded", "for=10.0.0.1"),
    ("via", "1.1 trusted"),
    ("expect", "100-continue"),
    ("range", "bytes=0-0"),
    ("if-match", "*"),
    ("cf-connecting-ip", "10.0.0.1"),
    ("client-cert", ":AAAA:"),
    ("tenant", "not allowed by anybody"),
];

/// Guards SECURITY.md: over HTTP/1.1 an RPC gets trace headers and those that the operator allows, and no others. The others
/// are counted, and each name is logged once, with the flag and without its value.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_can_not_forge_its_caller() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let mut worker = world.worker_process_in(&[("OUTBOX_HEADER_PREFIX", "acme- beta-")], &[]);
    let addr = scrape::addr(&mut worker).await.unwrap();
    let travels = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("baggage", "b=2"),
        ("acme-tenant", "t-1"),
        ("beta-region", "eu"),
    ];
    let event = |n| {
        let all = travels.iter().chain(&FORGED);
        all.fold(Entry::new(One { n }), |entry, (name, value)| entry.header(*name, *value))
    };
    let ids = world.publish_all([event(1), event(2)]).await;
    world.rpcs.until_done("Test/One", &ids).await;
    for call in world.rpcs.calls() {
        for (name, value) in travels {
            assert_eq!(call.incoming.header(name), value, "{name}");
        }
        for (name, _) in FORGED {
            assert!(!call.incoming.headers.contains_key(name), "{name} arrived");
        }
    }
    let counted = format!("outbox_worker_withheld_headers_total{{rpc=\"Test/One\"}} {}", 2 * FORGED.len());
    let metrics = scrape::get(&addr, "/metrics").await.unwrap().1;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");

    worker.signal("TERM").unwrap();
    let mut said = Vec::new();
    while let Some(line) = worker.line().await {
        said.push(line);
    }
    for (name, value) in FORGED {
        let of: Vec<&String> = said.iter().filter(|line| line.contains(&format!("{name:?}"))).collect();
        assert_eq!(of.len(), 1, "{name}: {said:?}");
        assert!(of[0].contains("Test/One") && of[0].contains("--header-prefix"), "{}", of[0]);
        assert!(value.len() < 5 || !of[0].contains(value), "{}", of[0]);
    }
    world.finish().await;
}
