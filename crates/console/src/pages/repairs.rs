use maud::{Markup, html};

use crate::answers::{Kept, Progress};
use crate::ask::words::REPAIRS_MAX;
use crate::commands;
use crate::frame::Frame;
use crate::late::older;
use crate::live::{self, Part, id_of};
use crate::parts::{Tone, state, table};
use crate::shared::Seen;
use crate::shown::{NOT_KNOWN, age, encoded, short, thousands};

const COMMAND_CHARS_MAX: usize = 500;
const STOP: &str = "stop";
/// The subcommands, and what their buttons say.
const ACTS: [(&str, &str); 5] = [
    (STOP, "Stop"),
    ("pause", "Pause"),
    ("resume", "Resume"),
    ("continue", "Continue"),
    ("undo", "Take back what has not begun"),
];
const PACE: &str = "pace";
/// No repair moves more in a second.
const RATE_MAX: u32 = 10_000;
const HEADS: [&str; 8] = ["Repair", "State", "Kind", "RPC", "Reached", "By", "Since", "Act"];

/// All of them, or the one with this id. The page changes by itself while one of them runs.
pub(crate) fn page(frame: &Frame, repairs: &Seen<Vec<Kept>>, id: Option<&str>) -> Markup {
    let parts = parts(frame, repairs, id);
    if repairs.value.iter().any(|one| one.state == "running") {
        return live::frame(frame, &[("page", "repairs"), ("id", id.unwrap_or_default())], &parts);
    }
    live::whole(&parts)
}

/// With what says that the numbers are older, if they are.
pub(crate) fn parts(frame: &Frame, repairs: &Seen<Vec<Kept>>, id: Option<&str>) -> Vec<Part> {
    let late = repairs.late.is_some().then(|| Part::new("late", html! { div #late { (older(repairs)) } }));
    let mut parts: Vec<Part> = late.into_iter().collect();
    match id.filter(|id| !id.is_empty()) {
        Some(id) => {
            let of = repairs.value.iter().filter(|one| one.id == id);
            parts.extend(of.map(|kept| Part::new(&id_of(&["k", &kept.source]), one(frame, kept))));
        }
        None => parts.push(list(frame, &repairs.value)),
    }
    parts
}

fn list(frame: &Frame, repairs: &[Kept]) -> Part {
    let rows = repairs.iter().map(|one| {
        let id = id_of(&["k", &one.source, &one.id]);
        let row = row(frame, one, &id);
        (id, row)
    });
    let can_stop = repairs.iter().any(|one| can(one, STOP));
    Part::table("repairs", rows.collect(), |rows| {
        html! {
            div #repairs {
                @if repairs.is_empty() { p { "No redrives, drops or replays." } }
                @else { (table("Repairs", &HEADS, rows)) }
                @if repairs.len() >= REPAIRS_MAX { p { "There may be more: those that run and the newest are shown, " (REPAIRS_MAX) " in all." } }
                @if can_stop && frame.may_repair() { p { "Stop runs:" } (frame.runs(&commands::of_repair(STOP, "ID"))) }
            }
        }
    })
}

fn row(frame: &Frame, one: &Kept, id: &str) -> Markup {
    html! {
        tr id=(id) data-row {
            th scope="row" { a.id href=(frame.link(&format!("/repairs/{}", encoded(&one.id)))) { (short(&one.id, 13)) } }
            td { (standing(one)) }
            td { (one.progress.as_ref().map_or(NOT_KNOWN, |progress| progress.kind.as_str())) }
            td {
                @match one.progress.as_ref().and_then(|progress| progress.rpc.as_deref()) {
                    Some(rpc) => { (frame.rpc(rpc)) }
                    None => { "all" }
                }
            }
            td { (reached(one)) }
            td { (one.who) }
            td { (frame.time(one.at)) }
            td.acts { @if can(one, STOP) { (frame.form(&path(one, STOP), "Stop", &html! {})) } }
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
                @if let Some(by) = one.paused_by() { dt { "Paused" } dd { "by " (by) } }
                dt { "Reached" } dd { (reached(one)) }
                @if let Some(why) = one.why_ended() { dt { "Why it ended" } dd { (short(why, COMMAND_CHARS_MAX)) } }
                dt { "Moved" } dd { (one.changed().map_or_else(|| NOT_KNOWN.to_owned(), thousands)) }
                dt { "Command" } dd { code { (short(&one.command, COMMAND_CHARS_MAX)) } }
            }
            @if frame.may_repair() && ACTS.iter().any(|(what, _)| can(one, what)) {
                h2 { "What can be done" }
                @for (what, button) in ACTS.iter().filter(|(what, _)| can(one, what)) {
                    div.row { (frame.act(&path(one, what), &commands::of_repair(what, &one.id), button, &html! {})) }
                }
                @for (button, rate) in rates(one) {
                    @let (rate, to) = (rate.to_string(), path(one, PACE));
                    @let field = html! { input type="hidden" name="rate" value=(rate); };
                    div.row { (frame.act(&to, &commands::pace(&one.id, &rate), button, &field)) }
                }
            }
        }
    }
}

fn going(frame: &Frame, progress: &Progress) -> Markup {
    html! {
        dt { "Kind" } dd { (progress.kind) }
        dt { "RPC" } dd { @match &progress.rpc { Some(rpc) => { (frame.rpc(rpc)) } None => { "all" } } }
        @if let Some(rate) = progress.rate {
            dt { "Rate" } dd { (thousands(rate.into())) " a second" @if let Some(by) = &progress.rate_by { ", set by " (by) } }
        }
        dt { "Last sign of life" } dd { (age(progress.beat_seconds_ago)) " ago" }
        @if let Some(by) = &progress.stop_by { dt { "Asked to stop" } dd { "by " (by) } }
        @if progress.taken_back > 0 { dt { "Taken back" } dd { (thousands(progress.taken_back)) } }
    }
}

/// How far it is, as a bar and in words.
fn reached(one: &Kept) -> Markup {
    let Some(progress) = &one.progress else { return html! { (NOT_KNOWN) } };
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
    if one.paused_by().is_some() {
        return state(Tone::Warning, "‖", "running, paused");
    }
    let (tone, shape) = match word {
        "running" => (Tone::Quiet, "▶"),
        "ended" => (Tone::Good, "●"),
        "failed" => (Tone::Bad, "✖"),
        _ => (Tone::Warning, "△"),
    };
    state(tone, shape, &word.replace('_', " "))
}

/// Whether its command would still do something.
fn can(one: &Kept, what: &str) -> bool {
    one.can.iter().any(|can| can == what)
}

/// Pure: half and twice its rate, as far as it may have them.
fn rates(one: &Kept) -> Vec<(&'static str, u32)> {
    let rate = one.progress.as_ref().filter(|_| can(one, PACE)).and_then(|progress| progress.rate);
    let Some(rate) = rate else { return Vec::new() };
    let rates = [("Half rate", rate / 2), ("Double rate", rate.saturating_mul(2).min(RATE_MAX))];
    rates.into_iter().filter(|(_, other)| *other > 0 && *other != rate).collect()
}

fn path(one: &Kept, what: &str) -> String {
    format!("/repairs/{}/{what}", encoded(&one.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: one entry has one state in both lists, and a word that is not known is no success.
    #[test]
    fn a_state_is_shown_as_it_is() {
        for (state, outcome, shown) in [
            ("running", "", "running"),
            ("", "not_ended", "not ended"),
            ("ended", "", "ended"),
            ("", "failed", "failed"),
        ] {
            let one = Kept { state: state.to_owned(), outcome: outcome.to_owned(), ..Kept::default() };
            let text = standing(&one).0;
            assert!(text.contains(shown) && text.contains("good") == (shown == "ended"), "{text}");
        }
    }

    /// Guards promise 8: a repair that is offered another rate can keep that one, and none is offered that changes nothing.
    #[test]
    fn other_rates_are_within_bounds() {
        for (rate, can, expected) in [
            (Some(50), PACE, &[("Half rate", 25), ("Double rate", 100)][..]),
            (Some(1), PACE, &[("Double rate", 2)]),
            (Some(6000), PACE, &[("Half rate", 3000), ("Double rate", 10_000)]),
            (Some(10_000), PACE, &[("Half rate", 5000)]),
            (None, PACE, &[]),
            (Some(50), STOP, &[]),
        ] {
            let progress = Some(Progress { rate, ..Progress::default() });
            let one = Kept { can: vec![can.to_owned()], progress, ..Kept::default() };
            assert_eq!(rates(&one), expected, "{rate:?} {can}");
        }
    }

    /// Guards promise 8: one that is paused does not look as if it went on, and one that has ended is paused no more.
    #[test]
    fn a_pause_is_seen() {
        for (state, paused_by, is_paused) in
            [("running", Some("a@b"), true), ("running", None, false), ("stopped", Some("a@b"), false)]
        {
            let progress = Progress { paused_by: paused_by.map(str::to_owned), ..Progress::default() };
            let one = Kept { state: state.to_owned(), progress: Some(progress), ..Kept::default() };
            assert_eq!(standing(&one).0.contains("paused"), is_paused, "{state} {paused_by:?}");
        }
    }
}
