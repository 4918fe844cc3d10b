use maud::{Markup, html};

use crate::answers::Searched;
use crate::frame::Frame;
use crate::parts::{Tone, state, table, times};

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
pub(crate) fn page(frame: &Frame, search: &Search, searched: Option<&Searched>) -> Markup {
    let has_keys = frame.viewer.may_search_keys;
    html! {
        form.filter method="get" {
            @if has_keys { label { "Key " input name="key" value=(search.key) autocomplete="off"; } }
            label { "Name " input name="name" value=(search.name) autocomplete="off"; }
            @if has_keys { label { "Header " input name="header" value=(search.header) placeholder="tenant=t-9" autocomplete="off"; } }
            label { "Of the last " select name="since" { (times(None, search.since)) } }
            label { "Until " input name="until" value=(search.until) placeholder="now" autocomplete="off"; }
            button type="submit" { "Find" }
        }
        @match searched {
            None if has_keys => { p { "Enter a key, a name or a header: all that are given must fit. An event's id goes into the search field above." } }
            None => { p { "Enter a name. An event's id goes into the search field above." } }
            Some(searched) => {
                @if !searched.events.is_empty() { (rows(frame, searched)) }
                (rest(searched))
            }
        }
    }
}

/// What else there may be. An event that was not searched for everywhere may exist.
fn rest(searched: &Searched) -> Markup {
    let is_empty = searched.events.is_empty();
    html! {
        @if searched.whole && searched.outbox_searched {
            @if is_empty { p { "No such event in the outbox, among the parked events, or among the dead letters." } }
        } @else {
            div.problem role="status" {
                p { strong { @if is_empty { "Whether there is such an event is not known." } @else { "Whether there are others is not known." } } }
                @if !searched.outbox_searched { p { "No outbox and no parked events were searched, only dead letters: start the console with DATABASE_URL." } }
                @if !searched.whole { p { "Only the newest events of that time were searched, or only some of the dead letters. The command below takes --since and --until." } }
            }
        }
    }
}

fn rows(frame: &Frame, searched: &Searched) -> Markup {
    let has_keys = frame.viewer.may_search_keys;
    let heads: Vec<&str> = ["Event", "Name", "Key", "Enqueued", "State"]
        .into_iter()
        .filter(|head| has_keys || *head != "Key")
        .collect();
    let rows = html! {
        @for one in &searched.events {
            tr data-row {
                th scope="row" { (frame.event(&one.event)) }
                td { (one.name) }
                @if has_keys { td { (one.key.as_deref().unwrap_or("none")) } }
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
        (table("Events", &heads, &rows))
        @if searched.more { p { "The newest " (searched.events.len()) " are shown: take a shorter time for others." } }
    }
}
