use std::sync::Arc;

use maud::{Markup, html};

use crate::answers::{Letter, Problem, Process, Queued, Route, Rpc, Status};
use crate::ask::words::FEW_MAX;
use crate::ask::{Refusal, words};
use crate::commands::{self, ENTERED};
use crate::frame::{Frame, rpc_path};
use crate::history::Trend;
use crate::late::older;
use crate::pages::spark::{going, spark};
use crate::pages::{lately, now, week};
use crate::parts::{Tone, more, option, refused, state, table};
use crate::shared::Seen;
use crate::shown::{NOT_KNOWN, age, age_or, count, counted, query, short, thousands, whole};
use crate::standing::{Standing, breaker};
use crate::week::Past;

const TEXT_CHARS_MAX: usize = 500;
const WHY_MAX: usize = 5;
/// The pause's first field. The key `p` goes there.
const PAUSE: &str = "pause";
/// For so long an RPC is paused or limited, if nothing else is chosen.
const FOR: &str = "1h";

/// What is known of one RPC.
pub(crate) struct Known<'a> {
    pub(crate) name: &'a str,
    pub(crate) status: &'a Status,
    pub(crate) routes: &'a Result<Arc<Vec<Route>>, Refusal>,
    pub(crate) retrying: Result<Seen<Vec<Queued>>, Refusal>,
    pub(crate) letters: Result<Seen<Vec<Letter>>, Refusal>,
    /// Seven days, if a Prometheus was named.
    pub(crate) week: Option<Past>,
    /// How a number went: which, and of which source.
    pub(crate) trends: &'a dyn Fn(&str, &str) -> Trend,
}

pub(crate) fn page(frame: &Frame, known: &Known) -> Markup {
    let of: Vec<&Rpc> = known.status.rpcs.iter().filter(|rpc| rpc.rpc == known.name).collect();
    let is_retrying = is_retrying(known, &of);
    html! {
        @if of.is_empty() { p { "No queue and no route of this RPC is known here." } }
        (why(frame, known))
        @for rpc in &of { (one(frame, rpc, known)) }
        @if let Some(past) = &known.week { (week::section(past, &of)) }
        // A name that nothing knows may be mistyped.
        @if !of.is_empty() || is_routed(known) || is_retrying {
            (actions(frame, known.name, &of, is_retrying))
            (crate::pages::hands::of_queue(frame, known.name, &of, is_retrying))
        }
        (workers(frame, known))
        (policy(known))
        section aria-labelledby="retrying" {
            h2 #retrying { "Retrying" }
            @match &known.retrying {
                Ok(seen) => { (older(seen)) (retrying(frame, &seen.value)) }
                Err(refusal) => { (refused(refusal)) }
            }
            (frame.runs(&words::retrying(known.name)))
        }
        section aria-labelledby="dead" {
            h2 #dead { "Dead letters" }
            @match &known.letters {
                Ok(seen) => { (older(seen)) (letters(frame, known.name, &seen.value)) }
                Err(refusal) => { (refused(refusal)) }
            }
            (frame.runs(&words::letters(known.name)))
        }
    }
}

/// Also if it is not known: a route that can't be read must not stop a repair.
fn is_routed(known: &Known) -> bool {
    known.routes.as_ref().map_or(true, |routes| routes.iter().any(|route| route.rpc == known.name))
}

/// Whether a message waits for another attempt. One that is called just now is not counted, but it is in the list.
fn is_retrying(known: &Known, of: &[&Rpc]) -> bool {
    of.iter().any(|rpc| rpc.retrying.is_some_and(|many| many > 0))
        || known.retrying.as_ref().is_ok_and(|seen| !seen.value.is_empty())
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
        known.status.problems.iter().chain(&known.status.notices).filter(named).collect();
    html! {
        @if !named.is_empty() {
            section aria-labelledby="why" {
                h2 #why { "Why" }
                ul.problems { @for problem in named.iter().take(WHY_MAX) { li { (now::one(frame, known.status, problem)) } } }
                (more(named.len(), WHY_MAX, ""))
            }
        }
    }
}

fn one(frame: &Frame, rpc: &Rpc, known: &Known) -> Markup {
    let (status, trend) = (known.status, |what: &str| (known.trends)(what, &rpc.source));
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
            dt { "Waiting" } dd.spark { (count(rpc.waiting)) " " (spark(&trend("waiting"))) " " (going(&trend("waiting"))) }
            dt { "Oldest" }
            dd {
                (now::oldest(rpc))
                @if let Some(event) = &rpc.oldest_event { ", " (frame.event(event)) }
            }
            dt { "In work" } dd { (count(rpc.hidden)) }
            dt { "Retrying" } dd { (count(rpc.retrying)) }
            dt { "Dead" } dd.spark { (count(rpc.dead)) " " (spark(&trend("dead"))) " " (going(&trend("dead"))) }
            (lately::rows(rpc))
            dt { "Ended in the last minute" } dd { (whole(status.ended_in_a_minute(rpc))) }
            @if serving.workers > 0 {
                dt { "Calls under way" }
                dd { (thousands(serving.calls)) " of " (thousands(serving.calls_max)) ", by " (counted(serving.workers, "worker")) }
                dt { "A call takes" }
                @if status.ended_in_a_minute(rpc) == Some(0) { dd { "not known: none has ended in the last minute" } }
                @else { dd { (age(serving.mean_seconds)) " on average, " (age(serving.longest_seconds)) " at most" } }
            }
        }
    }
}

fn actions(frame: &Frame, name: &str, of: &[&Rpc], is_retrying: bool) -> Markup {
    if !frame.may_repair() {
        return html! {};
    }
    let at = |action: &str| format!("{}/{action}", rpc_path(name));
    let is_paused = of.iter().any(|rpc| rpc.pause.is_some());
    let is_limited = of.iter().any(|rpc| rpc.limit.is_some());
    html! {
        section.actions aria-labelledby="actions" {
            h2 #actions { "Act" }
            @if is_paused { (frame.act(&at("resume"), &commands::resume(name), "Resume", &html! {})) }
            @let pause = commands::pause(name, FOR, ENTERED);
            (frame.act(&at("pause"), &pause, if is_paused { "Pause anew" } else { "Pause" }, &html! {
                (until_and_why(Some(PAUSE)))
            }))
            @if is_limited { (frame.act(&at("unlimit"), &commands::unlimit(name), "End the limit", &html! {})) }
            @let limit = commands::limit(name, "", "", FOR, ENTERED);
            (frame.act(&at("limit"), &limit, if is_limited { "Limit anew" } else { "Raise or lower its limits" }, &html! {
                label { "Calls at a time " input name="concurrency" type="number" min="1" max="1000"; }
                label { "A second " input name="rate" type="number" min="1" max="10000"; }
                (until_and_why(None))
            }))
            p.quiet { "In each worker, in place of event_router.yaml. What is left empty stays as it is there. As arguments: --concurrency and --rate." }
            @if is_retrying { (frame.act(&at("retry"), &commands::retry(name), "Retry now what waits for an attempt", &html! {})) }
        }
    }
}

fn until_and_why(id: Option<&str>) -> Markup {
    html! {
        label {
            "For "
            select name="for" id=[id] {
                @for (value, text) in [("15m", "15 minutes"), (FOR, "1 hour"), ("4h", "4 hours")] { (option(value, FOR, text)) }
            }
        }
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
                td { (worker.router.as_deref().map_or_else(|| NOT_KNOWN.to_owned(), |router| short(router, 8))) }
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
    html! {
        section aria-labelledby="policy" {
            h2 #policy { "Routes" }
            @match known.routes {
                Ok(routes) => {
                    @let of: Vec<&Route> = routes.iter().filter(|route| route.rpc == known.name).collect();
                    @if of.is_empty() { p { "event_router.yaml has no route to it." } }
                    ul { @for route in of { li { (route.event) ": " (crate::pages::routes::policy(route)) } } }
                }
                Err(refusal) => { p { "Not known: " (refusal.problem) ". " (refusal.remedy) "." } }
            }
        }
    }
}

fn letters(frame: &Frame, name: &str, letters: &[Letter]) -> Markup {
    html! {
        @if letters.is_empty() { p { "None." } }
        @else {
            (crate::pages::dead::letters(frame, letters))
            p { a href=(frame.link(&format!("/dead{}", query(&[("rpc", name)])))) { "In groups" } }
        }
    }
}

fn retrying(frame: &Frame, queued: &[Queued]) -> Markup {
    if queued.is_empty() {
        return html! { p { "No message waits for another attempt." } };
    }
    let rows = html! {
        @for one in queued {
            tr data-row {
                th scope="row" { (frame.event(&one.event)) }
                td { (one.event_name.as_deref().unwrap_or(NOT_KNOWN)) }
                td.number { (one.attempts) }
                td { (frame.time(one.due_at)) }
                td { (one.code.as_deref().unwrap_or("–")) }
                td { (short(one.reason.as_deref().unwrap_or("–"), TEXT_CHARS_MAX)) }
            }
        }
    };
    html! {
        (table("Retrying", &["Event", "Name", "#Attempts", "Next", "Code", "Error"], &rows))
        @if queued.len() >= FEW_MAX { p { "The oldest " (FEW_MAX) " are shown." } }
    }
}
