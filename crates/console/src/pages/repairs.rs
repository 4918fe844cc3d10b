use maud::{Markup, html};

use crate::answers::Kept;
use crate::frame::{Frame, Tone, state, table};
use crate::shown::{age, encoded, short, thousands};

const COMMAND_CHARS_MAX: usize = 500;

pub(crate) fn page(frame: &Frame, repairs: &[Kept]) -> Markup {
    let rows = html! {
        @for one in repairs {
            tr data-row {
                th scope="row" { a.id href=(frame.link(&format!("/repairs/{}", encoded(&one.id)))) { (short(&one.id, 13)) } }
                td { (standing(one)) }
                td { (one.progress.as_ref().map_or("not known", |progress| progress.kind.as_str())) }
                td {
                    @match one.progress.as_ref().and_then(|progress| progress.rpc.as_deref()) {
                        Some(rpc) => { (frame.rpc(rpc)) }
                        None => { "all" }
                    }
                }
                td { (reached(one)) }
                td { (one.who) }
                td { (frame.time(one.at)) }
                td { (act(frame, one)) }
            }
        }
    };
    html! {
        @if repairs.is_empty() { p { "No redrives, drops or replays." } }
        @else { (table("Repairs", &["Repair", "State", "Kind", "RPC", "Reached", "By", "Since", "Act"], &rows)) }
    }
}

pub(crate) fn one(frame: &Frame, found: &[Kept]) -> Markup {
    html! {
        @for one in found {
            dl {
                dt { "State" } dd { (standing(one)) " in " (one.source) }
                dt { "By" } dd { (one.who) @if let Some(role) = &one.role { ", role " (role) } }
                dt { "Since" } dd { (frame.time(one.at)) }
                @if let Some(progress) = &one.progress {
                    dt { "Kind" } dd { (progress.kind) }
                    dt { "RPC" } dd { (progress.rpc.as_deref().unwrap_or("all")) }
                    dt { "Reached" } dd { (reached(one)) }
                    dt { "Last sign of life" } dd { (age(progress.beat_seconds_ago)) " ago" }
                    @if let Some(by) = &progress.stop_by { dt { "Asked to stop" } dd { "by " (by) } }
                    @if progress.taken_back > 0 { dt { "Taken back" } dd { (thousands(progress.taken_back)) } }
                }
                @if let Some(why) = one.why_ended() { dt { "Why it ended" } dd { (short(why, COMMAND_CHARS_MAX)) } }
                dt { "Moved" } dd { (one.changed().map_or_else(|| "not known".to_owned(), thousands)) }
                dt { "Command" } dd { code { (short(&one.command, COMMAND_CHARS_MAX)) } }
            }
            (act(frame, one))
        }
    }
}

/// How far it is, as a bar and in words.
fn reached(one: &Kept) -> Markup {
    let Some(progress) = &one.progress else { return html! { "not known" } };
    html! {
        @match progress.total {
            Some(total) => {
                @let total = total.max(progress.reached);
                progress max=(total.max(1)) value=(progress.reached) { (progress.reached) }
                " " (thousands(progress.reached)) " of " (thousands(total))
            }
            None => { (thousands(progress.reached)) " so far, of how many is not known" }
        }
    }
}

pub(crate) fn standing(one: &Kept) -> Markup {
    let word = if one.state.is_empty() { one.outcome.as_str() } else { one.state.as_str() };
    let (tone, shape) = match word {
        "running" => (Tone::Quiet, "▶"),
        "ended" => (Tone::Good, "●"),
        "failed" => (Tone::Bad, "✖"),
        _ => (Tone::Warning, "△"),
    };
    state(tone, shape, &word.replace('_', " "))
}

fn act(frame: &Frame, one: &Kept) -> Markup {
    let Some(progress) = &one.progress else { return html! {} };
    let at = |what: &str| format!("/repairs/{}/{what}", encoded(&one.id));
    match one.state.as_str() {
        "running" | "silent" => frame.form(&at("stop"), "Stop", &html! {}),
        _ if progress.kind == "drop" => html! {},
        _ => frame.form(&at("undo"), "Take back what has not begun", &html! {}),
    }
}
