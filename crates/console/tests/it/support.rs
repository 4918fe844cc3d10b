//! A console over some answers, and requests to it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use outbox_console::{
    Access, Allow, Answer, Answering, Ask, Demo, Question, Refusal, Settings, Viewer, router,
};
use tower::ServiceExt;

pub(crate) const HOST: &str = "127.0.0.1:9466";
pub(crate) const ORIGIN: &str = "http://127.0.0.1:9466";
pub(crate) const RPC: &str = "/rpc/NotificationService/RemindReceipt";
pub(crate) const EVENT: &str = "/event/01a212d5-a2c4-7f3c-92df-450a9015f239";
pub(crate) const REPLAY: &str = "/replay?since=12h&rpc=LedgerService%2FPost";
pub(crate) const PAGES: [&str; 16] = [
    "/",
    "/dead",
    "/dead/letter/43120",
    "/dead/redrive?rpc=AfterPayService%2FRecordCardTransaction&code=invalid_argument",
    RPC,
    "/rpc/LoyaltyService/Grant",
    EVENT,
    "/events",
    "/events?key=card-37&since=1day",
    "/replay",
    REPLAY,
    "/parked",
    "/repairs",
    "/repairs/01a212d6-7c1e-7f3c-92df-450a9015f003",
    "/line",
    "/audit",
];

pub(crate) fn operator() -> Viewer {
    Viewer { name: "ann".to_owned(), may_repair: true, ..Viewer::default() }
}

pub(crate) fn viewer() -> Viewer {
    Viewer { name: "bob".to_owned(), ..Viewer::default() }
}

pub(crate) fn settings(access: Access) -> Settings {
    Settings {
        base_path: String::new(),
        title: "TEST".to_owned(),
        accent: Some("#b00020".to_owned()),
        access,
        allow: Allow::default(),
        second_person: false,
        hosts: vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        #[cfg(feature = "prometheus")]
        prometheus: None,
        clock: Demo::clock,
    }
}

/// A console in a service that knows who asks.
pub(crate) fn console(ask: Arc<dyn Ask>) -> Router {
    router(ask, settings(Access::Mounted)).unwrap()
}

pub(crate) fn get(path: &str, viewer: Viewer) -> Request<Body> {
    Request::get(path).header("host", HOST).extension(viewer).body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, viewer: Viewer, origin: &str, fields: &str) -> Request<Body> {
    Request::post(path)
        .header("host", HOST)
        .header("origin", origin)
        .header("content-type", "application/x-www-form-urlencoded")
        .extension(viewer)
        .body(Body::from(fields.to_owned()))
        .unwrap()
}

pub(crate) async fn answer(console: &Router, request: Request<Body>) -> Response {
    console.clone().oneshot(request).await.unwrap()
}

pub(crate) async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

pub(crate) async fn page(console: &Router, path: &str, viewer: Viewer) -> (StatusCode, String) {
    let response = answer(console, get(path, viewer)).await;
    (response.status(), text(response).await)
}

/// The token of the first form on a page.
pub(crate) fn form_token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("there is a form");
    rest.split('"').next().unwrap().to_owned()
}

/// Answers as the demo, and keeps what was asked. Changes succeed.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    asked: Mutex<Vec<Question>>,
}

impl Kept {
    pub(crate) fn changes(&self) -> Vec<Question> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.changes && asked.words[0] != "refused").cloned().collect()
    }

    /// Tries that are written down.
    pub(crate) fn refused(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let refused = asked.iter().filter(|asked| asked.words[0] == "refused");
        refused.map(|asked| format!("{} {}", asked.who, asked.words[1])).collect()
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

/// Shared, so that a test can look at it later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(pub(crate) Arc<Kept>);

impl Ask for Shared {
    fn ask(&self, question: Question) -> Answering {
        self.0.asked.lock().unwrap().push(question.clone());
        if question.changes {
            return Box::pin(async { Ok(Answer { json: serde_json::json!({"changed": 1}) }) });
        }
        Demo.ask(question)
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

/// A database that does not answer.
#[derive(Debug)]
pub(crate) struct Down;

impl Ask for Down {
    fn ask(&self, _: Question) -> Answering {
        let problem =
            "can't connect to postgres://app:PLANTED-password@db:5432/x?password=PLANTED-password".to_owned();
        let remedy = "see whether Postgres is up there".to_owned();
        Box::pin(async move { Err(Refusal { code: 3, problem, remedy }) })
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

/// The demo's answers, with two hundred of each thing in a list. An answer that can say of more says so.
#[derive(Debug)]
pub(crate) struct Many;

impl Ask for Many {
    fn ask(&self, question: Question) -> Answering {
        let asked = Demo.ask(question);
        Box::pin(async move {
            asked.await.map(|answer| Answer {
                json: match answer.json {
                    serde_json::Value::Object(fields) => {
                        let say = |name: &str, value| if name == "more" { true.into() } else { many(value) };
                        fields.into_iter().map(|(name, value)| (name.clone(), say(&name, value))).collect()
                    }
                    list => many(list),
                },
            })
        })
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

fn many(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Array(values) => values.iter().cycle().take(values.len() * 200).cloned().collect(),
        other => other,
    }
}

/// The demo's answers with secrets that a mistake elsewhere may have put there.
#[derive(Debug)]
pub(crate) struct Planted;

impl Ask for Planted {
    fn ask(&self, question: Question) -> Answering {
        let asked = Demo.ask(question);
        Box::pin(async move { asked.await.map(|answer| Answer { json: planted(answer.json) }) })
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

fn planted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::{Value, json};
    match value {
        Value::Object(fields) => {
            let mut fields: serde_json::Map<String, Value> =
                fields.into_iter().map(|(name, value)| (name, planted(value))).collect();
            fields.insert("payload".to_owned(), json!({"pan": "PLANTED-payload"}));
            fields.insert("body".to_owned(), json!("PLANTED-body"));
            for name in ["reason", "error", "problem", "message", "address"] {
                if let Some(Value::String(text)) = fields.get_mut(name) {
                    text.push_str(" postgres://app:PLANTED-password@db/x?user=app&password=PLANTED-password");
                }
            }
            Value::Object(fields)
        }
        Value::Array(values) => Value::Array(values.into_iter().map(planted).collect()),
        other => other,
    }
}

/// The demo's answers, and another one to questions that begin with these words.
#[derive(Debug)]
pub(crate) struct Instead(pub(crate) &'static str, pub(crate) serde_json::Value);

impl Ask for Instead {
    fn ask(&self, question: Question) -> Answering {
        let Self(words, json) = self;
        if !question.words.join(" ").starts_with(words) {
            return Demo.ask(question);
        }
        let json = json.clone();
        Box::pin(async move { Ok(Answer { json }) })
    }

    fn command(&self, words: &[String]) -> String {
        Demo.command(words)
    }
}

/// The demo's answers, and none to questions that begin with these words.
#[derive(Debug)]
pub(crate) struct Refusing(pub(crate) &'static str, pub(crate) Refusal);

impl Ask for Refusing {
    fn ask(&self, question: Question) -> Answering {
        let Self(words, refusal) = self;
        if !question.words.join(" ").starts_with(words) {
            return Demo.ask(question);
        }
        let refusal = refusal.clone();
        Box::pin(async move { Err(refusal) })
    }

    fn command(&self, words: &[String]) -> String {
        format!("{} --transport=aws", Demo.command(words))
    }
}

/// What the demo answers.
pub(crate) async fn of_demo(words: &[&str]) -> serde_json::Value {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Demo.ask(Question { words, who: "ann".to_owned(), changes: false }).await.unwrap().json
}
