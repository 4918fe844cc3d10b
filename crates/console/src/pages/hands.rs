//! What may be done with single messages: beside what they are shown in.

use maud::{Markup, html};

use crate::answers::{Meant, Parked, Rpc};
use crate::commands::{self, ALL, ENTERED};
use crate::frame::{Frame, rpc_path};
use crate::shown::{encoded, query, thousands};

/// Give-up for what waits for another attempt, and the end of a queue without a route.
pub(crate) fn of_queue(frame: &Frame, name: &str, of: &[&Rpc], is_retrying: bool) -> Markup {
    let is_left = !of.is_empty() && of.iter().all(|rpc| rpc.routed == Some(false));
    html! {
        @if is_retrying {
            @let path = format!("{}/give-up", rpc_path(name));
            (frame.act(&path, &commands::give_up(name, ENTERED, "", ENTERED), "Give up", &html! {
                p { "An event that waits for another attempt becomes a dead letter. A redrive takes that back." }
                label { "Event " input name="event" required maxlength="100" autocomplete="off"; }
                label { "Why " input name="why" required maxlength="500" autocomplete="off"; }
            }))
            @if frame.may_repair() { p { a.act href=(frame.link(&path)) { "Give up all…" } } }
        }
        @if is_left && frame.viewer.may_destroy {
            p { a.act href=(frame.link(&format!("/drop{}", query(&[("what", "queue"), ("rpc", name)])))) { "Drop the queue…" } }
        }
    }
}

/// They were counted, and nothing is given up yet.
pub(crate) fn give_up_all(frame: &Frame, rpc: &str, code: &str, meant: &Meant) -> Markup {
    let more = if meant.more { "+" } else { "" };
    let many = format!("{}{more}", thousands(meant.found));
    html! {
        form.filter method="get" {
            label { "Whose last attempt ended with the code " input name="code" value=(code) maxlength="100" autocomplete="off" placeholder="any"; }
            button type="submit" { "Count" }
        }
        p {
            strong { (many) } " message" @if meant.found != 1 { "s" } " of " (frame.rpc(rpc)) " to give up: waiting for another attempt"
            @if !code.is_empty() { ", after one that ended with " code { (code) } }
            ". What waits when this is sent becomes a dead letter, and a redrive takes that back."
        }
        @if meant.found == 0 { p { "There is nothing to give up." } }
        @else if !frame.may_repair() { p { "You may not give them up." } }
        @else {
            @let command = commands::give_up(rpc, "", code, ENTERED);
            (frame.act(&format!("{}/give-up", rpc_path(rpc)), &command, &format!("Give up {many}"), &html! {
                input type="hidden" name="all" value=(ALL);
                input type="hidden" name="code" value=(code);
                label { "Why " input name="why" required maxlength="500" autocomplete="off"; }
            }))
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
