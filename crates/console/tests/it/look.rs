use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use outbox_console::Demo;

use super::support::*;

/// Guards promise 8: colours, times and keys are chosen by links, so they need no script, and nothing else changes.
#[tokio::test]
async fn the_look_is_chosen_by_a_link() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let chosen = answer(&console, get("/look?to=dark&back=%2Fdead%3Fsince%3D1h", viewer())).await;
    assert_eq!(
        (chosen.status(), &chosen.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/dead?since=1h".parse().unwrap())
    );
    let cookie = chosen.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.starts_with("outbox_look=dark.utc.on; Path=/;") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let mut request = get("/dead", viewer());
    request.headers_mut().insert("cookie", cookie.split(';').next().unwrap().parse().unwrap());
    let shown = text(answer(&console, request).await).await;
    assert!(shown.contains("data-theme=\"dark\"") && shown.contains("content=\"dark\""), "{shown}");
    let away = answer(&console, get("/look?to=dark&back=https%3A%2F%2Fevil.example", viewer())).await;
    assert_eq!(away.headers()["location"], "/");
    assert_eq!(kept.0.changes(), []);
}

/// Guards: style and scripts are kept by browsers under an address with their version, and pages are never kept.
#[tokio::test]
async fn browsers_keep_what_has_a_version() {
    let console = console(Arc::new(Demo));
    let (_, shown) = page(&console, "/", viewer()).await;
    for name in ["console.css", "console.js", "htmx.js"] {
        let (_, rest) = shown.split_once(&format!("/{name}?v=")).unwrap_or_else(|| panic!("{name}: {shown}"));
        let path = format!("/{name}?v={}", rest.split('"').next().unwrap());
        let asset = answer(&console, get(&path, viewer())).await;
        assert_eq!(asset.status(), StatusCode::OK);
        assert!(asset.headers()["cache-control"].to_str().unwrap().contains("immutable"), "{name}");
        assert!(asset.headers().contains_key("content-security-policy"));
    }
    assert_eq!(answer(&console, get("/", viewer())).await.headers()["cache-control"], "no-store");
}

/// As browsers ask.
fn zipped(path: &str) -> Request<Body> {
    let mut request = get(path, operator());
    request.headers_mut().insert("accept-encoding", "gzip, deflate, br, zstd".parse().unwrap());
    request
}

/// Guards: style and scripts are compressed, and small. No page is: a form's token stands beside what its address says.
#[tokio::test]
async fn only_assets_are_compressed() {
    let console = console(Arc::new(Demo));
    let mut bytes = 0;
    for path in ["/console.css", "/console.js", "/htmx.js"] {
        let asset = answer(&console, zipped(path)).await;
        let (encoding, vary) = (&asset.headers()["content-encoding"], &asset.headers()["vary"]);
        assert!(encoding == "gzip" && vary == "accept-encoding", "{path}: {:?}", asset.headers());
        bytes += asset.into_body().collect().await.unwrap().to_bytes().len();
        let whole = answer(&console, get(path, operator())).await;
        assert!(!whole.headers().contains_key("content-encoding"), "{path}: a client may not take it");
    }
    assert!((1024..=24 * 1024).contains(&bytes), "{bytes} bytes");
    for path in PAGES.into_iter().chain(["/live", "/events?name=reflected"]) {
        let page = answer(&console, zipped(path)).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert!(!page.headers().contains_key("content-encoding"), "{path}");
    }
}

/// Guards: only a page that changes by itself has the script of others, and no attribute of a page is code.
#[tokio::test]
async fn no_attribute_is_code() {
    let console = console(Arc::new(Demo));
    for path in PAGES {
        let (_, shown) = page(&console, path, operator()).await;
        let is_live = path == "/" || path.starts_with("/repairs");
        assert_eq!(shown.contains("htmx.js"), is_live, "{path}");
        for code in ["hx-on", "js:", "javascript:", "hx-vals", " onclick", " onload"] {
            assert!(!shown.contains(code), "{path}: {code}");
        }
    }
}
