use maud::{Markup, html};

use crate::answers::{Letter, Process, Queued, Route, Rpc, Status};
use crate::ask::Refusal;
use crate::frame::{Frame, Tone, refused, rpc_path, state, table};
use crate::shown::{age, age_or, count, query, short, thousands};
use crate::standing::Standing;

const TEXT_CHARS_MAX: usize = 500;

/// What is known of one RPC.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) name: &'a str,
    pub(crate) status: &'a Status,
    pub(crate) routes: &'a [Route],
    pub(crate) retrying: Result<Vec<Queued>, Refusal>,
    pub(crate) letters: Result<Vec<Letter>, Refusal>,
    /// What prints the retrying ones, and the letters.
    pub(crate) commands: [String; 2],
}

pub(crate) fn page(frame: &Frame, known: &Known) -> Markup {
    let [retrying_command, letters_command] = &known.commands;
    let of: Vec<&Rpc> = known.status.rpcs.iter().filter(|rpc| rpc.rpc == known.name).collect();
    html! {
        @if of.is_empty() { p { "No queue and no route of this RPC is known here." } }
        @for rpc in &of { (one(frame, rpc, known.status)) }
        (actions(frame, known.name, &of))
        (crate::pages::hands::of_queue(frame, known.name, &of))
        (workers(frame, known))
        (policy(known))
        section aria-labelledby="retrying" {
            h2 #retrying { "Retrying" }
            @match &known.retrying {
                Ok(queued) if queued.is_empty() => { p { "No message waits for another attempt." } }
                Ok(queued) => { (retrying(frame, queued)) }
                Err(refusal) => { (refused(refusal)) }
            }
            (frame.command(retrying_command))
        }
        section aria-labelledby="dead" {
            h2 #dead { "Dead letters" }
            @match &known.letters {
                Ok(letters) if letters.is_empty() => { p { "None." } }
                Ok(letters) => {
                    (crate::pages::dead::letters(frame, letters))
                    p { a href=(frame.link(&format!("/dead{}", query(&[("rpc", known.name)])))) { "In groups" } }
                }
                Err(refusal) => { (refused(refusal)) }
            }
            (frame.command(letters_command))
        }
    }
}

fn one(frame: &Frame, rpc: &Rpc, status: &Status) -> Markup {
    let Standing { tone, shape, word } = Standing::of(rpc);
    let serving = &rpc.serving;
    html! {
        p { (state(tone, shape, word)) " in " (rpc.source) }
        @if let Some(pause) = &rpc.pause {
            p { "Paused until " (frame.time(pause.until)) " by " (pause.who) ": " (short(&pause.why, TEXT_CHARS_MAX)) }
        }
        @if let Some(limit) = &rpc.limit {
            p {
                "Limited until " (frame.time(limit.until)) " by " (limit.who) ": " (short(&limit.why, TEXT_CHARS_MAX))
                @if let Some(calls) = limit.concurrency { ", " (calls) " calls at a time in each worker" }
                @if let Some(rate) = limit.rate_per_second { ", " (rate) " calls a second in each worker" }
            }
        }
        @for held in &rpc.held { p { "Held: " (short(held, TEXT_CHARS_MAX)) } }
        @if let Some(missing) = &rpc.missing { p { (short(missing, TEXT_CHARS_MAX)) } }
        @if rpc.routed == Some(false) { p { "event_router.yaml does not have it." } }
        dl {
            dt { "Waiting" } dd { (count(rpc.waiting)) }
            dt { "Oldest" }
            dd {
                @if rpc.waiting == Some(0) && rpc.oldest_seconds.is_none() { "–" } @else { (age_or(rpc.oldest_seconds)) }
                @if let Some(event) = &rpc.oldest_event { ", " (frame.event(event)) }
            }
            dt { "In work" } dd { (count(rpc.hidden)) }
            dt { "Retrying" } dd { (count(rpc.retrying)) }
            dt { "Dead" } dd { (count(rpc.dead)) }
            dt { "Ended in the last minute" } dd { (count(status.ended_in_a_minute(rpc))) }
            @if serving.workers > 0 {
                dt { "Calls under way" }
                dd { (thousands(serving.calls)) " of " (thousands(serving.calls_max)) ", by " (serving.workers) " workers" }
                dt { "A call takes" }
                dd { (age(serving.mean_seconds)) " on average, " (age(serving.longest_seconds)) " at most" }
            }
        }
    }
}

fn actions(frame: &Frame, name: &str, of: &[&Rpc]) -> Markup {
    if !frame.viewer.may_repair {
        return html! {};
    }
    let at = |action: &str| format!("{}/{action}", rpc_path(name));
    let is_paused = of.iter().any(|rpc| rpc.pause.is_some());
    let is_retrying = of.iter().any(|rpc| rpc.retrying.is_some_and(|many| many > 0));
    html! {
        section.actions aria-labelledby="actions" {
            h2 #actions { "Act" }
            @if is_paused { (frame.form(&at("resume"), "Resume", &html! {})) }
            (frame.form(&at("pause"), if is_paused { "Pause anew" } else { "Pause" }, &html! {
                label { "For " select name="for" { option value="15m" { "15 minutes" } option value="1h" selected { "1 hour" } option value="4h" { "4 hours" } } }
                label { "Why " input name="why" required maxlength="500" autocomplete="off"; }
            }))
            @if is_retrying { (frame.form(&at("retry"), "Retry now what waits for an attempt", &html! {})) }
        }
    }
}

fn workers(frame: &Frame, known: &Known) -> Markup {
    let serving = known.status.processes.iter().filter(|process| process.program == "worker");
    let reports: Vec<_> = serving
        .flat_map(|worker| {
            worker.rpcs.iter().filter(|report| report.rpc == known.name).map(move |report| (worker, report))
        })
        .collect();
    let row = |worker: &Process| {
        if worker.is_silent() {
            state(Tone::Bad, "○", "silent")
        } else {
            state(Tone::Good, "●", "reports")
        }
    };
    let rows = html! {
        @for (worker, report) in &reports {
            tr data-row {
                th scope="row" { (worker.name) }
                td { (row(worker)) " " (age_or(worker.seen_seconds_ago)) " ago" }
                td.number { (report.calls) " of " (report.calls_max) }
                td {
                    (report.breaker)
                    @if report.breaker != "closed" { @if let Some(since) = report.breaker_since { " since " (frame.time(Some(since))) } }
                }
                td {
                    @match &report.last_error {
                        Some(error) => { (error.code) ": " (short(&error.text, TEXT_CHARS_MAX)) " " (frame.time(error.at)) }
                        None => { "–" }
                    }
                }
                td { (worker.router.as_deref().map_or_else(|| "not known".to_owned(), |router| short(router, 8))) }
            }
        }
    };
    html! {
        section aria-labelledby="workers" {
            h2 #workers { "Workers" }
            @if reports.is_empty() { p { "No worker reports it." } }
            @else { (table("Workers", &["Worker", "Seen", "Calls", "Breaker", "Last error", "Routes"], &rows)) }
        }
    }
}

fn policy(known: &Known) -> Markup {
    let of: Vec<&Route> = known.routes.iter().filter(|route| route.rpc == known.name).collect();
    html! {
        section aria-labelledby="policy" {
            h2 #policy { "Routes" }
            @if of.is_empty() { p { "No route is known here." } }
            ul { @for route in of { li { (route.event) ": " (crate::pages::routes::policy(route)) } } }
        }
    }
}

fn retrying(frame: &Frame, queued: &[Queued]) -> Markup {
    let rows = html! {
        @for one in queued {
            tr data-row {
                th scope="row" { (frame.event(&one.event)) }
                td { (one.event_name.as_deref().unwrap_or("not known")) }
                td.number { (one.attempts) }
                td { (frame.time(one.due_at)) }
                td { (one.code.as_deref().unwrap_or("–")) }
                td { (short(one.reason.as_deref().unwrap_or("–"), TEXT_CHARS_MAX)) }
            }
        }
    };
    html! {
        (table("Retrying", &["Event", "Name", "Attempts", "Next", "Code", "Error"], &rows))
        @if queued.len() >= 20 { p { "The oldest 20 are shown." } }
    }
}
