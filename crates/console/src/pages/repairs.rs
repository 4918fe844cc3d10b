use maud::{Markup, html};

use crate::answers::{Kept, Progress};
use crate::frame::Frame;
use crate::live::{self, Part, id_of};
use crate::parts::{Tone, state, table};
use crate::shown::{age, encoded, short, thousands};

const COMMAND_CHARS_MAX: usize = 500;
const HEADS: [&str; 8] = ["Repair", "State", "Kind", "RPC", "Reached", "By", "Since", "Act"];

/// All of them, or the one with this id. The page changes by itself while one of them runs.
pub(crate) fn page(frame: &Frame, repairs: &[Kept], id: Option<&str>) -> Markup {
    let parts = parts(frame, repairs, id);
    if repairs.iter().any(|one| one.state == "running") {
        return live::frame(frame, &[("page", "repairs"), ("id", id.unwrap_or_default())], &parts);
    }
    live::whole(&parts)
}

pub(crate) fn parts(frame: &Frame, repairs: &[Kept], id: Option<&str>) -> Vec<Part> {
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        let of = repairs.iter().filter(|one| one.id == id);
        return of.map(|kept| Part::new(&id_of(&["k", &kept.source]), one(frame, kept))).collect();
    }
    let rows = repairs.iter().map(|one| {
        let id = id_of(&["k", &one.source, &one.id]);
        let row = row(frame, one, &id);
        (id, row)
    });
    vec![Part::table("repairs", rows.collect(), |rows| {
        html! {
            div #repairs {
                @if repairs.is_empty() { p { "No redrives, drops or replays." } }
                @else { (table("Repairs", &HEADS, rows)) }
            }
        }
    })]
}

fn row(frame: &Frame, one: &Kept, id: &str) -> Markup {
    html! {
        tr id=(id) data-row {
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
            td.acts { @for (what, button) in acts(one) { (act(frame, one, what, button)) } }
        }
    }
}

fn one(frame: &Frame, one: &Kept) -> Markup {
    html! {
        div id=(id_of(&["k", &one.source])) {
            dl {
                dt { "State" } dd { (standing(one)) " in " (one.source) }
                dt { "By" } dd { (one.who) @if let Some(role) = &one.role { ", role " (role) } }
                dt { "Since" } dd { (frame.time(one.at)) }
                @if let Some(progress) = &one.progress { (going(frame, progress)) }
                dt { "Reached" } dd { (reached(one)) }
                @if let Some(why) = one.why_ended() { dt { "Why it ended" } dd { (short(why, COMMAND_CHARS_MAX)) } }
                dt { "Moved" } dd { (one.changed().map_or_else(|| "not known".to_owned(), thousands)) }
                dt { "Command" } dd { code { (short(&one.command, COMMAND_CHARS_MAX)) } }
            }
            @let acts = acts(one);
            @if !acts.is_empty() {
                h2 { "What can be done" }
                @for (what, button) in acts {
                    div.row { (act(frame, one, what, button)) (frame.command(&format!("outbox repair {what} {}", one.id))) }
                }
            }
        }
    }
}

fn going(frame: &Frame, progress: &Progress) -> Markup {
    html! {
        dt { "Kind" } dd { (progress.kind) }
        dt { "RPC" } dd { @match &progress.rpc { Some(rpc) => { (frame.rpc(rpc)) } None => { "all" } } }
        dt { "Last sign of life" } dd { (age(progress.beat_seconds_ago)) " ago" }
        @if let Some(by) = &progress.stop_by { dt { "Asked to stop" } dd { "by " (by) } }
        @if progress.taken_back > 0 { dt { "Taken back" } dd { (thousands(progress.taken_back)) } }
    }
}

/// How far it is, as a bar and in words.
fn reached(one: &Kept) -> Markup {
    let Some(progress) = &one.progress else { return html! { "not known" } };
    html! {
        @match progress.total {
            Some(total) => {
                @let total = total.max(progress.reached);
                progress max=(total.max(1)) value=(progress.reached) aria-label="Reached" { (progress.reached) }
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

/// What a command can still do with it: its word, and the button's.
fn acts(one: &Kept) -> Vec<(&'static str, &'static str)> {
    let Some(progress) = &one.progress else { return Vec::new() };
    let (stop, go_on) = (("stop", "Stop"), ("continue", "Continue"));
    let undo = ("undo", "Take back what has not begun");
    let mut acts = match one.state.as_str() {
        "running" => vec![stop],
        "silent" => vec![stop, go_on],
        "ended" => vec![undo],
        _ => vec![go_on, undo],
    };
    // What was dropped is gone.
    acts.retain(|act| progress.kind != "drop" || *act != undo);
    acts
}

fn act(frame: &Frame, one: &Kept, what: &str, button: &str) -> Markup {
    frame.form(&format!("/repairs/{}/{what}", encoded(&one.id)), button, &html! {})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a repair offers what its command would do, and nothing else.
    #[test]
    fn a_repair_offers_what_can_be_done() {
        for (state, kind, expected) in [
            ("running", "redrive", &["stop"][..]),
            ("silent", "replay", &["stop", "continue"]),
            ("ended", "redrive", &["undo"]),
            ("stopped", "replay", &["continue", "undo"]),
            ("interrupted", "drop", &["continue"]),
            ("ended", "drop", &[]),
        ] {
            let progress = Some(Progress { kind: kind.to_owned(), ..Progress::default() });
            let one = Kept { state: state.to_owned(), progress, ..Kept::default() };
            let acts: Vec<&str> = acts(&one).into_iter().map(|(what, _)| what).collect();
            assert_eq!(acts, expected, "{state} {kind}");
        }
    }
}
