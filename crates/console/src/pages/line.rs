use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::answers::{Finding, Process, Report, Status};
use crate::ask::Refusal;
use crate::frame::Frame;
use crate::parts::{Tone, refused, state, table};
use crate::shown::{age_or, short};

const TEXT_CHARS_MAX: usize = 400;
const ROWS_MAX: usize = 40;
const FINDINGS_MAX: usize = 15;
/// So much of a hash is enough to tell two apart.
const HASH_CHARS: usize = 8;

pub(crate) fn page(frame: &Frame, status: &Status, report: Result<&Report, &Refusal>) -> Markup {
    html! {
        section aria-labelledby="processes" {
            h2 #processes { "Processes" }
            (differing(&status.processes))
            @if status.processes.is_empty() { p { "No relay and no worker reports here." } }
            @else { (processes(frame, &status.processes)) }
        }
        section aria-labelledby="doctor" {
            h2 #doctor { "Doctor" }
            @match report {
                Ok(report) => { (findings(frame, report)) }
                Err(refusal) => { (refused(refusal)) }
            }
        }
    }
}

fn differing(processes: &[Process]) -> Markup {
    let live = processes.iter().filter(|process| !process.is_silent());
    let hashes: BTreeSet<&str> = live.filter_map(|process| process.router.as_deref()).collect();
    html! {
        @match hashes.len() {
            0 => { p { "Which routes they have is not known." } }
            1 => { p { (state(Tone::Good, "●", "all have the same routes")) } }
            many => { p { (state(Tone::Warning, "△", &format!("{many} versions of event_router.yaml are in use"))) } }
        }
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
                td { (process.router.as_deref().map_or_else(|| "not known".to_owned(), |hash| short(hash, HASH_CHARS))) ", " (process.routes.len()) " routes" }
                td { (frame.time(process.started_at)) }
                td { (process.address()) }
                td { (process.source) }
            }
        }
    };
    html! {
        (table("Processes", &["Name", "Program", "State", "Seen", "Version", "Routes", "Started", "Address", "Source"], &rows))
        @if processes.len() > ROWS_MAX { p { (processes.len() - ROWS_MAX) " more: see the command below." } }
    }
}

fn ready(process: &Process) -> Markup {
    html! {
        @if process.is_silent() { (state(Tone::Bad, "○", "silent")) }
        @else if process.ready && process.waits.is_empty() { (state(Tone::Good, "●", "ready")) }
        @else { (state(Tone::Warning, "△", "not ready")) }
        @for waits in &process.waits {
            " " (waits.part) ": " (short(&waits.reason, TEXT_CHARS_MAX))
            @if waits.seconds.is_some() { ", for " (age_or(waits.seconds)) }
        }
    }
}

fn findings(frame: &Frame, report: &Report) -> Markup {
    let well = report.findings.iter().filter(|finding| finding.severity == "ok").count();
    html! {
        p { (well) " ok, " (report.warnings) " warnings, " (report.errors) " errors" }
        ul.findings {
            @for finding in report.findings.iter().filter(|finding| finding.severity != "ok").take(FINDINGS_MAX) { (one(frame, finding)) }
        }
        details {
            summary { "What is ok" }
            ul { @for finding in report.findings.iter().filter(|finding| finding.severity == "ok").take(FINDINGS_MAX) { (one(frame, finding)) } }
        }
    }
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
            @if let Some(hint) = &finding.hint { (frame.command(&short(hint, TEXT_CHARS_MAX * 4))) }
        }
    }
}
