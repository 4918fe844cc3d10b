use maud::{Markup, html};

use crate::answers::{Problem, Rpc, Source, Status};
use crate::frame::Frame;
use crate::late::older;
use crate::live::{Part, id_of};
use crate::pages::map::{RPCS_MAX, map};
use crate::pages::remedy;
use crate::parts::{Tone, more, state, table};
use crate::sampler::{Look, Sample};
use crate::shown::{
    COUNTED_MAX, NOT_KNOWN, age, age_or, bytes, count, counted, rough, short, thousands, whole,
};
use crate::standing::Standing;

/// So many are shown, so that a page stays small.
const FOLDED_MAX: usize = 60;
const SOURCES_MAX: usize = 10;
const PROBLEMS_MAX: usize = 12;
const PROBLEM_CHARS_MAX: usize = 600;
const HEADS: [&str; 8] =
    ["RPC", "State", "#Calls", "#Done a minute", "#Waiting", "#Oldest", "#Retrying", "#Dead"];

/// What is sent again while the page is open.
pub(crate) fn parts(frame: &Frame, sample: &Sample) -> Vec<Part> {
    let Look { status, routes, .. } = &sample.value;
    let mut parts = Vec::new();
    if sample.late.is_some() {
        parts.push(Part::new("late", html! { div #late { (older(sample)) } }));
    }
    parts.push(problems(frame, status));
    parts.push(Part::new(
        "line",
        html! { section #line aria-labelledby="map" { h2 #map { "The line" } (map(frame, status, routes)) } },
    ));
    parts.push(rpcs(frame, status));
    parts.extend(status.sources.iter().take(SOURCES_MAX).map(relay));
    if status.sources.len() > SOURCES_MAX {
        let left = more(status.sources.len(), SOURCES_MAX, "databases");
        parts.push(Part::new("sources", html! { div #sources { (left) } }));
    }
    parts
}

fn problems(frame: &Frame, status: &Status) -> Part {
    let many = status.problems.len();
    let (tone, shape, text) = stuck(status);
    let rows = status.problems.iter().take(PROBLEMS_MAX).enumerate().map(|(n, problem)| {
        let id = format!("p-{n}");
        let row = html! { li id=(id) { (one(frame, status, problem)) } };
        (id, row)
    });
    Part::table("stuck", rows.collect(), |rows| {
        html! {
            section #stuck aria-labelledby="problems" {
                h2 #problems aria-live="polite" { (state(tone, shape, &text)) }
                @if status.sources.is_empty() { p { "No database is given, so what the relay does is not known: start the console with DATABASE_URL." } }
                @if many > 0 {
                    ol.problems { (rows) }
                    (more(many, PROBLEMS_MAX, ""))
                }
                @if !status.notices.is_empty() {
                    h3 { "Set by operators" }
                    ul.notices { @for notice in status.notices.iter().take(PROBLEMS_MAX) { li { (one(frame, status, notice)) } } }
                    (more(status.notices.len(), PROBLEMS_MAX, ""))
                }
            }
        }
    })
}

/// Pure: the heading. What this role does not see, or no database tells, may be stuck.
fn stuck(status: &Status) -> (Tone, &'static str, String) {
    let is_blind = status.sources.iter().any(|source| !source.sees_transactions);
    match status.problems.len() {
        0 if status.sources.is_empty() => {
            (Tone::Warning, "△", "Nothing that is known here is stuck".to_owned())
        }
        0 if is_blind => (Tone::Warning, "△", "Nothing that this role sees is stuck".to_owned()),
        0 => (Tone::Good, "●", "Nothing is stuck".to_owned()),
        many => (Tone::Bad, "✖", counted(many as i64, "problem")),
    }
}

/// What it is, its remedy, and one way on.
pub(crate) fn one(frame: &Frame, status: &Status, problem: &Problem) -> Markup {
    let (path, text) = remedy::place(problem, status);
    html! {
        p { (short(&problem.problem, PROBLEM_CHARS_MAX)) }
        @if let Some(remedy) = &problem.remedy { p.remedy { (short(remedy, PROBLEM_CHARS_MAX)) } }
        div.row {
            @if !frame.path.ends_with(&path) { a.act href=(frame.link(&path)) { (text) } }
            @if let Some(command) = &problem.command { (frame.command(command)) }
        }
    }
}

fn rpcs(frame: &Frame, status: &Status) -> Part {
    let is_well = |rpc: &&Rpc| Standing::of(rpc).tone == Tone::Good;
    let fold = status.rpcs.len() > RPCS_MAX;
    let (well, listed): (Vec<&Rpc>, Vec<&Rpc>) = status.rpcs.iter().partition(|rpc| fold && is_well(rpc));
    let rows = listed.iter().take(RPCS_MAX).map(|rpc| {
        let id = id_of(&["r", &rpc.source, &rpc.rpc]);
        let row = row(frame, status, rpc, &id);
        (id, row)
    });
    Part::table("rpcs", rows.collect(), |rows| {
        html! {
            div #rpcs {
                (table("RPCs", &HEADS, rows))
                (more(listed.len(), RPCS_MAX, "RPCs"))
                @if !well.is_empty() {
                    details #well {
                        summary { (well.len()) " RPCs are well" }
                        ul.columns { @for rpc in well.iter().take(FOLDED_MAX) { li { (frame.rpc(&rpc.rpc)) } } }
                        (more(well.len(), FOLDED_MAX, ""))
                    }
                }
            }
        }
    })
}

fn row(frame: &Frame, status: &Status, rpc: &Rpc, id: &str) -> Markup {
    let Standing { tone, shape, word } = Standing::of(rpc);
    html! {
        tr id=(id) data-row {
            th scope="row" { (frame.rpc(&rpc.rpc)) }
            td { (state(tone, shape, word)) }
            td.number {
                @if rpc.serving.workers == 0 { (NOT_KNOWN) }
                @else { (thousands(rpc.serving.calls)) " of " (thousands(rpc.serving.calls_max)) }
            }
            td.number { (whole(status.ended_in_a_minute(rpc))) }
            td.number { (count(rpc.waiting)) }
            td.number { (oldest(rpc)) }
            td.number { (count(rpc.retrying)) }
            td.number { (count(rpc.dead)) }
        }
    }
}

pub(crate) fn oldest(rpc: &Rpc) -> String {
    match (rpc.waiting, rpc.oldest_seconds) {
        (Some(0), None) => "–".to_owned(),
        (_, Some(seconds)) => rough(seconds),
        (_, None) => NOT_KNOWN.to_owned(),
    }
}

fn relay(source: &Source) -> Part {
    let id = id_of(&["s", &source.source]);
    let html = html! {
        section id=(id) {
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
                    @else { (age_or(source.lag_seconds)) ", " (events(source.waiting_events)) " to be put" }
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
                dd { (events(source.parked)) }
                dt { "Size" }
                dd { (source.outbox_bytes.map_or_else(|| NOT_KNOWN.to_owned(), bytes)) }
            }
        }
    };
    Part::new(&id, html)
}

fn events(many: Option<i64>) -> String {
    match many {
        Some(many) if many < COUNTED_MAX => counted(many, "event"),
        Some(_) => format!("{} events", count(many)),
        None => NOT_KNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: nothing is stuck only if everything that may be stuck is seen.
    #[test]
    fn what_is_not_seen_is_not_well() {
        let source = |sees_transactions| Source { sees_transactions, ..Source::default() };
        let status = |sources: Vec<Source>, problems| Status {
            sources,
            problems: vec![Problem::default(); problems],
            ..Status::default()
        };
        for (status, tone, heading) in [
            (status(vec![source(true)], 0), Tone::Good, "Nothing is stuck"),
            (
                status(vec![source(true), source(false)], 0),
                Tone::Warning,
                "Nothing that this role sees is stuck",
            ),
            (status(vec![], 0), Tone::Warning, "Nothing that is known here is stuck"),
            (status(vec![], 1), Tone::Bad, "1 problem"),
            (status(vec![source(true)], 2), Tone::Bad, "2 problems"),
        ] {
            let (is, _, said) = stuck(&status);
            assert_eq!((is, said.as_str()), (tone, heading), "{status:?}");
        }
    }
}
