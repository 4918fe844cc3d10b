//! The forms: each runs the function of a command, which the audit keeps with who sent it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::ask::{Question, Refusal, words};
use crate::asked::cleaned;
use crate::clean::clean;
use crate::commands;
use crate::frame::rpc_path;
use crate::outcome::Outcome;
use crate::pages::outcome::page;
use crate::pages::redrive::Group;
use crate::reads::no_filter;
use crate::sent::Sent;
use crate::shown::{encoded, query, stamp};
use crate::state::Console;
use crate::visit::{SAID, Visit, as_html, as_json};

/// A browser waits no longer. The change goes on.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const NOT_DONE: (&str, &str) = ("", "It was not done");

pub(crate) async fn pause(Path((service, method)): Path<(String, String)>, sent: Sent) -> Response {
    let rpc = format!("{service}/{method}");
    let words = commands::pause(&rpc, sent.field("for"), sent.field("why"));
    done(&sent.visit, words, &rpc_path(&rpc)).await
}

pub(crate) async fn resume(Path((service, method)): Path<(String, String)>, sent: Sent) -> Response {
    let rpc = format!("{service}/{method}");
    done(&sent.visit, commands::resume(&rpc), &rpc_path(&rpc)).await
}

pub(crate) async fn retry(Path((service, method)): Path<(String, String)>, sent: Sent) -> Response {
    let rpc = format!("{service}/{method}");
    done(&sent.visit, commands::agreed(commands::retry(&rpc)), &rpc_path(&rpc)).await
}

/// Other calls at a time, or in a second, than event_router.yaml says, until an end.
pub(crate) async fn limit(Path((service, method)): Path<(String, String)>, sent: Sent) -> Response {
    let rpc = format!("{service}/{method}");
    let [calls, rate, time, why] = ["concurrency", "rate", "for", "why"].map(|name| sent.field(name));
    let words = commands::limit(&rpc, calls, rate, time, why);
    done(&sent.visit, words, &rpc_path(&rpc)).await
}

pub(crate) async fn unlimit(Path((service, method)): Path<(String, String)>, sent: Sent) -> Response {
    let rpc = format!("{service}/{method}");
    done(&sent.visit, commands::unlimit(&rpc), &rpc_path(&rpc)).await
}

pub(crate) async fn stop(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair(commands::of_repair("stop", &id), &id, &sent.visit).await
}

pub(crate) async fn hold(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair(commands::of_repair("pause", &id), &id, &sent.visit).await
}

pub(crate) async fn release(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair(commands::of_repair("resume", &id), &id, &sent.visit).await
}

pub(crate) async fn pace(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair(commands::pace(&id, sent.field("rate")), &id, &sent.visit).await
}

pub(crate) async fn undo(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair(commands::of_repair("undo", &id), &id, &sent.visit).await
}

/// With the same filter, bound and rate.
pub(crate) async fn go_on(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair(commands::of_repair("continue", &id), &id, &sent.visit).await
}

async fn of_repair(words: Vec<String>, id: &str, visit: &Visit) -> Response {
    let place = ("/repairs", "Repairs");
    if !words::is_id(id) {
        let why = Refusal { code: 2, problem: "that is no id".to_owned(), remedy: "see the list".to_owned() };
        return visit.refuse(place, &words::repairs(), &why);
    }
    match words.get(1).map(String::as_str) {
        Some("continue") => begun(visit, place, words, "/repairs").await,
        _ => done(visit, words, &format!("/repairs/{}", encoded(id))).await,
    }
}

/// What was counted is what is moved: the same filter, and no letter that died after the count.
pub(crate) async fn redrive(sent: Sent) -> Response {
    let field = |name: &str| sent.field(name).to_owned();
    let group =
        Group { rpc: field("rpc"), code: field("code"), reason: field("reason"), event: field("event") };
    let visit = &sent.visit;
    let place = ("/dead", "Redrive");
    let dead_by = sent.field("dead_by").parse::<DateTime<Utc>>().ok();
    let mut words = words::filtered(&["dlq", "redrive"], &group.pairs());
    let (Some(dead_by), true) = (dead_by, group.is_some()) else {
        return visit.refuse(place, &words, &no_filter());
    };
    words::with(&mut words, "--dead-by", &stamp(dead_by));
    for (flag, name) in [
        ("--rate", "rate"),
        ("--canary", "canary"),
        ("--stop-if-dead", "stop_if_dead"),
        ("--limit", "limit"),
        ("--why", "why"),
    ] {
        let value = sent.field(name);
        words::with(&mut words, flag, if value == "0" { "" } else { value });
    }
    words.push("--yes".to_owned());
    begun(visit, place, words, "/repairs").await
}

/// The form of a repair. It goes on when the page is closed.
pub(crate) async fn begun(visit: &Visit, place: (&str, &str), words: Vec<String>, then: &str) -> Response {
    sent(visit, place, words, then).await
}

pub(crate) async fn done(visit: &Visit, words: Vec<String>, then: &str) -> Response {
    sent(visit, NOT_DONE, words, then).await
}

/// Of a repair it is the answer once it has begun. So what refuses it is shown, however long that takes.
async fn sent(visit: &Visit, place: (&str, &str), words: Vec<String>, then: &str) -> Response {
    if let Some(refusal) = words::unusable(&words) {
        return visit.refuse(place, &words, &refusal);
    }
    let ask = visit.console.ask.ask(question(visit, words.clone()));
    let console = Arc::clone(&visit.console);
    let running = tokio::spawn(async move {
        let went = ask.await;
        console.sampler.changed();
        went
    });
    match tokio::time::timeout(ANSWER_WITHIN, running).await {
        Ok(Ok(Ok(answer))) => ended(visit, place, &words, &clean(answer.json), then),
        Ok(Ok(Err(refusal))) => visit.refuse(place, &words, &cleaned(&refusal)),
        Ok(Err(_)) | Err(_) => visit.refuse(place, &words, &not_known()),
    }
}

/// The page that shows it, or else what was not done.
fn ended(visit: &Visit, place: (&str, &str), words: &[String], answer: &Value, then: &str) -> Response {
    let outcome = Outcome::of(answer);
    if outcome.troubles.is_empty() {
        return see(visit, then, outcome.notes);
    }
    if visit.wants_json {
        return as_json(StatusCode::CONFLICT, answer);
    }
    let (here, _) = place;
    let (frame, command) = (visit.frame(), visit.console.ask.command(words));
    let page = page(&frame, &outcome, then);
    as_html(StatusCode::CONFLICT, &frame.page(here, "Not all was done", &command, &page))
}

pub(crate) fn question(visit: &Visit, words: Vec<String>) -> Question {
    Question { words, who: visit.who(), changes: true }
}

/// With GET, so that loading the page again does not send the form again. It says what is worth knowing of the form.
fn see(visit: &Visit, path: &str, notes: Vec<String>) -> Response {
    let mut path = visit.frame().link(path);
    if !notes.is_empty() {
        let Console { said, secret, .. } = &*visit.console;
        path.push_str(&query(&[(SAID, &said.keep(&visit.viewer.name, notes, secret))]));
    }
    Redirect::to(&path).into_response()
}

fn not_known() -> Refusal {
    Refusal {
        code: Refusal::UNREACHED,
        problem: format!(
            "no answer within {} s: whether it is done, or will be, is not known",
            ANSWER_WITHIN.as_secs()
        ),
        remedy: "look at Repairs and Audit before you send it again".to_owned(),
    }
}
