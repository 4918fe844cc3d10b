use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use outbox_console::{Access, Allow, Demo, Once, Settings, Viewer, router};

use super::support::*;

/// Guards: a console with another name, without a viewer, or with a wrong token shows nothing.
#[tokio::test]
async fn strangers_see_nothing() {
    let console = console(Arc::new(Demo));
    let mut renamed = get("/", operator());
    renamed.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(answer(&console, renamed).await.status(), StatusCode::MISDIRECTED_REQUEST);
    for path in PAGES.iter().chain(&["/console.css", "/live", "/nothing"]) {
        let unknown = Request::get(*path).header("host", HOST).body(Body::empty()).unwrap();
        let response = answer(&console, unknown).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
        );
        assert!(!text(response).await.contains("AfterPay"), "{path}");
    }
}

/// Guards: the printed address is for one browser, and becomes a cookie that no script and no other site can use.
#[tokio::test]
async fn the_printed_address_works_once() {
    let once = Once::new(operator()).unwrap();
    let first = format!("/?token={}", once.token());
    let console = router(Arc::new(Demo), settings(Access::Once(once))).unwrap();
    let visit = |path: &str, cookie: Option<&str>| {
        let request = Request::get(path).header("host", HOST);
        let request = cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
        request.body(Body::empty()).unwrap()
    };
    assert_eq!(answer(&console, visit("/", None)).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer(&console, visit("/?token=00", None)).await.status(), StatusCode::UNAUTHORIZED);
    let opened = answer(&console, visit(&first, None)).await;
    assert_eq!(
        (opened.status(), &opened.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/".parse().unwrap())
    );
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(answer(&console, visit("/", Some(pair))).await.status(), StatusCode::OK);
    assert_eq!(
        answer(&console, visit(&first, None)).await.status(),
        StatusCode::UNAUTHORIZED,
        "a second browser"
    );
    assert_eq!(
        answer(&console, visit("/", Some("outbox_console=00"))).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

/// Guards: two consoles of one machine, on two ports, both know their browser. It sends the cookies of both to each.
#[tokio::test]
async fn a_second_console_locks_out_no_first_one() {
    let mut jar = std::collections::BTreeMap::new();
    let visit = |path: &str, port: u16, cookies: &str| {
        let request = Request::get(path).header("host", format!("127.0.0.1:{port}"));
        request.header("cookie", cookies).body(Body::empty()).unwrap()
    };
    let consoles = [9466, 9467].map(|port| {
        let once = Once::new(operator()).unwrap();
        let first = format!("/?token={}", once.token());
        (port, first, router(Arc::new(Demo), settings(Access::Once(once))).unwrap())
    });
    for (port, first, console) in &consoles {
        let opened = answer(console, visit(first, *port, "")).await;
        let cookie = opened.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let (name, value) = cookie.split_once('=').unwrap();
        jar.insert(name.to_owned(), value.to_owned());
    }
    let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for (port, _, console) in &consoles {
        let shown = answer(console, visit("/", *port, &cookies.join("; "))).await;
        assert_eq!(shown.status(), StatusCode::OK, "{port}");
    }
}

/// Guards: who is not known keeps no connection, and an address is not so long that pages repeat much of it.
#[tokio::test]
async fn a_refused_request_ends_its_connection() {
    let console = console(Arc::new(Demo));
    let mut renamed = get("/", operator());
    renamed.headers_mut().insert("host", "evil.example".parse().unwrap());
    let long = format!("/events?name={}", "x".repeat(64_000));
    let unknown = Request::get("/").header("host", HOST).body(Body::empty()).unwrap();
    for (request, status) in [
        (renamed, StatusCode::MISDIRECTED_REQUEST),
        (unknown, StatusCode::UNAUTHORIZED),
        (get(&long, operator()), StatusCode::URI_TOO_LONG),
    ] {
        let response = answer(&console, request).await;
        assert!(response.status() == status && response.headers()["connection"] == "close", "{status}");
    }
    let longest = format!("/events?name={}", "%22".repeat(650));
    let (status, shown) = page(&console, &longest, operator()).await;
    assert!(status == StatusCode::OK && shown.len() < 60 * 1024, "{status} {}", shown.len());
}

/// Guards: a console that is read-only has no form, also in a service that says who may what.
#[tokio::test]
async fn a_mounted_console_can_be_read_only() {
    let allow = Allow::new(Vec::new(), true);
    let console = router(Arc::new(Demo), Settings { allow, ..settings(Access::Mounted) }).unwrap();
    let boss = Viewer { may_destroy: true, may_see_payloads: true, ..operator() };
    for path in PAGES {
        let (status, shown) = page(&console, path, boss.clone()).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!shown.contains("method=\"post\"") && !shown.contains("/drop"), "{path}");
    }
    let pause = post(&format!("{RPC}/pause"), boss, ORIGIN, "for=1h&why=x");
    assert_eq!(answer(&console, pause).await.status(), StatusCode::FORBIDDEN);
}

/// Guards: a header of a proxy counts only from a trusted network, once, and only named people may repair.
#[tokio::test]
async fn only_a_trusted_proxy_says_who_asks() {
    let header = Access::Header {
        name: "x-forwarded-email".parse().unwrap(),
        groups: None,
        trust: vec!["10.0.0.0/8".parse().unwrap()],
    };
    let allow = Allow::new(vec!["repair=ann".parse().unwrap()], false);
    let console = router(Arc::new(Demo), Settings { allow, ..settings(header) }).unwrap();
    let from = |peer: &str, names: &[&str]| {
        let peer: SocketAddr = format!("{peer}:5000").parse().unwrap();
        let request = Request::get(RPC).header("host", HOST).extension(ConnectInfo(peer));
        let request = names.iter().fold(request, |request, name| request.header("x-forwarded-email", *name));
        request.body(Body::empty()).unwrap()
    };
    for (peer, names, status) in [
        ("10.1.2.3", &["ann"][..], StatusCode::OK),
        ("10.1.2.3", &["bob"], StatusCode::OK),
        ("10.1.2.3", &[], StatusCode::UNAUTHORIZED),
        ("10.1.2.3", &[""], StatusCode::UNAUTHORIZED),
        ("10.1.2.3", &["bob", "ann"], StatusCode::UNAUTHORIZED),
        ("10.1.2.3", &["bob, ann"], StatusCode::UNAUTHORIZED),
        ("192.168.1.1", &["ann"], StatusCode::UNAUTHORIZED),
    ] {
        let response = answer(&console, from(peer, names)).await;
        assert_eq!(response.status(), status, "{peer} {names:?}");
        if status == StatusCode::OK {
            let has_form = text(response).await.contains("method=\"post\"");
            assert_eq!(has_form, names == ["ann"], "{names:?}");
        }
    }
}

/// Guards: the audit has from where it was asked. Behind a trusted proxy that is what the proxy itself has added.
#[tokio::test]
async fn the_audit_has_from_where_it_was_asked() {
    let header = || Access::Header {
        name: "x-forwarded-email".parse().unwrap(),
        groups: None,
        trust: vec!["10.0.0.0/8".parse().unwrap()],
    };
    for (forwarded, who) in [
        (&[] as &[&str], "ann at 10.1.2.3, console"),
        (&["203.0.113.7"], "ann at 203.0.113.7, console"),
        (&["127.0.0.1, 203.0.113.7"], "ann at 203.0.113.7, console"),
        (&["127.0.0.1", "203.0.113.7"], "ann at 203.0.113.7, console"),
        (&["::ffff:203.0.113.7"], "ann at 203.0.113.7, console"),
        (&["unknown"], "ann at 10.1.2.3, console"),
    ] {
        let kept = Shared::default();
        let allow = Allow::new(vec!["repair=ann".parse().unwrap()], false);
        let console = router(Arc::new(kept.clone()), Settings { allow, ..settings(header()) }).unwrap();
        let peer: SocketAddr = "10.1.2.3:5000".parse().unwrap();
        let request = |request: axum::http::request::Builder| {
            let request = request.header("host", HOST).header("x-forwarded-email", "ann");
            let request = request.extension(ConnectInfo(peer));
            forwarded.iter().fold(request, |request, of| request.header("x-forwarded-for", *of))
        };
        let shown = answer(&console, request(Request::get(RPC)).body(Body::empty()).unwrap()).await;
        let fields = format!("form_token={}&for=1h&why=x", form_token(&text(shown).await));
        let sent = request(Request::post(format!("{RPC}/pause")))
            .header("origin", ORIGIN)
            .header("content-type", "application/x-www-form-urlencoded");
        let response = answer(&console, sent.body(Body::from(fields)).unwrap()).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{forwarded:?}");
        assert_eq!(kept.0.changes()[0].who, who, "{forwarded:?}");
    }
}

/// Guards: a form of another site, without its token, or of a viewer changes nothing.
#[tokio::test]
async fn a_form_that_is_not_ours_changes_nothing() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let (_, shown) = page(&console, RPC, operator()).await;
    let token = form_token(&shown);
    let fields = format!("form_token={token}&for=1h&why=a+bad+deploy");
    let path = format!("{RPC}/pause");
    for (who, origin, fields) in [
        (viewer(), ORIGIN, fields.as_str()),
        (operator(), "http://evil.example", &fields),
        (operator(), "null", &fields),
        (operator(), ORIGIN, "for=1h&why=a+bad+deploy"),
        (operator(), ORIGIN, "form_token=00&for=1h&why=a+bad+deploy"),
    ] {
        let response = answer(&console, post(&path, who, origin, fields)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin} {fields}");
    }
    let another = outbox_console::Viewer { name: "eve".to_owned(), may_repair: true, ..Viewer::default() };
    assert_eq!(answer(&console, post(&path, another, ORIGIN, &fields)).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer(&console, get(&path, operator())).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(kept.0.changes(), []);
    assert_eq!(kept.0.refused(), [format!("bob, console --path={path}")]);
    let done = answer(&console, post(&path, operator(), ORIGIN, &fields)).await;
    assert_eq!((done.status(), done.headers()["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, RPC));
    let changes = kept.0.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0].words,
        ["pause", "--rpc=NotificationService/RemindReceipt", "--for=1h", "--why=a bad deploy"]
    );
    assert_eq!(changes[0].who, "ann, console");
}

/// Guards: no page has a form for who may only look, and nothing is changed by looking.
#[tokio::test]
async fn a_viewer_has_no_form() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    for path in PAGES {
        let searches = Viewer { may_search_keys: true, ..viewer() };
        let (status, shown) = page(&console, path, searches).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!shown.contains("method=\"post\"") && !shown.contains("form_token"), "{path}");
    }
    assert_eq!(kept.0.changes(), []);
}

/// Guards: what was counted is what is moved, with the brakes that the form has, and an empty filter is refused.
#[tokio::test]
async fn a_redrive_is_bound_to_its_count() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let (_, shown) = page(&console, PAGES[3], operator()).await;
    assert!(shown.contains("4,960"), "{shown}");
    let token = form_token(&shown);
    let at = "2026-11-22T13:11:42.000000Z";
    assert!(shown.contains("name=\"dead_by\" value=\"2026-11-22T13:12:22.000000Z\""), "{shown}");
    let rest = format!("form_token={token}&rate=50&canary=10&stop_if_dead=5");
    let refused = [
        format!("{rest}&dead_by={at}"),
        format!("{rest}&rpc=A%2FB"),
        format!("{rest}&rpc=A%2FB&dead_by=yesterday"),
    ];
    for fields in refused {
        let response = answer(&console, post("/dead/redrive", operator(), ORIGIN, &fields)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{fields}");
    }
    assert_eq!(kept.0.changes(), []);
    let fields = format!("{rest}&rpc=A%2FB&code=internal&dead_by={at}");
    let response = answer(&console, post("/dead/redrive", operator(), ORIGIN, &fields)).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let changes = kept.0.changes();
    let words = [
        "dlq",
        "redrive",
        "--rpc=A/B",
        "--code=internal",
        "--dead-by=2026-11-22T13:11:42.000000Z",
        "--rate=50",
        "--canary=10",
        "--stop-if-dead=5",
        "--yes",
    ];
    assert_eq!(changes[0].words, words);
}

/// Guards: fifty viewers cost the database what one costs.
#[tokio::test]
async fn viewers_share_one_look() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    for _ in 0..50 {
        assert_eq!(page(&console, "/", viewer()).await.0, StatusCode::OK);
    }
    let looks = kept.0.asked().iter().filter(|question| question.words == ["status"]).count();
    assert!(looks < 50, "{looks}");
}
