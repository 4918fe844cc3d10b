//! What pages say of numbers that are older than they should be, or that are not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt;
use outbox_console::{Access, Answering, Ask, Demo, Question, Refusal, Settings, router};
use serde_json::{Value, json};

use super::support::*;

const OLDER: &str = "What follows is older";
const LIVE: &str = "/live?page=repairs";

/// A database that is there, until it ends.
#[derive(Debug, Clone, Default)]
struct Ends(Arc<AtomicBool>);

impl Ends {
    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Ask for Ends {
    fn ask(&self, question: Question) -> Answering {
        if self.0.load(Ordering::Relaxed) { Down.ask(question) } else { Demo.ask(question) }
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

async fn as_json(console: &Router, path: &str) -> (StatusCode, Value) {
    let mut request = get(path, operator());
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let response = answer(console, request).await;
    let status = response.status();
    (status, serde_json::from_str(&text(response).await).unwrap())
}

/// Guards promise 8: without its database a page has its last numbers and says so, each part of it. As JSON there are none.
#[tokio::test(start_paused = true)]
async fn each_part_says_that_it_is_older() {
    let ends = Ends::default();
    let console = console(Arc::new(ends.clone()));
    let parts = [("/", 1), ("/line", 2), (RPC, 3), ("/dead", 1), ("/repairs", 1), (EVENT, 1)];
    for (path, _) in parts {
        let (status, shown) = page(&console, path, operator()).await;
        assert!(status == StatusCode::OK && !shown.contains(OLDER), "{path}: {shown}");
        assert_eq!(as_json(&console, path).await.0, StatusCode::OK, "{path}");
    }
    ends.end();
    tokio::time::advance(Duration::from_secs(30)).await;
    for (path, many) in parts {
        let (status, shown) = page(&console, path, operator()).await;
        assert_eq!((status, shown.matches(OLDER).count()), (StatusCode::OK, many), "{path}: {shown}");
        let (status, json) = as_json(&console, path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(json["problem"].is_string() && json["remedy"].is_string(), "{json}");
    }
}

/// Guards promise 8: a part that can't be answered says why. As JSON it is no `null` among numbers.
#[tokio::test]
async fn a_part_without_an_answer_says_why() {
    let why = || Refusal { code: 1, problem: "it is refused".to_owned(), remedy: "ask again".to_owned() };
    for (words, path) in [("queue list", RPC), ("dlq list", RPC), ("doctor", "/line")] {
        let console = console(Arc::new(Refusing(words, why())));
        let (status, shown) = page(&console, path, operator()).await;
        assert!(status == StatusCode::OK && shown.contains("it is refused"), "{path}: {shown}");
        let (status, json) = as_json(&console, path).await;
        assert_eq!((status, &json["problem"]), (StatusCode::CONFLICT, &json!("it is refused")), "{words}");
    }
    // Routes are only a picture of the first page.
    let console = console(Arc::new(Refusing("routes", why())));
    for path in ["/", RPC] {
        let (_, shown) = page(&console, path, operator()).await;
        assert!(shown.contains("it is refused. ask again."), "{path}: {shown}");
    }
}

/// Guards promise 8: an open list of repairs keeps its numbers when the database ends.
#[tokio::test(start_paused = true)]
async fn an_open_list_keeps_its_numbers() {
    let ends = Ends::default();
    let console = console(Arc::new(ends.clone()));
    let mut open = answer(&console, get(LIVE, operator())).await.into_body();
    let mut sent = async || {
        let frame = open.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    let first = sent().await;
    assert!(first.contains("operator-a@vm") && !first.contains(OLDER), "{first}");
    ends.end();
    // A look that took no time is repeated after two seconds.
    let mut last = sent().await;
    for _ in 0..10 {
        if last.contains(OLDER) {
            break;
        }
        last = sent().await;
    }
    assert!(last.contains(OLDER) && last.contains("operator-a@vm"), "{last}");
    let (_, opened) = page(&console, "/repairs", operator()).await;
    assert_eq!(opened.matches(OLDER).count(), 1, "{opened}");
}

static SECONDS: AtomicI64 = AtomicI64::new(0);

fn clock() -> DateTime<Utc> {
    Demo::clock() + TimeDelta::seconds(SECONDS.load(Ordering::Relaxed))
}

/// Guards promise 8: the time on a page is that of its numbers, and not the one at which it was opened.
#[tokio::test(start_paused = true)]
async fn the_time_is_that_of_the_numbers() {
    let console = router(Arc::new(Demo), Settings { clock, ..settings(Access::Mounted) }).unwrap();
    let stamp = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let paths = ["/", "/line", RPC, "/dead", "/repairs", "/parked", "/routes"];
    let first = clock();
    for path in paths {
        page(&console, path, operator()).await;
    }
    SECONDS.store(60, Ordering::Relaxed);
    for path in paths {
        // No time has passed for what is shared.
        let (_, shown) = page(&console, path, operator()).await;
        let (_, footer) = shown.split_once("<footer>").unwrap();
        assert!(footer.contains(&format!("As of <time datetime=\"{}\"", stamp(first))), "{path}: {footer}");
        assert!(shown.contains(&format!("data-now=\"{}\"", stamp(clock()))), "{path}: {shown}");
    }
    let (_, shown) = page(&console, EVENT, operator()).await;
    assert!(shown.contains(&format!("As of <time datetime=\"{}\"", stamp(clock()))), "{shown}");
    // The numbers of two times make a line, and those of letters since a time are others.
    tokio::time::advance(Duration::from_secs(30)).await;
    let (_, shown) = page(&console, "/dead", operator()).await;
    assert!(shown.contains("class=\"spark\"") && !shown.contains("earlier ones"), "{shown}");
    let (_, shown) = page(&console, "/dead?since=1h", operator()).await;
    assert!(!shown.contains("class=\"spark\"") && shown.contains("earlier ones"), "{shown}");
}
