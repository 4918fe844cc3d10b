use std::sync::Arc;

use axum::http::StatusCode;
use outbox_console::{Access, Demo, Settings, router};
use serde_json::Value;

use super::golden::read_as_before;
use super::support::*;

const BYTES_MAX: usize = 60 * 1024;

/// Guards promise 8: every page answers, is small, names the command that answers the same, and needs nothing from elsewhere.
#[tokio::test]
async fn every_page_answers() {
    let console = console(Arc::new(Demo));
    for path in PAGES.iter().chain(&["/routes"]) {
        let (status, shown) = page(&console, path, operator()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {shown}");
        assert!(shown.len() <= BYTES_MAX, "{path}: {} bytes", shown.len());
        assert!(shown.contains("<code>outbox "), "{path}");
        assert!(!shown.contains(" style=") && !shown.contains("onclick"), "{path}");
        for outside in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
            assert!(!shown.contains(outside), "{path}: {outside}");
        }
        let mut request = get(path, operator());
        request.headers_mut().insert("accept", "application/json".parse().unwrap());
        let json = text(answer(&console, request).await).await;
        assert!(serde_json::from_str::<Value>(&json).is_ok(), "{path}: {json}");
    }
    let (status, _) = page(&console, "/nothing", operator()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// Guards: a line with hundreds of RPCs, groups and processes has pages that are as small, and what is not well comes first.
#[tokio::test]
async fn a_big_line_has_small_pages() {
    let console = console(Arc::new(Many));
    for path in ["/", "/dead", "/line"] {
        let (status, shown) = page(&console, path, operator()).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(shown.len() <= BYTES_MAX, "{path}: {} bytes", shown.len());
        assert!(shown.contains(" more"), "{path} says that there are more");
    }
}

/// Guards: no payload, value of a header or password is in any page or JSON, whatever an answer has.
#[tokio::test]
async fn no_secret_is_shown() {
    for (console, status) in [
        (console(Arc::new(Planted)), StatusCode::OK),
        (console(Arc::new(Down)), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        for path in PAGES.iter().chain(&["/routes"]) {
            for accept in ["text/html", "application/json"] {
                let mut request = get(path, operator());
                request.headers_mut().insert("accept", accept.parse().unwrap());
                let response = answer(&console, request).await;
                // These ask nothing yet.
                if !["/events", "/replay"].contains(path) {
                    assert_eq!(response.status(), status, "{path}");
                }
                let shown = text(response).await;
                assert!(!shown.contains("PLANTED"), "{path} {accept}: {shown}");
            }
        }
    }
}

/// Guards: below a path of a proxy, every address of the console begins with it.
#[tokio::test]
async fn a_base_path_is_in_every_address() {
    let settings = Settings { base_path: "/outbox".to_owned(), ..settings(Access::Mounted) };
    let console = router(Arc::new(Demo), settings).unwrap();
    let first = answer(&console, get("/outbox", operator())).await;
    assert_eq!(first.headers()["location"], "/outbox/");
    for path in PAGES {
        let (status, shown) = page(&console, &format!("/outbox{path}"), operator()).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        for begins in ["href=\"/", "src=\"/", "action=\"/"] {
            for (at, _) in shown.match_indices(begins) {
                let address = shown[at + begins.len() - 1..].split('"').next().unwrap();
                assert!(address.starts_with("/outbox/"), "{path}: {address}");
            }
        }
    }
}

/// Guards: text of others is text.
#[tokio::test]
async fn what_is_entered_is_escaped() {
    let console = console(Arc::new(Demo));
    let (_, shown) = page(&console, "/events?key=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22x", operator()).await;
    assert!(!shown.contains("<script>alert") && shown.contains("&lt;script&gt;"), "{shown}");
}

/// Guards promise 8: an operator reads what is stuck. After a change of wording `BLESS=1 cargo test -p outbox-console`, and read
/// the difference.
#[tokio::test]
async fn pages_read_as_before() {
    let console = console(Arc::new(Demo));
    let mut wrong = String::new();
    for (name, path) in [
        ("now", "/"),
        ("dead", "/dead"),
        ("letter", "/dead/letter/43120"),
        ("redrive", PAGES[3]),
        ("rpc_full", RPC),
        ("rpc_paused", "/rpc/LoyaltyService/Grant"),
        ("event", EVENT),
        ("events", "/events?key=card-37"),
        ("replay", REPLAY),
        ("parked", "/parked"),
        ("repairs", "/repairs"),
        ("repair", "/repairs/01a212d6-7c1e-7f3c-92df-450a9015f003"),
        ("repair_stopped", "/repairs/01a212d6-6b02-7f3c-92df-450a9015f004"),
        ("line", "/line"),
        ("routes", "/routes"),
        ("audit", "/audit"),
    ] {
        wrong += &read_as_before(name, &page(&console, path, operator()).await.1);
    }
    assert!(wrong.is_empty(), "{wrong}");
}
