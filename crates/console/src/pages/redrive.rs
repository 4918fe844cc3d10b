use maud::{Markup, html};

use crate::answers::Moved;
use crate::commands;
use crate::frame::Frame;
use crate::shown::{moment, stamp, thousands};

/// What the form has at first: how many a second, and how many deaths stop it.
const RATE: &str = "50";
const STOP_IF_DEAD: &str = "5";
/// So many are tried first.
const FIRST: i64 = 10;

/// Which letters, as the address and the form have it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) rpc: String,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) event: String,
}

impl Group {
    pub(crate) fn pairs(&self) -> [(&'static str, &str); 4] {
        [("rpc", &self.rpc), ("code", &self.code), ("reason", &self.reason), ("event", &self.event)]
    }

    /// An empty filter is no filter: it would mean all.
    pub(crate) fn is_some(&self) -> bool {
        self.pairs().iter().any(|(_, value)| !value.is_empty())
    }
}

/// They were counted, and nothing is moved yet.
pub(crate) fn page(frame: &Frame, group: &Group, counted: &Moved) -> Markup {
    let many = thousands(counted.found);
    html! {
        dl {
            @for (name, value) in group.pairs() {
                @if !value.is_empty() { dt { (name) } dd { (value) } }
            }
        }
        p {
            strong { (many) } " dead letter" @if counted.found != 1 { "s" }
            @if let Some(dead_by) = counted.dead_by { ", counted at " (moment(dead_by, frame.now)) ". What died later is not touched." } @else { "." }
        }
        @match counted.done_before {
            Some(0) => {}
            Some(done) => { p { (thousands(done)) " of them had been done before: the worker finds that in its record, and does not call again." } }
            None => { p { "How many of them had been done before is not known: the record can't be asked." } }
        }
        @if counted.found == 0 { p { "There is nothing to redrive." } }
        @else if !frame.may_repair() { p { "You may not redrive." } }
        @else if let Some(dead_by) = counted.dead_by.map(stamp) {
            @let first = counted.found.min(FIRST).to_string();
            @let flags = [("dead-by", dead_by.as_str()), ("rate", RATE), ("canary", first.as_str()), ("stop-if-dead", STOP_IF_DEAD)];
            @let command = commands::redrive(&[&group.pairs()[..], &flags].concat());
            (frame.act("/dead/redrive", &command, &format!("Redrive {many}"), &html! {
                @for (name, value) in group.pairs() { input type="hidden" name=(name) value=(value); }
                input type="hidden" name="dead_by" value=(dead_by);
                label { "A second " input name="rate" type="number" min="1" max="10000" value=(RATE) required; }
                label { "Try first " input name="canary" type="number" min="0" max="1000" value=(first); }
                label { "Stop when so many die again " input name="stop_if_dead" type="number" min="1" max="1000" value=(STOP_IF_DEAD); }
                label { "Why " input name="why" maxlength="300" autocomplete="off"; }
                @for few in [1, FIRST] {
                    @if counted.found > few { button type="submit" name="limit" value=(few) { "Try " (few) } }
                }
            }))
            p { "Try moves only so many, the oldest first: as an argument, --limit." }
            p { "It goes on when this page is closed. " a href=(frame.link("/repairs")) { "Repairs" } " shows how far it is, stops it, and takes back what has not begun." }
        }
        @else { p { "Until when they were counted is not known: redrive them in a terminal." } }
    }
}
