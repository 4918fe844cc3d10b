use maud::{Markup, html};

use crate::answers::{Letter, Problem, Process, Queued, Route, Rpc, Status};
use crate::ask::Refusal;
use crate::frame::{Frame, rpc_path};
use crate::history::Trend;
use crate::pages::now;
use crate::pages::spark::{going, spark};
use crate::parts::{Tone, refused, state, table};
use crate::shown::{age, age_or, count, counted, query, short, thousands};
use crate::standing::{Standing, breaker};

const TEXT_CHARS_MAX: usize = 500;
const WHY_MAX: usize = 5;

/// What is known of one RPC.
pub(crate) struct Known<'a> {
    pub(crate) name: &'a str,
    pub(crate) status: &'a Status,
    pub(crate) routes: &'a [Route],
    pub(crate) retrying: Result<Vec<Queued>, Refusal>,
    pub(crate) letters: Result<Vec<Letter>, Refusal>,
    /// What prints the retrying ones, and the letters.
    pub(crate) commands: [String; 2],
    /// How a number went: which, and of which source.
    pub(crate) trends: &'a dyn Fn(&str, &str) -> Trend,
}

pub(crate) fn page(frame: &Frame, known: &Known) -> Markup {
    let [retrying_command, letters_command] = &known.commands;
    let of: Vec<&Rpc> = known.status.rpcs.iter().filter(|rpc| rpc.rpc == known.name).collect();
    html! {
        @if of.is_empty() { p { "No queue and no route of this RPC is known here." } }
        (why(frame, known))
        @for rpc in &of { (one(frame, rpc, known)) }
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

/// What the first page says of it.
fn why(frame: &Frame, known: &Known) -> Markup {
    let named = |problem: &&Problem| {
        // The name of another RPC may begin with this one.
        let mut after =
            problem.problem.match_indices(known.name).map(|(at, name)| &problem.problem[at + name.len()..]);
        after.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let named: Vec<&Problem> =
        known.status.problems.iter().chain(&known.status.notices).filter(named).take(WHY_MAX).collect();
    html! {
        @if !named.is_empty() {
            section aria-labelledby="why" {
                h2 #why { "Why" }
                ul.problems { @for problem in named { li { (now::one(frame, known.status, problem)) } } }
            }
        }
    }
}

fn one(frame: &Frame, rpc: &Rpc, known: &Known) -> Markup {
    let (status, trend) = (known.status, |what: &str| (known.trends)(what, &rpc.source));
    let Standing { tone, shape, word } = Standing::of(rpc, status);
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
            dt { "Waiting" } dd.spark { (count(rpc.waiting)) " " (spark(&trend("waiting"))) " " (going(&trend("waiting"))) }
            dt { "Oldest" }
            dd {
                (now::oldest(rpc))
                @if let Some(event) = &rpc.oldest_event { ", " (frame.event(event)) }
            }
            dt { "In work" } dd { (count(rpc.hidden)) }
            dt { "Retrying" } dd { (count(rpc.retrying)) }
            dt { "Dead" } dd.spark { (count(rpc.dead)) " " (spark(&trend("dead"))) " " (going(&trend("dead"))) }
            dt { "Ended in the last minute" } dd { (count(status.ended_in_a_minute(rpc))) }
            @if serving.workers > 0 {
                dt { "Calls under way" }
                dd { (thousands(serving.calls)) " of " (thousands(serving.calls_max)) ", by " (counted(serving.workers, "worker")) }
                dt { "A call takes" }
                dd { (age(serving.mean_seconds)) " on average, " (age(serving.longest_seconds)) " at most" }
            }
        }
    }
}

fn actions(frame: &Frame, name: &str, of: &[&Rpc]) -> Markup {
    if !frame.may_repair() {
        return html! {};
    }
    let at = |action: &str| format!("{}/{action}", rpc_path(name));
    let is_paused = of.iter().any(|rpc| rpc.pause.is_some());
    let is_limited = of.iter().any(|rpc| rpc.limit.is_some());
    let is_retrying = of.iter().any(|rpc| rpc.retrying.is_some_and(|many| many > 0));
    html! {
        section.actions aria-labelledby="actions" {
            h2 #actions { "Act" }
            @if is_paused { (frame.form(&at("resume"), "Resume", &html! {})) }
            (frame.form(&at("pause"), if is_paused { "Pause anew" } else { "Pause" }, &html! {
                (until_and_why())
            }))
            @if is_limited { (frame.form(&at("unlimit"), "End the limit", &html! {})) }
            (frame.form(&at("limit"), if is_limited { "Limit anew" } else { "Raise or lower its limits" }, &html! {
                label { "Calls at a time " input name="concurrency" type="number" min="1" max="1000"; }
                label { "A second " input name="rate" type="number" min="1" max="10000"; }
                (until_and_why())
            }))
            p.quiet { "In each worker, in place of event_router.yaml. What is left empty stays as it is there." }
            @if is_retrying { (frame.form(&at("retry"), "Retry now what waits for an attempt", &html! {})) }
        }
    }
}

fn until_and_why() -> Markup {
    html! {
        label { "For " select name="for" { option value="15m" { "15 minutes" } option value="1h" selected { "1 hour" } option value="4h" { "4 hours" } } }
        label { "Why " input name="why" required maxlength="500" autocomplete="off"; }
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
                th scope="row" { (worker.name) br; (worker.address()) }
                td { (row(worker)) " " (age_or(worker.seen_seconds_ago)) " ago" }
                td.number { (report.calls) " of " (report.calls_max) }
                td {
                    (breaker(&report.breaker))
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
            @else { (table("Workers", &["Worker, address", "Seen", "#Calls", "Breaker", "Last error", "Routes"], &rows)) }
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
        (table("Retrying", &["Event", "Name", "#Attempts", "Next", "Code", "Error"], &rows))
        @if queued.len() >= 20 { p { "The oldest 20 are shown." } }
    }
}
