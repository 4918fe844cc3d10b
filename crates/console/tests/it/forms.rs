//! What is said of forms that were refused, failed in part, or did nothing; and of searches and counts that did not reach all.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use outbox_console::{Answer, Answering, Ask, Demo, Question, Refusal, Viewer};
use serde_json::{Value, json};

use super::support::*;

const ID: &str = "01a212d6-6b02-7f3c-92df-450a9015f004";
const PARKED: &str = "01a212d5-0001-7f3c-92df-450a9015f002";
const REDRIVE: &str = "rpc=A%2FB&code=internal&dead_by=2026-11-22T13:11:42.000000Z&rate=50";

/// The demo's answers, but for one command. Changes succeed.
#[derive(Debug, Clone)]
struct Instead {
    /// How it begins.
    command: &'static str,
    says: Says,
    kept: Shared,
}

#[derive(Debug, Clone)]
enum Says {
    Json(Value),
    /// Refuses after this time.
    Late(Duration),
    Never,
    Panics,
}

impl Ask for Instead {
    fn ask(&self, question: Question) -> Answering {
        let is_it = question.words.join(" ").starts_with(self.command);
        let usual = self.kept.ask(question);
        match self.says.clone() {
            _ if !is_it => usual,
            Says::Json(json) => Box::pin(async move { Ok(Answer { json }) }),
            Says::Late(time) => Box::pin(async move {
                tokio::time::sleep(time).await;
                let problem = "another redrive runs for A/B".to_owned();
                Err(Refusal { code: 1, problem, remedy: "wait for it".to_owned() })
            }),
            Says::Never => Box::pin(std::future::pending()),
            Says::Panics => panic!("a mistake of ours"),
        }
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

fn with(command: &'static str, says: Says) -> (Router, Shared) {
    let kept = Shared::default();
    (console(Arc::new(Instead { command, says, kept: kept.clone() })), kept)
}

fn boss() -> Viewer {
    Viewer { name: "ann".to_owned(), may_repair: true, may_destroy: true, ..Viewer::default() }
}

/// Sends a form with the token of a page that has one.
async fn sent(console: &Router, to: &str, fields: &str) -> Response {
    let token = form_token(&page(console, RPC, boss()).await.1);
    answer(console, post(to, boss(), ORIGIN, &format!("form_token={token}&{fields}"))).await
}

/// Guards promise 8: a form that failed in part, or did nothing, does not look as if all was done.
#[tokio::test]
async fn what_a_form_did_not_do_is_shown() {
    let give_up = format!("{RPC}/give-up");
    for (command, to, fields, said, shows) in [
        (
            "queue retry",
            format!("{RPC}/retry"),
            "",
            json!({"found": 900, "changed": 500, "failed": "password=PLANTED is wrong"}),
            "It failed",
        ),
        (
            "queue give-up",
            give_up.clone(),
            "event=7&why=x",
            json!({"found": 1, "changed": 0}),
            "Nothing was changed",
        ),
        (
            "queue give-up",
            give_up,
            "event=7&why=x",
            json!({"found": 9, "changed": 4, "more": true}),
            "There may be more",
        ),
        (
            "parked retry",
            format!("/parked/{PARKED}/retry"),
            "",
            json!({"found": 0, "changed": 0, "not_parked": [PARKED]}),
            "Not parked",
        ),
        (
            "parked retry",
            format!("/parked/{PARKED}/retry"),
            "",
            json!({"changed": 0, "cut": 1}),
            "can't be retried",
        ),
        (
            "queue drop",
            "/drop".to_owned(),
            "what=queue&rpc=A%2FB&typed=B&why=x",
            json!({"found": null, "dropped": 7, "removed": false}),
            "The queue is still there",
        ),
        (
            "dlq redrive",
            "/dead/redrive".to_owned(),
            REDRIVE,
            json!({"found": 2, "moved": 1, "busy": 1}),
            "1 stay",
        ),
        (
            "repair undo",
            format!("/repairs/{ID}/undo"),
            "",
            json!({"taken_back": 0, "begun": 4}),
            "Nothing was taken back",
        ),
    ] {
        let (console, _) = with(command, Says::Json(said));
        let response = sent(&console, &to, fields).await;
        assert_eq!(response.status(), StatusCode::CONFLICT, "{to}");
        let shown = text(response).await;
        assert!(shown.contains(shows) && shown.contains("<code>outbox "), "{to}: {shown}");
        assert!(!shown.contains("PLANTED"), "{to}: {shown}");
    }
}

/// Guards promise 8: what a form says of its work is on the page that follows, for who sent it.
#[tokio::test]
async fn what_a_form_says_is_on_the_next_page() {
    for (what, said, shows) in [
        ("undo", json!({"of": ID, "taken_back": 60, "begun": 3}), "3 had begun"),
        (
            "stop",
            json!({"repair": ID, "said": "it was silent, and is ended now"}),
            "it was silent, and is ended now",
        ),
    ] {
        let (console, _) = with(if what == "undo" { "repair undo" } else { "repair stop" }, Says::Json(said));
        let response = sent(&console, &format!("/repairs/{ID}/{what}"), "").await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let next = response.headers()["location"].to_str().unwrap().to_owned();
        assert!(next.starts_with(&format!("/repairs/{ID}?said=")), "{next}");
        assert!(page(&console, &next, boss()).await.1.contains(shows), "{what}");
        assert!(!page(&console, &next, viewer()).await.1.contains(shows), "{what}");
        assert!(!page(&console, &format!("/repairs/{ID}?said=1"), boss()).await.1.contains(shows), "{what}");
    }
}

/// Guards promise 8: a repair that is refused late is refused on a page, and what is not known to be done is not shown as done.
#[tokio::test(start_paused = true)]
async fn a_late_refusal_is_shown() {
    let (console, _) = with("dlq redrive", Says::Late(Duration::from_secs(3)));
    let response = sent(&console, "/dead/redrive", REDRIVE).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let shown = text(response).await;
    assert!(shown.contains("another redrive runs for A/B") && shown.contains("wait for it"), "{shown}");
    for (command, to, fields) in
        [("dlq redrive", "/dead/redrive".to_owned(), REDRIVE), ("queue retry", format!("{RPC}/retry"), "")]
    {
        let (console, _) = with(command, Says::Never);
        let response = sent(&console, &to, fields).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{to}");
        let shown = text(response).await;
        assert!(shown.contains("is not known") && shown.contains("Audit"), "{to}: {shown}");
    }
}

/// Guards: a parked event is dropped by its typed name, also one that is not in the list, and by its id if its name can't be typed.
#[tokio::test]
async fn a_parked_event_is_dropped_by_what_is_typed() {
    let fields = |id: &str, typed: &str| format!("what=parked&id={id}&typed={typed}&why=x");
    let (console, kept) = with("none", Says::Never);
    for (id, typed, status) in [
        (ID, "", StatusCode::CONFLICT),
        (ID, ID, StatusCode::CONFLICT),
        (PARKED, "", StatusCode::BAD_REQUEST),
        (PARKED, PARKED, StatusCode::BAD_REQUEST),
    ] {
        let response = sent(&console, "/drop", &fields(id, typed)).await;
        assert_eq!(response.status(), status, "{id} {typed}");
    }
    assert_eq!(page(&console, &format!("/drop?what=parked&id={ID}"), boss()).await.0, StatusCode::CONFLICT);
    assert_eq!(kept.0.changes(), []);
    assert_eq!(
        sent(&console, "/drop", &fields(PARKED, "event_hoge_updated")).await.status(),
        StatusCode::SEE_OTHER
    );
    assert_eq!(kept.0.changes()[0].words, ["parked", "drop", PARKED, "--why=x", "--yes"]);
    let asked = kept.0.asked().iter().any(|asked| asked.words == ["parked", "list", PARKED]);
    assert!(asked, "the event is asked for by its id");

    let (console, kept) = with("parked list", Says::Json(json!([{"id": PARKED, "name": " "}])));
    let (_, shown) = page(&console, &format!("/drop?what=parked&id={PARKED}"), boss()).await;
    assert!(shown.contains(&format!("<strong>{PARKED}</strong>")), "{shown}");
    assert_eq!(sent(&console, "/drop", &fields(PARKED, "")).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(kept.0.changes(), []);
    assert_eq!(sent(&console, "/drop", &fields(PARKED, PARKED)).await.status(), StatusCode::SEE_OTHER);
}

/// Guards promise 8: a number at which counting stopped is not shown as the number of all.
#[tokio::test]
async fn a_drop_of_a_full_queue_says_where_counting_stopped() {
    let (console, _) = with("none", Says::Never);
    let (_, shown) = page(&console, "/drop?what=queue&rpc=A%2FB", boss()).await;
    assert!(shown.contains("Drop 10,000+ for good, and the queue"), "{shown}");
    assert!(!shown.contains("10,000 "), "{shown}");
}

/// Guards: an empty field does not mean all. All that are given up are counted first.
#[tokio::test]
async fn give_up_names_an_event_or_counts() {
    let (console, kept) = with("none", Says::Never);
    let path = format!("{RPC}/give-up");
    for fields in ["why=x", "event=+&why=x", "event=&code=internal&why=x", "all=&why=x", "all=waiting&why=x"]
    {
        let response = sent(&console, &path, fields).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{fields}");
    }
    assert_eq!(kept.0.changes(), []);
    let (_, shown) = page(&console, &format!("{path}?code=internal"), boss()).await;
    assert!(shown.contains("Give up 12") && shown.contains("name=\"all\" value=\"retrying\""), "{shown}");
    assert!(!page(&console, &path, viewer()).await.1.contains("method=\"post\""));
    let rpc = "--rpc=NotificationService/RemindReceipt";
    for (fields, words) in [
        ("event=7&why=x", &["queue", "give-up", rpc, "--event=7", "--reason=x", "--yes"][..]),
        (
            "all=retrying&code=internal&why=x",
            &["queue", "give-up", rpc, "--state=retrying", "--code=internal", "--reason=x", "--yes"],
        ),
        ("all=retrying&why=x", &["queue", "give-up", rpc, "--state=retrying", "--reason=x", "--yes"]),
    ] {
        assert_eq!(sent(&console, &path, fields).await.status(), StatusCode::SEE_OTHER, "{fields}");
        assert_eq!(kept.0.changes().pop().unwrap().words, words);
    }
}

/// Guards promise 8: what is listed can be given up, also while a call of it is under way and nothing counts as retrying.
#[tokio::test]
async fn what_is_called_just_now_can_be_given_up() {
    let row = json!([{"source": "cards", "rpc": "LoyaltyService/Grant", "event": ID, "state": "retrying", "attempts": 17}]);
    for (listed, shows) in [(json!([]), false), (row, true)] {
        let (console, _) = with("queue list", Says::Json(listed));
        let (_, shown) = page(&console, "/rpc/LoyaltyService/Grant", boss()).await;
        assert_eq!(shown.contains("/give-up"), shows, "{shown}");
        assert_eq!(shown.contains("Retry now"), shows, "{shown}");
    }
}

/// Guards promise 8: an event that was not searched for everywhere may exist.
#[tokio::test]
async fn a_search_that_did_not_reach_all_says_so() {
    let one = json!([{"source": "cards", "event": ID, "name": "event_one", "parked": false, "dead": []}]);
    for (events, whole, outbox_searched, shows) in [
        (json!([]), true, true, "No such event"),
        (json!([]), false, true, "Whether there is such an event is not known"),
        (json!([]), true, false, "No outbox and no parked events were searched"),
        (one.clone(), false, true, "Whether there are others is not known"),
        (one.clone(), true, false, "Whether there are others is not known"),
    ] {
        let said =
            json!({"events": events, "more": false, "whole": whole, "outbox_searched": outbox_searched});
        let (console, _) = with("find", Says::Json(said));
        let (status, shown) = page(&console, "/events?key=card-7", boss()).await;
        assert!(status == StatusCode::OK && shown.contains(shows), "{whole} {outbox_searched}: {shown}");
        assert_eq!(shown.contains("No such event"), shows == "No such event", "{shown}");
    }
    let more = json!({"events": one, "more": true, "whole": true, "outbox_searched": true});
    let (console, _) = with("find", Says::Json(more));
    let (_, shown) = page(&console, "/events?key=card-7", boss()).await;
    assert!(shown.contains("The newest 1 are shown") && !shown.contains("is not known"), "{shown}");
}

/// Guards SECURITY.md: also the answer after a mistake of ours has the headers that a browser needs.
#[tokio::test]
async fn a_panic_is_answered_with_every_header() {
    let (console, _) = with("dlq drop", Says::Panics);
    let response = answer(&console, get("/drop?what=letters&rpc=A%2FB", boss())).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
}

/// Guards: what no text can have is refused as what it is, by pages and forms, and no database is asked.
#[tokio::test]
async fn a_nul_is_refused() {
    let (console, kept) = with("none", Says::Never);
    for path in ["/events?key=a%00b", "/audit?who=%00x", "/dead?rpc=%00x", "/replay?since=1h&rpc=%00x"] {
        let (status, shown) = page(&console, path, boss()).await;
        assert!(status == StatusCode::BAD_REQUEST && shown.contains("NUL"), "{path}: {shown}");
    }
    for (to, fields) in [("pause", "for=1h&why=%00x"), ("give-up", "event=7&why=%00x")] {
        let response = sent(&console, &format!("{RPC}/{to}"), fields).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{to}");
    }
    assert_eq!(kept.0.changes(), []);
    assert!(kept.0.asked().iter().all(|asked| asked.words.iter().all(|word| !word.contains('\0'))));
}
