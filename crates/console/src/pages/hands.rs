//! What may be done with single messages: beside what they are shown in.

use maud::{Markup, html};

use crate::answers::{Parked, Rpc};
use crate::commands::{self, ENTERED};
use crate::frame::{Frame, rpc_path};
use crate::shown::{encoded, query};

/// Give-up for what waits for another attempt, and the end of a queue without a route.
pub(crate) fn of_queue(frame: &Frame, name: &str, of: &[&Rpc]) -> Markup {
    let is_retrying = of.iter().any(|rpc| rpc.retrying.is_some_and(|many| many > 0));
    let is_left = !of.is_empty() && of.iter().all(|rpc| rpc.routed == Some(false));
    html! {
        @if is_retrying {
            @let command = commands::give_up(name, "", "", ENTERED);
            (frame.act(&format!("{}/give-up", rpc_path(name)), &command, "Give up", &html! {
                p { "What waits for another attempt becomes a dead letter. A redrive takes that back." }
                label { "Event " input name="event" maxlength="100" autocomplete="off" placeholder="all"; }
                label { "Whose last attempt ended with the code " input name="code" maxlength="100" autocomplete="off" placeholder="all"; }
                label { "Why " input name="why" required maxlength="500" autocomplete="off"; }
            }))
        }
        @if is_left && frame.viewer.may_destroy {
            p { a.act href=(frame.link(&format!("/drop{}", query(&[("what", "queue"), ("rpc", name)])))) { "Drop the queue…" } }
        }
    }
}

pub(crate) fn of_parked(frame: &Frame, one: &Parked) -> Markup {
    html! {
        @if !one.cut { (frame.form(&format!("/parked/{}/retry", encoded(&one.id)), "Retry", &html! {})) }
        @if frame.viewer.may_destroy {
            a.act href=(frame.link(&format!("/drop{}", query(&[("what", "parked"), ("id", &one.id)])))) { "Drop…" }
        }
    }
}
