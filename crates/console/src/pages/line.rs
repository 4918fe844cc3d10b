use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::answers::{Differing, Finding, Process, Report, Status};
use crate::ask::{Refusal, words};
use crate::frame::Frame;
use crate::late::older;
use crate::parts::{Tone, more, refused, state, table};
use crate::shared::Seen;
use crate::shown::{NOT_KNOWN, age_or, counted, short, thousands};

const TEXT_CHARS_MAX: usize = 400;
const ROWS_MAX: usize = 40;
const FINDINGS_MAX: usize = 15;
const DIFFERENCES_MAX: usize = 10;
/// A longer statement is not for a page.
const HINT_CHARS_MAX: usize = 2000;
/// So much of a hash is enough to tell two apart.
const HASH_CHARS: usize = 8;

pub(crate) fn page(frame: &Frame, status: &Status, report: Result<&Seen<Report>, &Refusal>) -> Markup {
    html! {
        section aria-labelledby="processes" {
            h2 #processes { "Processes" }
            (differing(status))
            @if status.processes.is_empty() { p { "No relay and no worker reports here." } }
            @else { (processes(frame, &status.processes)) }
        }
        section aria-labelledby="doctor" {
            h2 #doctor { "Doctor" }
            @match report {
                Ok(seen) => { (older(seen)) (findings(frame, &seen.value)) }
                Err(refusal) => { (refused(refusal)) }
            }
        }
    }
}

/// Each database may have routes of its own.
fn differing(status: &Status) -> Markup {
    let is_known = status.processes.iter().any(|process| !process.is_silent() && process.router.is_some());
    let sources: BTreeSet<&str> = status.differing.iter().map(|one| one.source.as_str()).collect();
    html! {
        @if !is_known { p { "Which routes they have is not known." } }
        @else if sources.is_empty() {
            @let in_each = if status.sources.len() > 1 { "in each database " } else { "" };
            p { (state(Tone::Good, "●", &format!("{in_each}all have the same routes"))) }
        }
        @for source in sources {
            @let others: Vec<&Differing> = status.differing.iter().filter(|one| one.source == source).collect();
            @let many = format!("{} versions of event_router.yaml are in use", others.len() + 1);
            p { (state(Tone::Warning, "△", &many)) " in " (source) }
            ul { @for one in others.iter().take(ROWS_MAX) { li { (differs(one)) } } }
            (more(others.len(), ROWS_MAX, ""))
        }
    }
}

fn differs(one: &Differing) -> Markup {
    html! {
        (short(&one.processes.join(", "), TEXT_CHARS_MAX)) ": routes " (one.digest) ", and " (thousands(one.others)) " with " (one.usual) ". "
        @for difference in one.differences.iter().take(DIFFERENCES_MAX) { "The former " (difference) ". " }
        (more(one.differences.len(), DIFFERENCES_MAX, ""))
    }
}

fn processes(frame: &Frame, processes: &[Process]) -> Markup {
    let rows = html! {
        @for process in processes.iter().take(ROWS_MAX) {
            tr data-row {
                th scope="row" { (process.name) }
                td { (process.program) }
                td { (ready(process)) }
                td { (age_or(process.seen_seconds_ago)) " ago" }
                td { (process.version) }
                td { (process.router.as_deref().map_or_else(|| NOT_KNOWN.to_owned(), |hash| short(hash, HASH_CHARS))) ", " (process.routes.len()) " routes" }
                td { (frame.time(process.started_at)) }
                td { (process.address()) }
                td { (process.source) }
            }
        }
    };
    html! {
        (table("Processes", &["Name", "Program", "State", "Seen", "Version", "Routes", "Started", "Address", "Source"], &rows))
        @if processes.len() > ROWS_MAX {
            p { (processes.len() - ROWS_MAX) " more processes:" }
            (frame.runs(&words::status()))
        }
    }
}

fn ready(process: &Process) -> Markup {
    html! {
        @match process.state.as_str() {
            "silent" => { (state(Tone::Bad, "○", "silent")) }
            "ready" => { (state(Tone::Good, "●", "ready")) }
            "" => { (NOT_KNOWN) }
            other => { (state(Tone::Warning, "△", other)) }
        }
        @for waits in &process.waits {
            " " (waits.part) ": " (short(&waits.reason, TEXT_CHARS_MAX))
            @if waits.seconds.is_some() { ", for " (age_or(waits.seconds)) }
        }
    }
}

fn findings(frame: &Frame, report: &Report) -> Markup {
    let of =
        |severity: &'static str| report.findings.iter().filter(move |finding| finding.severity == severity);
    let (well, skipped) = (of("ok"), of("skipped"));
    // What must be repaired comes first.
    let others: Vec<&Finding> = of("error").chain(of("warning")).chain(of("skipped")).collect();
    html! {
        p {
            (well.clone().count()) " ok, " (skipped.count()) " skipped, " (counted(report.warnings, "warning")) ", " (counted(report.errors, "error"))
        }
        ul.findings { @for finding in others.iter().take(FINDINGS_MAX) { (one(frame, finding)) } }
        (more(others.len(), FINDINGS_MAX, "findings"))
        details {
            summary { "What is ok" }
            ul { @for finding in well.clone().take(FINDINGS_MAX) { (one(frame, finding)) } }
            (more(well.count(), FINDINGS_MAX, ""))
        }
    }
}

/// To copy, whole: a statement without its end is useless. One that would fill the page is in the answer of the command.
fn remedy(frame: &Frame, hint: &str) -> Markup {
    if hint.chars().count() <= HINT_CHARS_MAX {
        return frame.command(hint);
    }
    html! { p { (short(hint, TEXT_CHARS_MAX)) } p { "It is longer: the command below prints it." } }
}

fn one(frame: &Frame, finding: &Finding) -> Markup {
    let (tone, shape) = match finding.severity.as_str() {
        "ok" => (Tone::Good, "●"),
        "warning" => (Tone::Warning, "△"),
        "error" => (Tone::Bad, "✖"),
        _ => (Tone::Quiet, "–"),
    };
    html! {
        li {
            (state(tone, shape, &finding.severity)) " " strong { (finding.place) } ": " (short(&finding.message, TEXT_CHARS_MAX))
            @if let Some(hint) = &finding.hint { (remedy(frame, hint)) }
        }
    }
}
