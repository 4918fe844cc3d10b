//! The pages: each is one GET with its state in the address, and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use maud::html;
use serde_json::{Value, json};

use crate::answers::{Kept, Letter, Life, Moved, Parked, Report, Route, Searched, Summary};
use crate::ask::{Refusal, words};
use crate::asked::read_seen;
use crate::assets;
use crate::frame::{Frame, rpc_path};
use crate::late::older;
use crate::live;
use crate::look::is_ours;
use crate::pages::{self, redrive::Group};
use crate::parts::refused;
use crate::sampler::{For, Look};
use crate::shared::Seen;
use crate::shown::query;
use crate::state::Console;
use crate::visit::{Visit, as_html};

type Pairs = Query<BTreeMap<String, String>>;

fn of<'a>(pairs: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    pairs.get(name).map_or("", |value| value.trim())
}

pub(crate) async fn now(visit: Visit) -> Response {
    let (place, words) = (("/", "Now"), words::status());
    match visit.sample().await {
        Ok(sample) => visit.show_of(sample.at, place, &words, &sample.value.json, |frame| {
            live::frame(frame, &[], &pages::now::parts(frame, &sample))
        }),
        Err(refusal) => visit.refuse(place, &words, &refusal),
    }
}

pub(crate) async fn rpc(visit: Visit, Path((service, method)): Path<(String, String)>) -> Response {
    let name = format!("{service}/{method}");
    let who = visit.who();
    let (place, words) = (("/rpc", name.as_str()), words::status());
    let sample = match visit.sample().await {
        Ok(sample) => sample,
        Err(refusal) => return visit.refuse(place, &words, &refusal),
    };
    let exists = sample.value.status.rpcs.iter().any(|rpc| rpc.rpc == name);
    let (retrying, letters, week) = tokio::join!(
        visit.console.seen((For::One, &who), words::retrying(&name)),
        visit.console.seen((For::One, &who), words::letters(&name)),
        visit.console.week(&name, exists && !visit.wants_json),
    );
    if let Some(refusal) = visit.lacks([&retrying, &letters]) {
        return visit.refuse(place, &words, refusal);
    }
    let at = oldest(sample.at, [&retrying, &letters]);
    let Look { status, json, routes } = &sample.value;
    let rpcs = json.get("rpcs").and_then(|rpcs| rpcs.as_array()).into_iter().flatten();
    let of_rpc: Vec<_> = rpcs.filter(|rpc| rpc.get("rpc") == Some(&json!(name))).collect();
    let part =
        |seen: &Result<Seen<Value>, Refusal>| seen.as_ref().map_or(Value::Null, |seen| seen.value.clone());
    let json = json!({"status": of_rpc, "retrying": part(&retrying), "dead": part(&letters)});
    visit.show_of(at, place, &words, &json, |frame| {
        let known = pages::rpc::Known {
            name: &name,
            status,
            routes,
            retrying: retrying.and_then(read_seen),
            letters: letters.and_then(read_seen),
            week,
            trends: &|what, source| visit.console.sampler.trend(what, &[source, &name], sample.at),
        };
        html! { (older(&sample)) (pages::rpc::page(frame, &known)) }
    })
}

/// A page of several answers is as old as the oldest of them.
fn oldest<'a>(
    first: DateTime<Utc>,
    others: impl IntoIterator<Item = &'a Result<Seen<Value>, Refusal>>,
) -> DateTime<Utc> {
    others.into_iter().flatten().fold(first, |oldest, seen| oldest.min(seen.at))
}

pub(crate) async fn event(visit: Visit, Path(id): Path<String>) -> Response {
    let heading = format!("Event {id}");
    let words = words::of(&["why", &id]);
    if !words::is_id(&id) {
        return visit.refuse(("/events", &heading), &words::of(&["why"]), &no_id());
    }
    visit.answer(("/events", &heading), words, |frame, life: &Life| pages::event::page(frame, life)).await
}

pub(crate) async fn events(visit: Visit, Query(pairs): Pairs) -> Response {
    let (key, name, header) = (of(&pairs, "key"), of(&pairs, "name"), of(&pairs, "header"));
    let since = if of(&pairs, "since").is_empty() { "1h" } else { of(&pairs, "since") };
    let until = of(&pairs, "until");
    let search = pages::events::Search { key, name, header, since, until };
    let times = [("since", since), ("until", until), ("limit", "60")];
    let filters = [&[("key", key), ("name", name), ("header", header)][..], &times].concat();
    let (place, words) = (("/events", "Events"), words::filtered(&["find"], &filters));
    if key.is_empty() && name.is_empty() && header.is_empty() {
        return visit
            .first(place, &words, &no_condition(), || pages::events::page(&visit.frame(), &search, None));
    }
    // Each search by a value says whether an event has it.
    let is_by_value = !key.is_empty() || !header.is_empty();
    if is_by_value && !visit.viewer.may_search_keys {
        return visit.forbid(place, &words, &no_keys());
    }
    let page = |frame: &Frame, searched: &Searched| pages::events::page(frame, &search, Some(searched));
    visit.answer(place, words, page).await
}

pub(crate) async fn dead(visit: Visit, Query(pairs): Pairs) -> Response {
    let filter = pages::dead::Filter { rpc: of(&pairs, "rpc"), since: of(&pairs, "since") };
    let words = words::filtered(&["dlq", "summary"], &[("rpc", filter.rpc), ("since", filter.since)]);
    let page = |frame: &Frame, summary: &Summary| {
        let sampler = &visit.console.sampler;
        // A filter by time counts something else, and of that no numbers are kept.
        if !filter.since.is_empty() {
            return pages::dead::page(frame, &filter, summary, &[]);
        }
        sampler.keep_groups(summary, frame.now);
        let trends: Vec<_> = summary.groups.iter().map(|group| sampler.group(group, frame.now)).collect();
        pages::dead::page(frame, &filter, summary, &trends)
    };
    visit.watch(("/dead", "Dead letters"), words, page).await
}

pub(crate) async fn letter(visit: Visit, Path(id): Path<String>) -> Response {
    let heading = format!("Dead letter {id}");
    if !words::is_id(&id) {
        return visit.refuse(("/dead", &heading), &words::of(&["dlq", "list"]), &no_id());
    }
    let words = words::of(&["dlq", "show", &id]);
    let page = |frame: &Frame, letters: &Vec<Letter>| pages::letter::page(frame, letters);
    visit.answer(("/dead", &heading), words, page).await
}

/// Counts, and moves nothing.
pub(crate) async fn redrive(visit: Visit, Query(pairs): Pairs) -> Response {
    let field = |name: &str| of(&pairs, name).to_owned();
    let group =
        Group { rpc: field("rpc"), code: field("code"), reason: field("reason"), event: field("event") };
    let place = ("/dead", "Redrive");
    let mut words = words::filtered(&["dlq", "redrive"], &group.pairs());
    words.push("--dry-run".to_owned());
    if !group.is_some() {
        return visit.refuse(place, &words, &no_filter());
    }
    let page = |frame: &Frame, counted: &Moved| pages::redrive::page(frame, &group, counted);
    visit.answer(place, words, page).await
}

pub(crate) async fn parked(visit: Visit) -> Response {
    let page = |frame: &Frame, parked: &Vec<Parked>| pages::parked::page(frame, parked);
    visit.watch(("/parked", "Parked events"), words::of(&["parked", "list", "--limit", "60"]), page).await
}

pub(crate) async fn repairs(visit: Visit) -> Response {
    let page = |frame: &Frame, repairs: &Seen<Vec<Kept>>| pages::repairs::page(frame, repairs, None);
    visit.open(("/repairs", "Repairs"), For::All, words::repairs(), page).await
}

pub(crate) async fn repair(visit: Visit, Path(id): Path<String>) -> Response {
    let heading = format!("Repair {id}");
    if !words::is_id(&id) {
        return visit.refuse(("/repairs", &heading), &words::of(&["repair", "list"]), &no_id());
    }
    let page = |frame: &Frame, found: &Seen<Vec<Kept>>| pages::repairs::page(frame, found, Some(&id));
    visit.open(("/repairs", &heading), For::One, words::of(&["repair", "show", &id]), page).await
}

pub(crate) async fn line(visit: Visit) -> Response {
    let (place, words) = (("/line", "Line"), words::of(&["doctor"]));
    let sample = match visit.sample().await {
        Ok(sample) => sample,
        Err(refusal) => return visit.refuse(place, &words, &refusal),
    };
    let report = visit.console.seen((For::All, &visit.who()), words.clone()).await;
    if let Some(refusal) = visit.lacks([&report]) {
        return visit.refuse(place, &words, refusal);
    }
    let at = oldest(sample.at, [&report]);
    let of_status = |name: &str| sample.value.json.get(name).cloned().unwrap_or_default();
    let json = json!({
        "processes": of_status("processes"),
        "differing": of_status("differing"),
        "doctor": report.as_ref().ok().map(|seen| &seen.value),
    });
    visit.show_of(at, place, &words, &json, |frame| {
        let report = report.and_then(read_seen::<Report>);
        html! { (older(&sample)) (pages::line::page(frame, &sample.value.status, report.as_ref())) }
    })
}

pub(crate) async fn routes(visit: Visit) -> Response {
    let page = |frame: &Frame, routes: &Vec<Route>| pages::routes::page(frame, routes);
    visit.watch(("/routes", "Routes"), words::routes(), page).await
}

pub(crate) async fn audit(visit: Visit, Query(pairs): Pairs) -> Response {
    let (who, rpc, event) = (of(&pairs, "who"), of(&pairs, "rpc"), of(&pairs, "event"));
    let filter = pages::audit::Filter { who, rpc, event, since: of(&pairs, "since") };
    let since = filter.since;
    let limit = words::AUDIT_MAX.to_string();
    let filters = [("who", who), ("rpc", rpc), ("event", event), ("since", since), ("limit", limit.as_str())];
    let page = |frame: &Frame, kept: &Vec<Kept>| pages::audit::page(frame, &filter, kept);
    visit.answer(("/audit", "Audit"), words::filtered(&["audit"], &filters), page).await
}

/// An id opens its event, `Service/Method` its RPC, and anything else is searched.
pub(crate) async fn search(visit: Visit, Query(pairs): Pairs) -> Redirect {
    let path = place_of(of(&pairs, "q"));
    Redirect::to(&visit.frame().link(&path))
}

/// Pure: the page for what was entered.
fn place_of(text: &str) -> String {
    let is_event = text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    match (text.split_once(':'), text.split_once('/')) {
        _ if is_event => format!("/event/{text}"),
        (Some(("key", key)), _) => format!("/events{}", query(&[("key", key.trim())])),
        (Some(("header", header)), _) => format!("/events{}", query(&[("header", header.trim())])),
        (_, Some(_)) => rpc_path(text),
        _ => format!("/events{}", query(&[("name", text)])),
    }
}

/// Sets the cookie of this browser, and changes nothing else.
pub(crate) async fn look(visit: Visit, Query(pairs): Pairs) -> Response {
    let base = &visit.console.settings.base_path;
    let first = format!("{base}/");
    let back = if is_ours(of(&pairs, "back"), &first) { of(&pairs, "back") } else { &first };
    let cookie = visit.look.with(of(&pairs, "to")).cookie(base);
    ([(SET_COOKIE, cookie)], Redirect::to(back)).into_response()
}

pub(crate) async fn css(State(console): State<Arc<Console>>) -> Response {
    console.assets.css()
}

pub(crate) async fn js() -> Response {
    assets::js()
}

pub(crate) async fn htmx() -> Response {
    assets::htmx()
}

pub(crate) async fn missing(visit: Visit) -> Response {
    let why = Refusal {
        code: 1,
        problem: "there is no such page".to_owned(),
        remedy: "take one of the links above".to_owned(),
    };
    let page = visit.frame().page("", "No such page", "outbox --help", &refused(&why));
    as_html(StatusCode::NOT_FOUND, &page)
}

fn no_id() -> Refusal {
    Refusal {
        code: 2,
        problem: "that is no id".to_owned(),
        remedy: "copy it from a log, or from another page".to_owned(),
    }
}

fn no_keys() -> Refusal {
    Refusal {
        code: 1,
        problem: "keys and headers may be personal, so only those who may repair search by them".to_owned(),
        remedy: "search by name, open an event by its id, or ask for --allow repair=…".to_owned(),
    }
}

fn no_condition() -> Refusal {
    Refusal {
        code: 2,
        problem: "a search needs a condition".to_owned(),
        remedy: "enter a key, a name or a header".to_owned(),
    }
}

pub(crate) fn no_filter() -> Refusal {
    Refusal {
        code: 2,
        problem: "a redrive needs a filter".to_owned(),
        remedy: "choose a group of dead letters".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: what is entered opens what it names.
    #[test]
    fn what_is_entered_opens_a_page() {
        for (text, path) in [
            ("01a212d5-a2c4-7f3c-92df-450a9015f239", "/event/01a212d5-a2c4-7f3c-92df-450a9015f239"),
            ("LedgerService/Post", "/rpc/LedgerService/Post"),
            ("key:card-7", "/events?key=card-7"),
            ("header:tenant=t/9", "/events?header=tenant%3Dt%2F9"),
            ("event_hoge_updated", "/events?name=event_hoge_updated"),
            ("", "/events"),
        ] {
            assert_eq!(place_of(text), path, "{text}");
        }
    }
}
