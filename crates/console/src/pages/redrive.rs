use maud::{Markup, html};

use crate::answers::Moved;
use crate::frame::Frame;
use crate::shown::{instant, stamp, thousands};

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
            @if let Some(dead_by) = counted.dead_by { ", counted at " (instant(dead_by)) ". What died later is not touched." } @else { "." }
        }
        @match counted.done_before {
            Some(0) => {}
            Some(done) => { p { (thousands(done)) " of them had been done before: the worker finds that in its record, and does not call again." } }
            None => { p { "How many of them had been done before is not known: the record can't be asked." } }
        }
        @if counted.found == 0 { p { "There is nothing to redrive." } }
        @else if !frame.may_repair() { p { "You may look, and not redrive." } }
        @else if let Some(dead_by) = counted.dead_by {
            (frame.form("/dead/redrive", &format!("Redrive {many}"), &html! {
                @for (name, value) in group.pairs() { input type="hidden" name=(name) value=(value); }
                input type="hidden" name="dead_by" value=(stamp(dead_by));
                label { "A second " input name="rate" type="number" min="1" max="10000" value="50" required; }
                label { "Try first " input name="canary" type="number" min="0" max="1000" value=(counted.found.min(10)); }
                label { "Stop when so many die again " input name="stop_if_dead" type="number" min="1" max="1000" value="5"; }
                label { "Why " input name="why" maxlength="300" autocomplete="off"; }
            }))
            p { "It goes on when this page is closed. " a href=(frame.link("/repairs")) { "Repairs" } " shows how far it is, stops it, and takes back what has not begun." }
        }
        @else { p { "Until when they were counted is not known: redrive them in a terminal." } }
    }
}
