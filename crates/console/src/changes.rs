//! The forms: each runs the function of a command, which the audit keeps with who sent it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};

use crate::ask::{Question, Refusal, words};
use crate::asked::cleaned;
use crate::commands;
use crate::frame::rpc_path;
use crate::pages::redrive::Group;
use crate::reads::no_filter;
use crate::shown::encoded;
use crate::visit::{Sent, Visit};

/// A redrive that is refused is refused at once. One that runs longer than this is shown among the repairs.
const REFUSED_WITHIN: Duration = Duration::from_millis(1500);

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
    of_repair("stop", &id, &sent.visit).await
}

pub(crate) async fn undo(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair("undo", &id, &sent.visit).await
}

/// With the same filter, bound and rate.
pub(crate) async fn go_on(Path(id): Path<String>, sent: Sent) -> Response {
    of_repair("continue", &id, &sent.visit).await
}

async fn of_repair(what: &str, id: &str, visit: &Visit) -> Response {
    let place = ("/repairs", "Repairs");
    if !words::is_id(id) {
        let why = Refusal { code: 2, problem: "that is no id".to_owned(), remedy: "see the list".to_owned() };
        return visit.refuse(place, &words::repairs(), &why);
    }
    let words = commands::of_repair(what, id);
    match what {
        "continue" => begun(visit, place, words, "/repairs").await,
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
    let counted = sent.field("counted_at").parse::<i64>().ok();
    let since = counted.and_then(|at| u64::try_from(visit.now.timestamp_millis().checked_sub(at)?).ok());
    let mut words = words::filtered(&["dlq", "redrive"], &group.pairs());
    let (Some(since), true) = (since.map(Duration::from_millis), group.is_some()) else {
        return visit.refuse(place, &words, &no_filter());
    };
    words.push(format!("--older-than={}", humantime::format_duration(since)));
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

/// It goes on when the page is closed.
pub(crate) async fn begun(visit: &Visit, place: (&str, &str), words: Vec<String>, then: &str) -> Response {
    let ask = visit.console.ask.ask(question(visit, words.clone()));
    let console = Arc::clone(&visit.console);
    let mut running = tokio::spawn(async move {
        let went = ask.await;
        console.sampler.changed();
        went
    });
    let went = tokio::time::timeout(REFUSED_WITHIN, &mut running).await;
    visit.console.sampler.changed();
    match went {
        Ok(Ok(Err(refusal))) => visit.refuse(place, &words, &cleaned(&refusal)),
        _ => see(visit, then),
    }
}

pub(crate) async fn done(visit: &Visit, words: Vec<String>, then: &str) -> Response {
    let went = visit.console.ask.ask(question(visit, words.clone())).await;
    visit.console.sampler.changed();
    match went {
        Ok(_) => see(visit, then),
        Err(refusal) => visit.refuse(("", "It was not done"), &words, &cleaned(&refusal)),
    }
}

pub(crate) fn question(visit: &Visit, words: Vec<String>) -> Question {
    Question { words, who: visit.who(), changes: true }
}

/// With GET, so that loading the page again does not send the form again.
fn see(visit: &Visit, path: &str) -> Response {
    Redirect::to(&visit.frame().link(path)).into_response()
}
