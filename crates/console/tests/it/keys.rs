//! Keys and values of headers may be personal: who may search by them, and see them in lists.

use std::sync::Arc;

use axum::http::StatusCode;
use outbox_console::{Access, Allow, Demo, Settings, Tokens, Viewer, router};

use super::support::*;

const KEY: &str = "card-37";

/// Guards SECURITY.md: who may only look finds no event by its key or by the value of a header, and sees no key in a list. Those of
/// one event are shown.
#[tokio::test]
async fn only_those_who_may_repair_search_by_key() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let searches = Viewer { name: "eve".to_owned(), may_search_keys: true, ..viewer() };
    for (who, may) in [(viewer(), false), (searches, true), (operator(), true)] {
        for path in ["/events?key=card-37", "/events?header=tenant%3Dt-9", "/events?name=event_x&key=card-37"]
        {
            for accept in ["text/html", "application/json"] {
                let mut request = get(path, who.clone());
                request.headers_mut().insert("accept", accept.parse().unwrap());
                let response = answer(&console, request).await;
                let expected = if may { StatusCode::OK } else { StatusCode::FORBIDDEN };
                assert_eq!(response.status(), expected, "{path}");
            }
        }
        for path in ["/events?name=event_card_transaction_settled", "/parked", RPC, "/dead?since=1h"] {
            for accept in ["text/html", "application/json"] {
                let mut request = get(path, who.clone());
                request.headers_mut().insert("accept", accept.parse().unwrap());
                let response = answer(&console, request).await;
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                let shown = text(response).await;
                let lists_keys = path.starts_with("/events") || path == "/parked";
                let has_keys = lists_keys || path == RPC && accept == "application/json";
                let shows = shown.contains(KEY) || shown.contains("card-9");
                assert_eq!(shows, may && has_keys, "{path} {accept}: {shown}");
                assert!(may || !shown.contains("name=\"key\"") && !shown.contains("\"key\""), "{shown}");
                assert_eq!(shown.contains(">Key<"), may && lists_keys && accept == "text/html", "{path}");
            }
        }
        let (status, shown) = page(&console, EVENT, who).await;
        assert!(status == StatusCode::OK && shown.contains(KEY), "{shown}");
    }
    let by_value =
        |words: &[String]| words.iter().any(|word| word.starts_with("--key") || word.starts_with("--header"));
    for asked in kept.0.asked() {
        assert!(
            asked.who != "bob, console" || asked.words[0] != "find" || !by_value(&asked.words),
            "{asked:?}"
        );
    }
}

/// Guards: on a console that changes nothing, those who may repair elsewhere search as elsewhere, and others don't.
#[tokio::test]
async fn a_read_only_console_searches_as_others() {
    let tokens: Tokens =
        "ann operator ann-0123456789abcdefghij\nbob viewer bob-0123456789abcdefghij sre\neve viewer eve-0123456789abcdefghij\n"
            .parse()
            .unwrap();
    let allow = Allow::new(vec!["repair=group:sre".parse().unwrap()], true);
    let console = router(Arc::new(Demo), Settings { allow, ..settings(Access::Tokens(tokens)) }).unwrap();
    for (name, status) in [("ann", StatusCode::OK), ("bob", StatusCode::OK), ("eve", StatusCode::FORBIDDEN)] {
        let mut request = get("/events?key=card-37", viewer());
        let token = format!("Bearer {name}-0123456789abcdefghij");
        request.headers_mut().insert("authorization", token.parse().unwrap());
        let response = answer(&console, request).await;
        assert_eq!(response.status(), status, "{name}");
        assert!(!text(response).await.contains("method=\"post\""), "{name}");
    }
}
