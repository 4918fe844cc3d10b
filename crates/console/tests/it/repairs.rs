use std::sync::Arc;

use axum::http::StatusCode;

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
