//! The part of a page that changes while it is open. It is sent whole once, and then only what differs.

use maud::{Markup, html};

use crate::frame::Frame;
use crate::shown::{moment, query};

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

/// Pure: what changes one page into the other, by the ids of elements. All of it, if the parts are others.
pub(crate) fn changed(before: &[Part], now: &[Part]) -> Markup {
    if before.len() != now.len() || before.iter().zip(now).any(|(before, now)| before.id != now.id) {
        return whole(now);
    }
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

/// An id for these words and no others, as a selector may have it.
pub(crate) fn id_of(words: &[&str]) -> String {
    let mut id = String::new();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            id.push('-');
        }
        for c in word.chars() {
            if c.is_ascii_alphanumeric() {
                id.push(c);
            } else {
                id.push_str(&format!("_{:x}_", u32::from(c)));
            }
        }
    }
    id
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str)]) -> Part {
        let rows = rows.iter().map(|(id, text)| ((*id).to_owned(), html! { tr id=(id) { td { (text) } } }));
        Part::table("t", rows.collect(), |rows| html! { table #t { (rows) } })
    }

    /// Guards: two rows of a page have two ids, whatever their names have.
    #[test]
    fn two_names_have_two_ids() {
        assert_eq!(id_of(&["r", "cards", "A.B/C"]), "r-cards-A_2e_B_2f_C");
        let names: [&[&str]; 9] = [
            &["A.B/C"],
            &["A_B/C"],
            &["A-B/C"],
            &["A/B/C"],
            &["A", "B/C"],
            &["A", "B", "C"],
            &["A_2e_B/C"],
            &["a.b/c"],
            &["é.B/C"],
        ];
        let ids: std::collections::BTreeSet<String> = names.iter().map(|words| id_of(words)).collect();
        assert_eq!(ids.len(), names.len(), "{ids:?}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(ids.iter().all(|id| id.chars().all(is_plain)), "{ids:?}");
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
    }
}
