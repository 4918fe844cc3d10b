//! Guards: what `outbox check` advises can be done, and then it has no error and never advises the opposite. The advice is
//! followed as a user would, one error after the other.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

const ROUTER: &str = "event_router.yaml";
const SHORT: &str =
    "event:\n  - name: 'event_card_issued'\n    subscriber:\n      - id: 'NotifyService/NotifyCardIssued'\n";
const FULL: &str = "event:\n  - name: 'event_card_issued'\n    subscriber:\n      - id: 'acme.notify.v1.NotifyService/NotifyCardIssued'\n";
const AGAINST: &str = "--against old/proto --against-router old/event_router.yaml";

#[derive(Deserialize)]
struct Json {
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    severity: String,
    file: String,
    line: usize,
    message: String,
    hint: String,
}

fn event(package: &str) -> String {
    format!(
        "syntax = \"proto3\";\npackage {package};\nenum Event {{\n  EVENT_UNSPECIFIED = 0;\n  EVENT_CARD_ISSUED = 1;\n}}\nmessage CardIssuedEvent {{\n  string card_id = 1;\n}}\n"
    )
}

fn service(package: &str) -> String {
    format!(
        "syntax = \"proto3\";\npackage {package};\nimport \"google/protobuf/empty.proto\";\nimport \"card_v1.proto\";\nservice NotifyService {{\n  rpc NotifyCardIssued(NotifyCardIssuedRequest) returns (google.protobuf.Empty);\n}}\nmessage NotifyCardIssuedRequest {{\n  acme.card.v1.CardIssuedEvent event = 1;\n}}\n"
    )
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn errors(dir: &Path, args: &str) -> Vec<Finding> {
    let output = super::outbox(dir, &format!("check --format json {args}"));
    let json: Json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    json.findings.into_iter().filter(|finding| finding.severity == "error").collect()
}

/// The value behind `key: '` in an advice.
fn advised<'a>(hint: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = hint.split_once(&format!("{key}: '"))?;
    after.split('\'').next()
}

/// The file with the advice followed.
fn follow(router: &str, finding: &Finding) -> String {
    let mut lines: Vec<String> = router.lines().map(str::to_owned).collect();
    if let Some(package) = advised(&finding.hint, "package") {
        let name = lines.iter().position(|line| line.contains("name:")).unwrap();
        lines.insert(name + 1, format!("    package: '{package}'"));
        return lines.join("\n") + "\n";
    }
    assert_eq!(finding.file, ROUTER, "{finding:?}");
    let at = finding.line - 1;
    let (id, queue) = (advised(&finding.hint, "id"), advised(&finding.hint, "queue"));
    assert!(id.is_some() || queue.is_some(), "no edit is advised: {finding:?}");
    if let Some(id) = id {
        lines[at] = format!("      - id: '{id}'");
    }
    if let Some(queue) = queue {
        if lines.get(at + 1).is_some_and(|line| line.contains("queue:")) {
            lines.remove(at + 1);
        }
        lines.insert(at + 1, format!("        queue: '{queue}'"));
    }
    lines.join("\n") + "\n"
}

/// Follows each advice until there is no error, and returns the file.
fn follow_all(dir: &Path, args: &str, case: &str) -> String {
    let mut seen = BTreeSet::new();
    loop {
        let router = std::fs::read_to_string(dir.join(ROUTER)).unwrap();
        let errors = errors(dir, args);
        let Some(first) = errors.first() else { return router };
        assert!(
            seen.insert(router.clone()),
            "{case}: the advice leads in a circle: {}: {}\n{router}",
            first.message,
            first.hint
        );
        put(dir, ROUTER, &follow(&router, first));
    }
}

/// Guards promise 8: the advice for a `v2`, for a namesake of another team, and for a name that was written in full is the same
/// with and without an older version, and keeps the queue.
#[test]
fn every_advice_can_be_followed() {
    // (what changed, the files beside v1, the older router, the new one)
    let cases: [(&str, &[(&str, String)], &str, &str); 5] = [
        ("a v2 of the service", &[("notify_v2.proto", service("acme.notify.v2"))], SHORT, SHORT),
        ("a namesake", &[("other.proto", service("other.team"))], SHORT, SHORT),
        ("written in full", &[], SHORT, FULL),
        ("written short", &[], FULL, SHORT),
        ("a v2 of the event", &[("card_v2.proto", event("acme.card.v2"))], SHORT, SHORT),
    ];
    for (case, files, older, newer) in cases {
        for first in ["", AGAINST] {
            let dir = tempfile::tempdir().unwrap();
            for root in ["proto", "old/proto"] {
                put(dir.path(), &format!("{root}/card_v1.proto"), &event("acme.card.v1"));
                put(dir.path(), &format!("{root}/notify_v1.proto"), &service("acme.notify.v1"));
            }
            for (name, text) in files {
                put(dir.path(), &format!("proto/{name}"), text);
            }
            put(dir.path(), "old/event_router.yaml", older);
            put(dir.path(), ROUTER, newer);
            let once = follow_all(dir.path(), first, case);
            let twice = follow_all(dir.path(), AGAINST, case);
            assert!(errors(dir.path(), "").is_empty(), "{case}: {twice}");
            let queue = advised(older, "id").unwrap();
            assert!(twice.contains(&format!(": '{queue}'")), "{case}: the queue is another one\n{twice}");
            if first == AGAINST {
                assert_eq!(once, twice, "{case}");
            }
        }
    }
}
