use maud::{Markup, html};

use crate::answers::{Route, Rpc, Source, Status};
use crate::ask::Refusal;
use crate::frame::{Frame, Tone, state, table};
use crate::late::older;
use crate::pages::map::map;
use crate::shown::{age, age_or, bytes, count, short, thousands};
use crate::standing::Standing;

/// So many are drawn, so that a page stays small.
const ROWS_MAX: usize = 32;
const SOURCES_MAX: usize = 10;
const PROBLEMS_MAX: usize = 15;
const PROBLEM_CHARS_MAX: usize = 600;

/// The part that is sent again while the page is open.
pub(crate) fn fragment(frame: &Frame, status: &Status, routes: &[Route], late: Option<&Refusal>) -> Markup {
    html! {
        (older(late))
        (problems(frame, status))
        section aria-labelledby="map" {
            h2 #map { "The line" }
            (map(frame, status, routes))
            (rpcs(frame, status))
            @for source in status.sources.iter().take(SOURCES_MAX) { (relay(source)) }
        }
    }
}

pub(crate) fn page(frame: &Frame, fragment: &Markup) -> Markup {
    html! {
        p.live {
            span data-live-said { "This page does not change by itself without JavaScript." }
            " "
            button type="button" hidden data-live-stop aria-pressed="false" { "Hold still" }
        }
        div #live data-live=(frame.link("/live")) { (fragment) }
    }
}

fn problems(frame: &Frame, status: &Status) -> Markup {
    let many = status.problems.len();
    html! {
        section aria-labelledby="problems" aria-live="polite" {
            h2 #problems {
                @match many {
                    0 => { (state(Tone::Good, "●", "Nothing is stuck")) }
                    1 => { (state(Tone::Bad, "✖", "1 thing needs you")) }
                    _ => { (state(Tone::Bad, "✖", &format!("{many} things need you"))) }
                }
            }
            @if many > 0 {
                ol.problems {
                    @for problem in status.problems.iter().take(PROBLEMS_MAX) {
                        li {
                            p { (short(&problem.problem, PROBLEM_CHARS_MAX)) }
                            @if let Some(remedy) = &problem.remedy { p.remedy { (short(remedy, PROBLEM_CHARS_MAX)) } }
                            @if let Some(command) = &problem.command { (frame.command(command)) }
                        }
                    }
                }
                @if many > PROBLEMS_MAX { p { (many - PROBLEMS_MAX) " more: see the command below." } }
            }
            @if !status.notices.is_empty() {
                h3 { "Set by operators" }
                ul {
                    @for notice in status.notices.iter().take(PROBLEMS_MAX) {
                        li {
                            p { (short(&notice.problem, PROBLEM_CHARS_MAX)) }
                            @if let Some(command) = &notice.command { (frame.command(command)) }
                        }
                    }
                }
            }
        }
    }
}

fn rpcs(frame: &Frame, status: &Status) -> Markup {
    let heads =
        ["RPC", "State", "Calls", "Ended in the last minute", "Waiting", "Oldest", "Retrying", "Dead"];
    let mut listed: Vec<&Rpc> = status.rpcs.iter().collect();
    if listed.len() > ROWS_MAX {
        listed.sort_by_key(|rpc| Standing::of(rpc).tone == Tone::Good);
    }
    let rows = html! {
        @for rpc in listed.iter().take(ROWS_MAX) {
            @let Standing { tone, shape, word } = Standing::of(rpc);
            tr data-row {
                th scope="row" { (frame.rpc(&rpc.rpc)) }
                td { (state(tone, shape, word)) }
                td.number {
                    @if rpc.serving.workers == 0 { "not known" }
                    @else { (thousands(rpc.serving.calls)) " of " (thousands(rpc.serving.calls_max)) }
                }
                td.number { (count(status.ended_in_a_minute(rpc))) }
                td.number { (count(rpc.waiting)) }
                td.number {
                    @if rpc.waiting == Some(0) && rpc.oldest_seconds.is_none() { "–" }
                    @else { (age_or(rpc.oldest_seconds)) }
                }
                td.number { (count(rpc.retrying)) }
                td.number { (count(rpc.dead)) }
            }
        }
    };
    html! {
        (table("RPCs", &heads, &rows))
        @if status.rpcs.len() > ROWS_MAX {
            p { (status.rpcs.len() - ROWS_MAX) " more RPCs, those that are well at the end: see the command below." }
        }
    }
}

fn relay(source: &Source) -> Markup {
    html! {
        h3 { "Outbox " (source.source) }
        dl {
            dt { "Leads" }
            dd {
                @match &source.leader {
                    Some(leader) => { (leader.application) ", pid " (leader.pid) }
                    None => { (state(Tone::Bad, "○", "no relay leads")) }
                }
            }
            dt { "Behind" }
            dd {
                @if source.restored { "not known: the cursor is of another server" }
                @else { (age_or(source.lag_seconds)) ", " (count(source.waiting_events)) " events wait to be put" }
            }
            dt { "Oldest transaction" }
            dd {
                @match (&source.oldest_transaction, source.sees_transactions) {
                    (_, false) => { "not known: this role does not see the transactions of others" }
                    (None, true) => { "none is open" }
                    (Some(oldest), true) => {
                        @match oldest.age_seconds {
                            Some(seconds) => { (age(seconds)) }
                            None => { "not known for how long" }
                        }
                        ", pid " (oldest.pid) ", " (oldest.application)
                    }
                }
            }
            dt { "Parked" }
            dd { (count(source.parked)) " events" }
            dt { "Size" }
            dd { (source.outbox_bytes.map_or_else(|| "not known".to_owned(), bytes)) }
        }
    }
}
