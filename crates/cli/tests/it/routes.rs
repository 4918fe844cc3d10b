use crate::{outbox, root, said};

const ROUTER: &str = "\
event:
  - name: 'event_hoge_updated'
    subscriber:
      - id: 'acme.v1.AuditService/Record'
        timeout: 500ms
        rate_per_second: 50
      - id: 'NotificationService/NotifyHogeUpdated'
  - name: 'event_nobody_listens'
    subscriber: []
";

/// Guards: the README's picture of the sample domain is what `outbox routes` draws.
#[test]
fn the_readme_shows_the_routes_as_they_are() {
    let drawn = outbox(&root(), "routes --format mermaid");
    let drawn = String::from_utf8(drawn.stdout).unwrap();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```mermaid\n").expect("the README has a picture");
    let (picture, _) = rest.split_once("```").expect("and it ends");
    assert_eq!(picture, drawn, "put into README.md what `outbox routes --format mermaid` prints");
}

/// Guards: each format says the same routes.
#[test]
fn routes_are_shown_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("event_router.yaml"), ROUTER).unwrap();
    let shown = |format: &str| said(&outbox(dir.path(), &format!("routes --format {format}")));

    let table = " \
EVENT                 RPC                                    TIMEOUT  CONCURRENCY  RATE  ATTEMPTS  BACKOFF
 event_hoge_updated    acme.v1.AuditService/Record            500ms    16           50/s  20        1s to 10m
                       NotificationService/NotifyHogeUpdated  10s      16                 20        1s to 10m
 event_nobody_listens  no subscriber
exit 0
";
    assert_eq!(shown("table"), table);
    let mermaid = shown("mermaid");
    for line in [
        "event_nobody_listens([\"event_nobody_listens\"])",
        "subgraph service2[\"acme.v1.AuditService\"]",
        "event_hoge_updated --> acme_v1_AuditService__Record",
    ] {
        assert!(mermaid.contains(line), "{mermaid}");
    }
    assert!(shown("dot").contains("\"event_hoge_updated\" -> \"acme.v1.AuditService/Record\";"));
    let json: serde_json::Value =
        serde_json::from_slice(&outbox(dir.path(), "routes --format json").stdout).unwrap();
    assert_eq!(json[0]["rpc"], "acme.v1.AuditService/Record");
    assert_eq!(json[0]["timeout_seconds"], 0.5);
    assert_eq!(json[0]["queue"], "acme-v1-AuditService--Record");
    assert_eq!(json[0]["rule"], "event_hoge_updated--acme-v1-AuditService--Record");
}

/// Guards: a router that can't be shown says why, and a missing one what to pass.
#[test]
fn a_broken_router_is_told_from_a_missing_one() {
    let dir = tempfile::tempdir().unwrap();
    let missing = said(&outbox(dir.path(), "routes"));
    assert!(missing.contains("pass --router FILE") && missing.ends_with("exit 2\n"), "{missing}");
    std::fs::write(dir.path().join("event_router.yaml"), "events: []\n").unwrap();
    let broken = said(&outbox(dir.path(), "routes"));
    assert!(broken.contains("did you mean `event`?") && broken.ends_with("exit 1\n"), "{broken}");
}
