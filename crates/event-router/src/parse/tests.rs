use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const GOOD: &str = "event:
  - name: 'event_hoge_updated'                          # when this event is published
    subscriber:
      - id: 'NotificationService/NotifyHogeUpdated'     # this RPC runs
        timeout: 5s
        concurrency: 32
        rate_per_second: 50
        max_attempts: 4
        backoff: { min: 100ms, max: 1m }
      - id: acme.v1.AuditService/Record
  - name: event_nobody_listens
    subscriber: []
";

/// Guards: the documented keys work, with and without a delivery policy.
#[test]
fn a_good_file_gives_routes_and_policies() {
    let router = Router::parse("event_router.yaml", GOOD).unwrap();
    let names: Vec<_> = router.subscribers("event_hoge_updated").iter().map(Rpc::as_str).collect();
    assert_eq!(names, ["NotificationService/NotifyHogeUpdated", "acme.v1.AuditService/Record"]);
    assert!(router.subscribers("event_nobody_listens").is_empty());
    assert!(router.subscribers("event_unknown").is_empty());

    let policies: BTreeMap<_, _> = router.rpcs().map(|(rpc, policy)| (rpc.as_str(), *policy)).collect();
    assert_eq!(
        policies["NotificationService/NotifyHogeUpdated"],
        Policy {
            timeout: Duration::from_secs(5),
            concurrency: 32,
            rate_per_second: Some(50),
            max_attempts: 4,
            backoff: Backoff { min: Duration::from_millis(100), max: Duration::from_secs(60) },
        }
    );
    assert_eq!(policies["acme.v1.AuditService/Record"], Policy::default());
}

/// Guards promise 3: an RPC that moved keeps the name of its queue, under which its successes are remembered.
#[test]
fn a_queue_keeps_its_name_when_its_rpc_moves() {
    let text = "event:\n  - name: event_a\n    package: acme.card.v1\n    subscriber:\n      - id: acme.v2.A/B\n        queue: A/B\n      - id: A/C\n";
    let router = Router::parse("event_router.yaml", text).unwrap();
    let routes: Vec<_> = router.routes().map(|it| (it.rpc.as_str(), it.called.as_str())).collect();
    assert_eq!(routes, [("A/B", "acme.v2.A/B"), ("A/C", "A/C")]);
    assert_eq!(router.called(&Rpc::new("A/B").unwrap()).as_str(), "acme.v2.A/B");
    assert_eq!(router.called(&Rpc::new("No/Such").unwrap()).as_str(), "No/Such");
    assert_eq!(router.package("event_a"), Some("acme.card.v1"));
    assert_eq!(router.packages().collect::<Vec<_>>(), [("event_a", "acme.card.v1")]);
}

/// Guards: every mistake is reported with its line, what is wrong and what to write instead.
#[test]
fn every_mistake_has_a_line_and_a_hint() {
    let subscriber =
        |line: &str| format!("event:\n  - name: event_a\n    subscriber:\n      - id: A/B\n        {line}\n");
    let cases: Vec<(String, usize, &str, &str)> = vec![
        (String::new(), 1, "the file is empty", "begin with `event:`"),
        ("event: [\n".into(), 1, "not valid YAML", "indent with spaces"),
        ("event:\n\t- name: a\n".into(), 2, "not valid YAML", "indent with spaces"),
        ("event: []\nevent: []\n".into(), 2, "`event` is written twice in one map, first on line 1", "keep one of them"),
        ("events: []\n".into(), 1, "unknown key `events` in the file", "did you mean `event`?"),
        ("- a\n".into(), 1, "the file is a list, not a map", "event: …"),
        ("event: 3\n".into(), 1, "`event` is a number, not a list", "with a dash"),
        ("event:\n  - event_a\n".into(), 2, "an event is a text, not a map", "name: …"),
        ("event:\n  - subscriber: []\n".into(), 2, "an event has no `name`", "add name:"),
        ("event:\n  - name: 7\n    subscriber: []\n".into(), 2, "`name` of an event is a number", "write name:"),
        ("event:\n  - name: ''\n    subscriber: []\n".into(), 2, "`name` of an event is empty", "write name:"),
        ("event:\n  - name: HogeUpdated\n    subscriber: []\n".into(), 2, "not lower_snake_case", "'event_hoge_updated'"),
        ("event:\n  - name: EVENT_A\n    subscriber: []\n".into(), 2, "not lower_snake_case", "'event_a'"),
        ("event:\n  - name: event_a\n".into(), 2, "event 'event_a' has no `subscriber`", "list the RPCs"),
        (
            "event:\n  - name: event_a\n    subscriber: []\n  - name: event_a\n    subscriber: []\n".into(),
            4,
            "listed twice, first on line 2",
            "one list",
        ),
        ("event:\n  - name: event_a\n    subscribers: []\n".into(), 3, "unknown key `subscribers`", "`subscriber`?"),
        ("event:\n  - name: event_a\n    subscriber: A/B\n".into(), 3, "`subscriber` is a text, not a list", "dash"),
        ("event:\n  - name: event_a\n    subscriber:\n      - id: Notify\n".into(), 4, "does not name an RPC", "Service/Method"),
        ("event:\n  - name: event_a\n    subscriber:\n      - id: A/B/C\n".into(), 4, "does not name an RPC", "Service/Method"),
        ("event:\n  - name: event_a\n    subscriber:\n      - timeout: 1s\n".into(), 4, "a subscriber has no `id`", "add id:"),
        (subscriber("tiemout: 1s"), 5, "unknown key `tiemout` in a subscriber", "did you mean `timeout`?"),
        (subscriber("colour: red"), 5, "unknown key `colour`", "known here: id, queue, timeout"),
        (subscriber("timeout: 10"), 5, "`timeout` is not a duration", "add the unit"),
        (subscriber("timeout: soon"), 5, "`timeout` is not a duration", "number and its unit"),
        (subscriber("timeout: 2h"), 5, "`timeout` is 2h; at most 15m is allowed", "answers at once and works on"),
        (subscriber("timeout: 1ms"), 5, "from 10ms to 15m", "for example timeout: 10s"),
        (subscriber("backoff: { max: 13h }"), 5, "`max` is 13h; at most 12h", "a queue hides"),
        (subscriber("concurrency: 0"), 5, "`concurrency` is not a whole number from 1 to 1000", "concurrency: 8"),
        (subscriber("concurrency: many"), 5, "`concurrency` is not a whole number", "concurrency: 8"),
        (subscriber("rate_per_second: 0"), 5, "`rate_per_second` is not a whole number", "rate_per_second: 8"),
        (subscriber("max_attempts: 1.5"), 5, "`max_attempts` is not a whole number", "max_attempts: 8"),
        (subscriber("max_attempts: 010"), 5, "read differently by different readers", "whole numbers in digits"),
        (subscriber("timeout: 1.5s"), 5, "`timeout` is not a duration", "number and its unit"),
        (subscriber("<<: { timeout: 5s }"), 5, "`<<` is a merge for some readers", "write the keys out"),
        (subscriber("timeout: !!str 5s"), 5, "the tag `!!str` is read differently", "remove it"),
        (subscriber("timeout: *t"), 5, "there is no anchor `&t` before this", "its anchor above"),
        (subscriber("timeout: &t\n          5s\n        backoff: { min: *t }"), 5, "an anchor stands at the end of a line", "before a value"),
        ("event: []\n---\n".into(), 2, "the file has a second document", "remove the line"),
        (format!("event: {}{}\n", "[".repeat(300), "]".repeat(300)), 1, "more than 255 deep", "a list of subscribers"),
        (subscriber("queue: 7"), 5, "`queue` of a subscriber is a number", "write queue:"),
        (subscriber("queue: ''"), 5, "`queue` of a subscriber is empty", "write queue:"),
        (subscriber("queue: cards"), 5, "'cards' does not name a queue", "Service/Method"),
        (
            "event:\n  - name: event_a\n    package: 7a\n    subscriber: []\n".into(),
            3,
            "'7a' is not a package of proto",
            "acme.card.v1",
        ),
        (
            "event:\n  - name: event_a\n    subscriber:\n      - id: v1.A/B\n        queue: A/B\n      - id: A/B\n".into(),
            6,
            "the queue 'A/B' is that of 'v1.A/B' on line 4",
            "the same `id` in both places",
        ),
        (
            "event:\n  - name: event_a\n    subscriber:\n      - id: v1.A/B\n        queue: A/B\n      - id: v1.A/B\n".into(),
            6,
            "'v1.A/B' has another queue on line 4, 'A/B'",
            "the same `queue` in both places",
        ),
        (subscriber("backoff: 1s"), 5, "`backoff` is a text, not a map", "min: …"),
        (subscriber("backoff: { minimum: 1s }"), 5, "unknown key `minimum` in `backoff`", "known here: min, max"),
        (subscriber("backoff: { min: 1m, max: 1s }"), 5, "may not exceed 1s", "make min smaller"),
        (
            "event:\n  - name: event_a\n    subscriber:\n      - id: A/B\n      - id: A/B\n".into(),
            5,
            "'A/B' subscribes to 'event_a' twice",
            "remove one",
        ),
        (
            "event:\n  - name: event_a\n    subscriber:\n      - id: A/B\n  - name: event_b\n    subscriber:\n      - id: A/B\n        timeout: 1s\n".into(),
            7,
            "another delivery policy on line 4",
            "the same in both places",
        ),
    ];
    for (text, line, message, hint) in cases {
        let findings = Router::parse("event_router.yaml", &text).expect_err(&text);
        let shown = findings.to_string();
        let [finding] = findings.findings() else { panic!("{shown}") };
        assert_eq!(finding.place.line, line, "{shown}");
        assert!(finding.message.contains(message), "{shown}");
        assert!(finding.hint.contains(hint), "{shown}");
        assert!(shown.contains(&format!("event_router.yaml:{line}:")), "{shown}");
    }
}

/// Guards: one run reports every mistake, in the order of the lines.
#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "event:\n  - name: A\n    subscriber: []\n  - name: event_b\n    subscriber:\n      - id: nope\n        x: 1\n";
    let findings = Router::parse("event_router.yaml", text).unwrap_err();
    assert_eq!(findings.findings().iter().map(|finding| finding.place.line).collect::<Vec<_>>(), [2, 6, 7]);
}

/// Asserts that a text gives a router, or mistakes that have a place in the file and can be shown.
fn is_understood_or_refused(text: &str) {
    if let Err(report) = Router::parse("event_router.yaml", text) {
        let lines = text.lines().count().max(1);
        for finding in report.findings() {
            let place = &finding.place;
            // A key that is missing at the end is reported behind the last line.
            assert!((1..=lines + 1).contains(&place.line) && place.column > 0, "{place} of {lines} lines");
            assert!(!finding.message.is_empty() && !finding.hint.is_empty());
        }
        assert!(report.to_string().contains("event_router.yaml:"));
    }
}

/// One typing mistake at any place of the file.
fn slip() -> impl Strategy<Value = (Index, Index, String)> {
    let with = prop_oneof![
        "[ \\n\\t:'\"{}\\[\\]&*!|>%@,#ae01é-]{0,3}",
        Just("\n      - id: NotificationService/NotifyHogeUpdated".to_owned()),
        Just("<<: *a".to_owned()),
        Just("\u{feff}".to_owned()),
        any::<String>(),
    ];
    (any::<Index>(), any::<Index>(), with)
}

proptest! {
    /// Guards: any text gives a router or an error with a place, and never a panic.
    #[test]
    fn no_text_panics(text in any::<String>()) {
        is_understood_or_refused(&text);
    }

    /// Guards: so does any text that looks like YAML.
    #[test]
    fn no_yaml_panics(text in "([ ]{0,4}(- )?(event|name|subscriber|id|timeout|backoff|a|1|1s|~|\\[|\\{|&a|\\*a|'|\")?:? ?[a-z{}\\[\\],]{0,3}\n){0,8}") {
        is_understood_or_refused(&text);
    }

    /// Guards: so does a good file with typing mistakes: up to 12 characters removed, others added.
    #[test]
    fn no_slip_panics(slips in vec(slip(), 1..4)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (from, more, with) in slips {
            let from = from.index(text.len() + 1);
            let to = (from + more.index(13)).min(text.len());
            text.splice(from..to, with.chars());
        }
        is_understood_or_refused(&text.into_iter().collect::<String>());
    }
}
