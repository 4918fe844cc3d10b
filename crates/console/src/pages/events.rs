use maud::{Markup, html};

use crate::answers::Found;
use crate::ask::Refusal;
use crate::frame::Frame;
use crate::parts::{Tone, refused, state, table, times};

/// What was searched, as the address has it.
#[derive(Debug, Default)]
pub(crate) struct Search<'a> {
    pub(crate) key: &'a str,
    pub(crate) name: &'a str,
    pub(crate) header: &'a str,
    pub(crate) since: &'a str,
    pub(crate) until: &'a str,
}

/// Without a condition nothing is asked.
pub(crate) fn page(frame: &Frame, search: &Search, found: Option<Result<&[Found], &Refusal>>) -> Markup {
    html! {
        form.filter method="get" {
            label { "Key " input name="key" value=(search.key) autocomplete="off"; }
            label { "Name " input name="name" value=(search.name) autocomplete="off"; }
            label { "Header " input name="header" value=(search.header) placeholder="tenant=t-9" autocomplete="off"; }
            label { "Of the last " select name="since" { (times(None, search.since)) } }
            label { "Until " input name="until" value=(search.until) placeholder="now" autocomplete="off"; }
            button type="submit" { "Find" }
        }
        @match found {
            None => { p { "Enter a key, a name or a header: all that are given must fit. An event's id goes into the search field above." } }
            Some(Err(refusal)) => { (refused(refusal)) }
            Some(Ok([])) => { p { "No such event in the outbox, among the parked events, or among the dead letters." } }
            Some(Ok(found)) => { (rows(frame, found)) }
        }
    }
}

fn rows(frame: &Frame, found: &[Found]) -> Markup {
    let rows = html! {
        @for one in found {
            tr data-row {
                th scope="row" { (frame.event(&one.event)) }
                td { (one.name) }
                td { (one.key.as_deref().unwrap_or("none")) }
                td { (frame.time(one.occurred_at)) }
                td {
                    @if one.parked { (state(Tone::Bad, "✖", "parked")) " " }
                    @for rpc in &one.dead { (state(Tone::Bad, "✖", "dead")) " at " (frame.rpc(rpc)) " " }
                    @if !one.parked && one.dead.is_empty() { "open it to see" }
                }
            }
        }
    };
    html! {
        (table("Events", &["Event", "Name", "Key", "Enqueued", "State"], &rows))
        @if found.len() >= 60 { p { "The newest 60 are shown: take a shorter time for others." } }
    }
}
