use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use outbox_console::{Access, Demo, Settings, router};
use serde_json::Value;

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
                if *path != "/events" {
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
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
        ("parked", "/parked"),
        ("repairs", "/repairs"),
        ("repair", "/repairs/01a212d6-7c1e-7f3c-92df-450a9015f003"),
        ("line", "/line"),
        ("routes", "/routes"),
        ("audit", "/audit"),
    ] {
        let (_, shown) = page(&console, path, operator()).await;
        let (_, main) = shown.split_once("<main").unwrap();
        let read = words(main.split("</main>").next().unwrap());
        let file = folder.join(format!("{name}.txt"));
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &read).unwrap();
        } else if read != expected {
            let _ = write!(wrong, "\n{}\nexpected:\n{expected}\nbut it reads:\n{read}\n", file.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The text of a page as it is read, a block on each line. What a form sends unseen is left out.
fn words(html: &str) -> String {
    let blocks = [
        "p", "h1", "h2", "h3", "li", "tr", "dt", "dd", "label", "button", "text", "section", "table", "code",
        "form",
    ];
    let mut out = String::new();
    for part in html.split('<').skip(1) {
        let (tag, rest) = part.split_once('>').unwrap_or((part, ""));
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
        if blocks.contains(&name) {
            out.push('\n');
        } else if matches!(name, "td" | "th" | "option" | "title") {
            out.push_str(" | ");
        }
        if tag.starts_with("input") {
            let of = |what: &str| {
                let value = tag.split_once(&format!("{what}=\"")).map_or("", |(_, rest)| rest);
                value.split('"').next().unwrap_or_default().to_owned()
            };
            if of("type") != "hidden" {
                out.push_str(&format!("[{}: {}]", of("name"), of("value")));
            }
        }
        out.push_str(rest);
    }
    let text = out.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    let lines = text.lines().map(|line| {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        line.trim_matches(['|', ' ']).to_owned()
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n") + "\n"
}
