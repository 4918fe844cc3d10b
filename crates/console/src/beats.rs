//! What is sent while a page is open.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::Query;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use maud::html;

use crate::ask::Refusal;
use crate::live::{Part, changed};
use crate::pages;
use crate::parts::refused;
use crate::shared::EVERY;
use crate::shown::moment;
use crate::visit::Visit;

/// For as long as the page is open.
pub(crate) async fn live(
    visit: Visit,
    Query(pairs): Query<BTreeMap<String, String>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = unfold((visit, pairs, None::<Vec<Part>>), |(mut visit, pairs, before)| async move {
        tokio::time::sleep(EVERY).await;
        let now = match parts(&mut visit, &pairs).await {
            Ok(parts) => parts,
            Err(refusal) => vec![Part::new("refused", html! { div #refused { (refused(&refusal)) } })],
        };
        let html = html! {
            (changed(before.as_deref().unwrap_or_default(), &now))
            hx-partial hx-target="#as-of" hx-swap="innerMorph" { (moment(visit.now, visit.now)) }
        };
        // A carriage return would end the event.
        let event = Event::default().data(html.0.replace('\r', " "));
        Some((Ok(event), (visit, pairs, Some(now))))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
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
