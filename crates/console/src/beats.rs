//! What is sent while a page is open.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use maud::html;
use tokio::sync::OwnedSemaphorePermit;

use crate::ask::Refusal;
use crate::guard::viewer;
use crate::live::{Part, changed};
use crate::pages;
use crate::parts::refused;
use crate::shared::EVERY;
use crate::shown::moment;
use crate::visit::Visit;

/// So many pages change by themselves at a time. Others are as they were loaded.
pub(crate) const OPEN_MAX: usize = 200;
/// After five minutes the browser asks anew. So a service around this console decides again who may look.
const BEATS_MAX: usize = 150;

/// An open page, and who looks at it.
struct Open {
    visit: Visit,
    /// The request: it says at each beat who looks.
    parts: Parts,
    pairs: BTreeMap<String, String>,
    before: Vec<Part>,
    left: usize,
    _place: OwnedSemaphorePermit,
}

/// For as long as the page is open, and its viewer may look.
pub(crate) async fn live(
    visit: Visit,
    Query(pairs): Query<BTreeMap<String, String>>,
    parts: Parts,
) -> Response {
    let Ok(place) = Arc::clone(&visit.console.open).try_acquire_owned() else {
        let why = "too many pages are open: this one does not change by itself\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let open = Open { visit, parts, pairs, before: Vec::new(), left: BEATS_MAX, _place: place };
    Sse::new(beats(open)).keep_alive(KeepAlive::default()).into_response()
}

fn beats(open: Open) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(open, |mut open| async move {
        tokio::time::sleep(EVERY).await;
        open.left = open.left.checked_sub(1)?;
        let console = Arc::clone(&open.visit.console);
        // A token ends, a group is left, and the database's role loses a right, while the page is open.
        let viewer = viewer(&console, &open.parts).await.ok()?;
        open.visit.viewer = console.wall.limit(viewer, &console.ask).await;
        let now = match parts(&mut open.visit, &open.pairs).await {
            Ok(parts) => parts,
            Err(refusal) => vec![Part::new("refused", html! { div #refused { (refused(&refusal)) } })],
        };
        let html = html! {
            (changed(&open.before, &now))
            hx-partial hx-target="#as-of" hx-swap="innerMorph" { (moment(open.visit.now, open.visit.now)) }
        };
        open.before = now;
        // A carriage return would end the event.
        let event = Event::default().data(html.0.replace('\r', " "));
        Some((Ok(event), open))
    })
}

async fn parts(visit: &mut Visit, pairs: &BTreeMap<String, String>) -> Result<Vec<Part>, Refusal> {
    if pairs.get("page").is_some_and(|page| page == "repairs") {
        let repairs = visit.console.sampler.repairs(&visit.console.ask, visit.console.settings.clock).await?;
        visit.now = repairs.at;
        let id = pairs.get("id").map(String::as_str);
        return Ok(pages::repairs::parts(&visit.frame(), &repairs, id));
    }
    let sample = visit.console.next_sample().await?;
    visit.now = sample.at;
    Ok(pages::now::parts(&visit.frame(), &sample))
}
