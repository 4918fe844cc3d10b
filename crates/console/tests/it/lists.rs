//! Lists that are cut, empty or long, and what their numbers are.

use std::sync::Arc;

use axum::http::StatusCode;
use outbox_console::Refusal;
use serde_json::{Value, json};

use super::support::*;

/// Guards promise 8: a list that is cut says that there is more.
#[tokio::test]
async fn a_list_that_is_cut_says_so() {
    let console = console(Arc::new(Many));
    for path in [
        "/",
        "/dead",
        "/line",
        "/audit",
        "/repairs",
        "/parked",
        "/routes",
        "/events?key=card-37",
        REPLAY,
        EVENT,
    ] {
        let (status, shown) = page(&console, path, operator()).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let says = [" more", "There may be more", "are shown"].iter().any(|words| shown.contains(words));
        assert!(says, "{path}: {shown}");
    }
}

/// Guards promise 8: of many findings those that must be repaired come first, and the others are counted.
#[tokio::test]
async fn the_worst_finding_comes_first() {
    let finding = |severity: &str, n: usize| json!({"severity": severity, "place": "cards", "message": format!("{severity} {n}"), "hint": null});
    let findings: Vec<Value> =
        (0..20).map(|n| finding("skipped", n)).chain([finding("warning", 1), finding("error", 1)]).collect();
    let report = json!({"errors": 1, "warnings": 1, "findings": findings});
    let console = console(Arc::new(Instead("doctor", report)));
    let (_, shown) = page(&console, "/line", operator()).await;
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text}: {shown}"));
    assert!(at("error 1") < at("warning 1") && at("warning 1") < at("skipped 0"));
    assert!(shown.contains("0 ok, 20 skipped, 1 warning, 1 error"), "{shown}");
    assert!(shown.contains("7 more findings"), "{shown}");
}

/// Guards promise 8: a statement to copy is whole, with its lines.
#[tokio::test]
async fn a_statement_is_copied_whole() {
    let hint = format!("grant a to b;\n{}grant c to d;", "-- why\n".repeat(250));
    let finding = json!({"severity": "warning", "place": "cards", "message": "x", "hint": hint});
    let report = json!({"errors": 0, "warnings": 1, "findings": [finding]});
    let console = console(Arc::new(Instead("doctor", report)));
    let (_, shown) = page(&console, "/line", operator()).await;
    assert!(shown.contains(&format!("data-copy=\"{hint}\"")), "{shown}");
}

/// Guards promise 8: the state of a process, and which routes differ, are those of `outbox status`.
#[tokio::test]
async fn the_line_says_what_the_command_says() {
    let mut status = of_demo(&["status"]).await;
    let states = ["silent", "ready", "waits", "report not readable"];
    for (process, state) in status["processes"].as_array_mut().unwrap().iter_mut().zip(states) {
        process["state"] = json!(state);
    }
    status["differing"] = json!([{
        "source": "ledger", "processes": ["relay r2"], "digest": "81c2aa90", "usual": "3f9a77c1", "others": 2,
        "differences": ["lacks A/B (event_one)"],
    }]);
    let (_, shown) = page(&console(Arc::new(Instead("status", status.clone()))), "/line", operator()).await;
    for text in states.iter().chain(&[
        "2 versions of event_router.yaml are in use",
        "ledger",
        "relay r2",
        "The former lacks A/B (event_one).",
    ]) {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    status["differing"] = json!([]);
    let (_, shown) = page(&console(Arc::new(Instead("status", status))), "/line", operator()).await;
    assert!(shown.contains("all have the same routes"), "{shown}");
}

/// Guards promise 8: a number that is counted to its end is whole.
#[tokio::test]
async fn what_is_counted_to_its_end_is_whole() {
    let mut status = of_demo(&["status"]).await;
    for process in status["processes"].as_array_mut().unwrap() {
        for rpc in process["rpcs"].as_array_mut().unwrap() {
            rpc["minute"]["ended"] = json!(12_345);
        }
    }
    let console = console(Arc::new(Instead("status", status)));
    for path in ["/", RPC] {
        let (_, shown) = page(&console, path, operator()).await;
        assert!(shown.contains("24,690") || shown.contains("12,345"), "{path}: {shown}");
    }
}

/// Guards promise 8: where nothing was entered JSON is refused, as the command is, and a filter is named where nothing fits.
#[tokio::test]
async fn nothing_entered_is_no_empty_answer() {
    let console = console(Arc::new(Instead("audit", json!([]))));
    for path in ["/events", "/replay"] {
        let mut request = get(path, operator());
        request.headers_mut().insert("accept", "application/json".parse().unwrap());
        assert_eq!(answer(&console, request).await.status(), StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(page(&console, path, operator()).await.0, StatusCode::OK, "{path}");
    }
    for (path, text) in [("/audit", "No repairs."), ("/audit?who=eve", "No entry fits.")] {
        let (_, shown) = page(&console, path, operator()).await;
        assert!(shown.contains(text), "{path}: {shown}");
    }
}

/// Guards promise 8: a search has an end, and a time that is not offered stays as it was entered.
#[tokio::test]
async fn a_search_has_an_end() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let (_, shown) = page(&console, "/events?name=event_one&since=2h&until=30m", operator()).await;
    let asked = kept.0.asked().into_iter().find(|question| question.words[0] == "find").unwrap();
    assert_eq!(asked.words, ["find", "--name=event_one", "--since=2h", "--until=30m", "--limit=60"]);
    assert!(shown.contains("<option value=\"2h\" selected>2h</option>"), "{shown}");
    assert!(shown.contains("name=\"until\" value=\"30m\""), "{shown}");
}

/// Guards promise 8: letters on SQS have no order, and are not said to be the newest.
#[tokio::test]
async fn letters_without_an_order_are_not_the_newest() {
    for (source, text, other) in
        [("cards", "The newest 20 are shown.", "in no order"), ("sqs", "in no order", "The newest")]
    {
        let letter = json!({"source": source, "id": "1", "rpc": "A/B", "code": "internal", "reason": "x"});
        let console = console(Arc::new(Instead("dlq list", json!(vec![letter; 20]))));
        let (_, shown) = page(&console, RPC, operator()).await;
        assert!(shown.contains(text) && !shown.contains(other), "{source}: {shown}");
    }
}

/// Guards promise 8: a repair offers what its command would still do, with the command of this installation.
#[tokio::test]
async fn a_repair_has_the_command_of_its_installation() {
    let repair = "/repairs/01a212d6-6b02-7f3c-92df-450a9015f004";
    let refusal = Refusal { code: 1, problem: String::new(), remedy: String::new() };
    let console = console(Arc::new(Refusing("routes", refusal)));
    let (_, shown) = page(&console, repair, operator()).await;
    let command = "outbox repair continue 01a212d6-6b02-7f3c-92df-450a9015f004 --transport=aws";
    assert!(shown.contains(command), "{shown}");
    let mut found = of_demo(&["repair", "show", "01a212d6-6b02-7f3c-92df-450a9015f004"]).await;
    found[0]["can"] = json!([]);
    let console = super::support::console(Arc::new(Instead("repair show", found)));
    let (_, shown) = page(&console, repair, operator()).await;
    assert!(!shown.contains("What can be done") && !shown.contains("method=\"post\""), "{shown}");
}
