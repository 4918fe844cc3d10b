//! Pages that change by themselves, for as long as their viewers may look.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use outbox_console::{Access, Demo, Once, router};

use super::support::*;

const OPEN_MAX: usize = 200;

/// How many changes a page gets until its stream ends.
async fn beats(response: Response) -> usize {
    let (mut body, mut many) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap_or_default();
        many += usize::from(data.starts_with(b"data:"));
        assert!(many < 1000, "it goes on");
    }
    many
}

/// Guards SECURITY.md: an open page gets no more changes once its viewer may not look, though its request was allowed.
#[tokio::test(start_paused = true)]
async fn an_open_page_ends_with_the_right_to_look() {
    let once = Once::new(operator()).unwrap();
    let first = format!("/?token={}", once.token());
    let console = router(Arc::new(Demo), settings(Access::Once(once))).unwrap();
    let visit = |path: &str, cookie: &str| {
        Request::get(path).header("host", HOST).header("cookie", cookie).body(Body::empty()).unwrap()
    };
    let opened = answer(&console, visit(&first, "")).await;
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    tokio::time::advance(Duration::from_secs(12 * 60 * 60 - 21)).await;
    let live = answer(&console, visit("/live", &cookie)).await;
    assert_eq!((live.status(), beats(live).await), (StatusCode::OK, 10));
    assert_eq!(answer(&console, visit("/live", &cookie)).await.status(), StatusCode::UNAUTHORIZED);
}

/// Guards SECURITY.md: where a service says who may look, it says so again for a page that stays open.
#[tokio::test(start_paused = true)]
async fn an_open_page_asks_anew() {
    let console = console(Arc::new(Demo));
    let many = beats(answer(&console, get("/live", viewer())).await).await;
    assert!((30..=150).contains(&many), "{many}");
}

/// Guards: open pages have an end in number, and a page that is closed leaves its place to another.
#[tokio::test]
async fn open_pages_are_bounded() {
    let console = console(Arc::new(Demo));
    let mut open = Vec::new();
    for _ in 0..OPEN_MAX {
        open.push(answer(&console, get("/live", viewer())).await);
    }
    assert!(open.iter().all(|response| response.status() == StatusCode::OK));
    let refused = answer(&console, get("/live", viewer())).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page(&console, "/", viewer()).await.0, StatusCode::OK, "it is shown as it is now");
    open.pop();
    assert_eq!(answer(&console, get("/live", viewer())).await.status(), StatusCode::OK);
}
