use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use super::support::*;

const ID: &str = "01a212d6-6b02-7f3c-92df-450a9015f004";

async fn sent(page_path: &str, to: &str, fields: &str) -> (StatusCode, Vec<Vec<String>>) {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let token = form_token(&page(&console, page_path, operator()).await.1);
    let fields = format!("form_token={token}&{fields}");
    let response = answer(&console, post(to, operator(), ORIGIN, &fields)).await;
    (response.status(), kept.0.changes().into_iter().map(|question| question.words).collect())
}

/// Guards promise 8: a replay sends what was counted, with the brakes and the reason of the form, and all of it is no filter.
#[tokio::test]
async fn a_replay_is_bound_to_its_count() {
    let counted = "since=2026-11-22T01%3A12%3A22.000000Z&until=2026-11-22T13%3A12%3A22.000000Z&rpc=LedgerService%2FPost";
    let (status, changes) =
        sent(REPLAY, "/replay", &format!("{counted}&rate=50&stop-if-dead=5&why=INC-412")).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let words = [
        "replay",
        "--since=2026-11-22T01:12:22.000000Z",
        "--until=2026-11-22T13:12:22.000000Z",
        "--rpc=LedgerService/Post",
        "--rate=50",
        "--stop-if-dead=5",
        "--why=INC-412",
        "--run",
        "--yes",
    ];
    assert_eq!(changes, [words]);
    let console = console(Arc::new(outbox_console::Demo));
    let (_, shown) = page(&console, REPLAY, operator()).await;
    for (name, value) in [("since", "2026-11-22T01:12:22.000000Z"), ("until", "2026-11-22T13:12:22.000000Z")]
    {
        assert!(shown.contains(&format!("type=\"hidden\" name=\"{name}\" value=\"{value}\"")), "{shown}");
    }
    assert_eq!(
        sent(REPLAY, "/replay", "rpc=LedgerService%2FPost&rate=50").await,
        (StatusCode::BAD_REQUEST, vec![])
    );
}

/// Guards promise 8: limits and repairs are changed by the commands that the pages show.
#[tokio::test]
async fn forms_run_their_commands() {
    let repair = format!("/repairs/{ID}");
    for (shown, to, fields, expected) in [
        (
            RPC,
            format!("{RPC}/limit"),
            "concurrency=8&rate=&for=1h&why=it+is+slow",
            &[
                "limit",
                "--rpc=NotificationService/RemindReceipt",
                "--concurrency=8",
                "--for=1h",
                "--why=it is slow",
            ][..],
        ),
        (RPC, format!("{RPC}/unlimit"), "", &["limit", "--rpc=NotificationService/RemindReceipt", "--clear"]),
        (&repair, format!("{repair}/pause"), "", &["repair", "pause", ID]),
        (&repair, format!("{repair}/resume"), "", &["repair", "resume", ID]),
        (&repair, format!("{repair}/pace"), "rate=25", &["repair", "pace", ID, "--rate=25"]),
        (&repair, format!("{repair}/continue"), "", &["repair", "continue", ID]),
        (&repair, format!("{repair}/undo"), "", &["repair", "undo", ID]),
    ] {
        let (status, changes) = sent(shown, &to, fields).await;
        assert_eq!(
            (status, changes),
            (StatusCode::SEE_OTHER, vec![expected.iter().map(|word| (*word).to_owned()).collect()]),
            "{to}"
        );
    }
}

/// Guards promise 8: the page of a running repair offers a pause, and other rates. That of a paused one says who paused it, and offers to let
/// it go on. To a viewer it offers nothing.
#[tokio::test]
async fn a_running_repair_can_be_paced() {
    let running = "01a212d6-7c1e-7f3c-92df-450a9015f003";
    let path = format!("/repairs/{running}");
    let mut found = of_demo(&["repair", "show", running]).await;
    let held = json!({"rate": 25, "rate_by": "cy@vm", "paused_by": "ann@vm"});
    for (is_paused, offered, other) in [(false, "pause", "resume"), (true, "resume", "pause")] {
        if is_paused {
            found[0]["can"] = json!(["stop", "resume", "pace"]);
            for (name, value) in held.as_object().unwrap() {
                found[0]["progress"][name] = value.clone();
            }
        }
        let console = console(Arc::new(Instead("repair show", found.clone())));
        let (_, shown) = page(&console, &path, operator()).await;
        assert!(shown.contains(&format!("action=\"{path}/{offered}\"")), "{shown}");
        assert!(!shown.contains(&format!("action=\"{path}/{other}\"")), "{shown}");
        let half = if is_paused { 12 } else { 25 };
        assert!(
            shown.contains(&format!("<code>outbox repair pace {running} --rate={half}</code>")),
            "{shown}"
        );
        for says in ["by ann@vm", "set by cy@vm", "running, paused"] {
            assert_eq!(shown.contains(says), is_paused, "{says}: {shown}");
        }
        let (_, shown) = page(&console, &path, viewer()).await;
        assert!(!shown.contains("method=\"post\"") && !shown.contains("--rate="), "{shown}");
    }
}
