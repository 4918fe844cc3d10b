//! The part of a page that changes while it is open. It is sent whole once, and then only what differs.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::Query;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use maud::{Markup, html};

use crate::ask::Refusal;
use crate::frame::Frame;
use crate::pages;
use crate::parts::refused;
use crate::sampler::EVERY;
use crate::shown::{moment, query};
use crate::visit::Visit;

/// An element with this id. A table's rows are elements of their own, so that few bytes say that one has changed.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) id: String,
    pub(crate) html: Markup,
    rows: Option<Rows>,
}

#[derive(Debug)]
struct Rows {
    /// The table without them.
    around: String,
    rows: Vec<(String, Markup)>,
}

impl Part {
    pub(crate) fn new(id: &str, html: Markup) -> Self {
        Self { id: id.to_owned(), html, rows: None }
    }

    /// `around` puts rows into their table.
    pub(crate) fn table(id: &str, rows: Vec<(String, Markup)>, around: impl Fn(&Markup) -> Markup) -> Self {
        let html = around(&html! { @for (_, row) in &rows { (row) } });
        Self { id: id.to_owned(), html, rows: Some(Rows { around: around(&html! {}).0, rows }) }
    }
}

pub(crate) fn whole(parts: &[Part]) -> Markup {
    html! { @for part in parts { (part.html) } }
}

/// Pure: what changes one page into the other, by the ids of elements.
fn changed(before: &[Part], now: &[Part]) -> Markup {
    let mut changed: Vec<(&str, &Markup)> = Vec::new();
    for (before, now) in before.iter().zip(now).filter(|(before, now)| before.html.0 != now.html.0) {
        match (&before.rows, &now.rows) {
            (Some(old), Some(new)) if old.around == new.around && ids(&old.rows) == ids(&new.rows) => {
                let rows = old.rows.iter().zip(&new.rows).filter(|(old, new)| old.1.0 != new.1.0);
                changed.extend(rows.map(|(_, (id, row))| (id.as_str(), row)));
            }
            _ => changed.push((&now.id, &now.html)),
        }
    }
    html! { @for (id, html) in changed { hx-partial hx-target=(format!("#{id}")) hx-swap="outerMorph" { (html) } } }
}

fn ids(rows: &[(String, Markup)]) -> Vec<&str> {
    rows.iter().map(|(id, _)| id.as_str()).collect()
}

/// What an id may have in a selector.
pub(crate) fn id_of(words: &[&str]) -> String {
    words.join("-").replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// The page's changing part, with what says how old it is. Without a script it stays as it is.
pub(crate) fn frame(frame: &Frame, page: &[(&str, &str)], parts: &[Part]) -> Markup {
    let address = frame.link(&format!("/live{}", query(page)));
    html! {
        p.live {
            span data-live-said { "This page does not change by itself without JavaScript." }
            " As of " span #as-of { (moment(frame.now, frame.now)) } ". "
            button type="button" hidden data-live-stop aria-pressed="false" { "Hold still" }
        }
        div #live hx-sse:connect=(address) hx-swap="innerMorph" { (whole(parts)) }
    }
}

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
            (match &before {
                Some(before) if same_ids(before, &now) => changed(before, &now),
                _ => whole(&now),
            })
            hx-partial hx-target="#as-of" hx-swap="innerMorph" { (moment(visit.now, visit.now)) }
        };
        // A carriage return would end the event.
        let event = Event::default().data(html.0.replace('\r', " "));
        Some((Ok(event), (visit, pairs, Some(now))))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn same_ids(before: &[Part], now: &[Part]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(before, now)| before.id == now.id)
}

async fn parts(visit: &mut Visit, pairs: &BTreeMap<String, String>) -> Result<Vec<Part>, Refusal> {
    if pairs.get("page").is_some_and(|page| page == "repairs") {
        let repairs = visit.console.sampler.repairs(&*visit.console.ask).await?;
        visit.now = visit.console.now();
        let id = pairs.get("id").map(String::as_str);
        return Ok(pages::repairs::parts(&visit.frame(), &repairs, id));
    }
    let sample = visit.console.sample().await?;
    visit.now = sample.at;
    Ok(pages::now::parts(&visit.frame(), &sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str)]) -> Part {
        let rows = rows.iter().map(|(id, text)| ((*id).to_owned(), html! { tr id=(id) { td { (text) } } }));
        Part::table("t", rows.collect(), |rows| html! { table #t { (rows) } })
    }

    /// Guards: while a page is open, only what has changed is sent.
    #[test]
    fn only_what_differs_is_sent() {
        let page =
            |rows: &[(&str, &str)], text: &str| vec![table(rows), Part::new("p", html! { p #p { (text) } })];
        let before = page(&[("a", "1"), ("b", "2")], "well");
        assert_eq!(changed(&before, &page(&[("a", "1"), ("b", "2")], "well")).0, "");
        let row = changed(&before, &page(&[("a", "1"), ("b", "3")], "well")).0;
        assert_eq!(
            row,
            r##"<hx-partial hx-target="#b" hx-swap="outerMorph"><tr id="b"><td>3</td></tr></hx-partial>"##
        );
        let rows = changed(&before, &page(&[("a", "1")], "bad")).0;
        assert!(rows.contains("<table id=\"t\">") && rows.contains("<p id=\"p\">bad</p>"), "{rows}");
        assert_eq!(id_of(&["r", "A.B/C", "x"]), "r-A-B-C-x");
    }
}
