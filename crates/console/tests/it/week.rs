//! Seven days of an RPC, from a Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::get;
use outbox_console::{Access, Demo, Prometheus, Settings, router, serve};
use serde_json::json;
use tokio::net::TcpListener;

use super::support::*;

type Asked = Arc<Mutex<Vec<String>>>;

/// Answers as Prometheus does, and keeps the queries.
async fn prometheus() -> (String, Asked) {
    let (asked, listener) = (Asked::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let place = listener.local_addr().unwrap().to_string();
    let kept = Arc::clone(&asked);
    let answer = move |Query(pairs): Query<BTreeMap<String, String>>| {
        kept.lock().unwrap().push(pairs["query"].clone());
        let (from, to): (i64, i64) = (pairs["start"].parse().unwrap(), pairs["end"].parse().unwrap());
        assert_eq!(to - from, 7 * 24 * 60 * 60);
        let values = json!([[from, "1900"], [to - 10_800, "17.4"], [to, "40"]]);
        let series = json!({"metric": {"source": "cards", "what": "waiting"}, "values": values});
        let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": [series]}});
        async move { answer.to_string() }
    };
    let api = Router::new().route("/prom/api/v1/query_range", get(answer));
    tokio::spawn(serve(listener, api));
    (place, asked)
}

fn with(url: &str) -> Router {
    let prometheus = Some(Prometheus::parse(url).unwrap());
    router(Arc::new(Demo), Settings { prometheus, ..settings(Access::Mounted) }).unwrap()
}

/// Guards promise 8: an RPC's page has seven days with their source, and many viewers are one question. An RPC that does not exist
/// is no question.
#[tokio::test]
async fn an_rpc_has_seven_days() {
    let (place, asked) = prometheus().await;
    let console = with(&format!("http://{place}/prom/"));
    for _ in 0..3 {
        let (status, shown) = page(&console, RPC, operator()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(shown.contains(&format!("From Prometheus at {place}")), "{shown}");
        assert!(shown.contains("1,900 at most, 40 last"), "{shown}");
    }
    page(&console, "/rpc/Odd/Rpc", operator()).await;
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("rpc=\"NotificationService/RemindReceipt\""), "{asked:?}");
}

/// Guards promise 8: while Prometheus is away the page says so, and has everything else.
#[tokio::test]
async fn a_page_does_not_need_it() {
    // A port on which nothing listens.
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (status, shown) = page(&with(&format!("http://{place}")), RPC, operator()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(shown.contains(&format!("Not known, because Prometheus at {place}")), "{shown}");
    assert!(shown.contains("at this rate 52m behind in an hour"), "{shown}");
}
