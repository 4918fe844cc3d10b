//! A replay: counted by a page, and begun by its form.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::response::Response;

use crate::answers::Plan;
use crate::ask::{Refusal, words};
use crate::changes::begun;
use crate::commands;
use crate::frame::Frame;
use crate::pages::replay::{Which, page};
use crate::sent::Sent;
use crate::visit::Visit;

const PLACE: (&str, &str) = ("/replay", "Replay");

fn which(field: impl Fn(&str) -> String) -> Which {
    Which {
        event: field("event"),
        since: field("since"),
        until: field("until"),
        event_name: field("event-name"),
        rpc: field("rpc"),
    }
}

/// Counts, and sends nothing.
pub(crate) async fn plan(visit: Visit, Query(pairs): Query<BTreeMap<String, String>>) -> Response {
    let which = which(|name| pairs.get(name).map_or("", |value| value.trim()).to_owned());
    let words = words::filtered(&["replay"], &which.pairs());
    if !which.is_some() {
        return visit.first(PLACE, &words, &no_which(), || page(&visit.frame(), &which, None));
    }
    let planned = |frame: &Frame, plan: &Plan| page(frame, &which, Some(plan));
    visit.answer(PLACE, words, planned).await
}

/// What was counted is what is sent: the times are those of the count.
pub(crate) async fn run(sent: Sent) -> Response {
    let which = which(|name| sent.field(name).to_owned());
    let brakes = ["rate", "stop-if-dead", "why"].map(|name| (name, sent.field(name)));
    let words = commands::replay(&[&which.pairs()[..], &brakes].concat());
    if !which.is_some() {
        return sent.visit.refuse(PLACE, &words, &no_which());
    }
    begun(&sent.visit, PLACE, commands::agreed(words), "/repairs").await
}

fn no_which() -> Refusal {
    Refusal {
        code: 2,
        problem: "a replay needs a time, or an event".to_owned(),
        remedy: "count first".to_owned(),
    }
}
