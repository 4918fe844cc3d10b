use maud::{Markup, html};

use crate::answers::Kept;
use crate::ask::words::AUDIT_MAX;
use crate::frame::Frame;
use crate::pages::repairs::standing;
use crate::parts::{table, times};
use crate::shown::{encoded, short, thousands};

const COMMAND_CHARS_MAX: usize = 300;

/// The filters, as the address has them.
#[derive(Debug, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) who: &'a str,
    pub(crate) rpc: &'a str,
    pub(crate) event: &'a str,
    pub(crate) since: &'a str,
}

impl Filter<'_> {
    fn is_some(&self) -> bool {
        [self.who, self.rpc, self.event, self.since].iter().any(|value| !value.is_empty())
    }
}

pub(crate) fn page(frame: &Frame, filter: &Filter, kept: &[Kept]) -> Markup {
    let rows = html! {
        @for one in kept {
            tr data-row {
                td { (frame.time(one.at)) }
                th scope="row" { (one.who) @if let Some(role) = &one.role { br; "role " (role) } }
                td { (standing(one)) @if let Some(why) = one.why_ended() { br; (short(why, COMMAND_CHARS_MAX)) } }
                td.number { (one.changed().map_or_else(|| "–".to_owned(), thousands)) }
                td {
                    code { (short(&one.command, COMMAND_CHARS_MAX)) }
                    @if one.progress.is_some() { " " a href=(frame.link(&format!("/repairs/{}", encoded(&one.id)))) { "the repair" } }
                }
            }
        }
    };
    html! {
        form.filter method="get" {
            label { "By " input name="who" value=(filter.who) autocomplete="off"; }
            label { "RPC " input name="rpc" value=(filter.rpc) autocomplete="off"; }
            label { "Event " input name="event" value=(filter.event) autocomplete="off"; }
            label {
                "Since "
                select name="since" { (times(Some("any time"), filter.since)) }
            }
            button type="submit" { "Show" }
        }
        @if kept.is_empty() && filter.is_some() { p { "No entry fits." } }
        @else if kept.is_empty() { p { "No repairs." } }
        @else { (table("Audit", &["At", "By", "Outcome", "#Moved", "Command"], &rows)) }
        @if kept.len() >= AUDIT_MAX { p { "There may be more: at most " (AUDIT_MAX) " of each database are shown, the newest." } }
    }
}
