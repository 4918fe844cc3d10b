use maud::{Markup, html};

use crate::answers::Parked;
use crate::commands;
use crate::frame::Frame;
use crate::parts::table;
use crate::shown::short;

const REASON_CHARS_MAX: usize = 300;

pub(crate) fn page(frame: &Frame, parked: &[Parked]) -> Markup {
    let (has_keys, acts) =
        (frame.viewer.may_search_keys, frame.viewer.may_repair || frame.viewer.may_destroy);
    let heads = ["Event", "Name", "Key", "Parked", "Code", "Reason", "Outbox", "Act"].into_iter();
    let heads: Vec<&str> =
        heads.filter(|head| (has_keys || *head != "Key") && (acts || *head != "Act")).collect();
    let rows = html! {
        @for one in parked {
            tr data-row {
                th scope="row" { (frame.event(&one.id)) }
                td { (one.name) }
                @if has_keys { td { (one.key.as_deref().unwrap_or("none")) } }
                td { (frame.time(one.parked_at)) }
                td { code { (one.code) } }
                td {
                    (short(&one.reason, REASON_CHARS_MAX))
                    @if one.cut { " Only its beginning is kept: it can't be retried." }
                }
                td { (one.source) }
                @if acts { td { (crate::pages::hands::of_parked(frame, one)) } }
            }
        }
    };
    html! {
        @if parked.is_empty() {
            p { "No parked events." }
            p.quiet { "An event that EventBridge took and could not deliver is none: " a href=(frame.link("/")) { "Now" } " has it as a problem." }
        }
        @else {
            p { "The bus refused these events for good, so no subscriber has them." }
            (table("Parked events", &heads, &rows))
        }
        @if frame.may_repair() && parked.iter().any(|one| !one.cut) { p { "Retry runs:" } (frame.runs(&commands::retry_parked("ID", ""))) }
        @if parked.len() >= 60 { p { "There may be more: 60 are shown." } }
    }
}
