use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::answers::Plan;
use crate::commands::{self, ENTERED};
use crate::frame::Frame;
use crate::parts::{Tone, more, state, table};
use crate::shown::{age, counted, short, stamp, thousands};

const ROUTES_MAX: usize = 60;
const TEXT_CHARS_MAX: usize = 300;
const RATE: u32 = 100;

/// Which events, as the address and the form have it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Which {
    pub(crate) event: String,
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) event_name: String,
    pub(crate) rpc: String,
}

impl Which {
    pub(crate) fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("event", &self.event),
            ("since", &self.since),
            ("until", &self.until),
            ("event-name", &self.event_name),
            ("rpc", &self.rpc),
        ]
    }

    /// Without a time and an event it would mean all.
    pub(crate) fn is_some(&self) -> bool {
        !self.event.is_empty() || !self.since.is_empty()
    }
}

/// Without a time and an event nothing is asked.
pub(crate) fn page(frame: &Frame, which: &Which, plan: Option<&Plan>) -> Markup {
    html! {
        form.filter method="get" {
            label { "From " input name="since" value=(which.since) placeholder="12h, or a time" autocomplete="off"; }
            label { "Until " input name="until" value=(which.until) placeholder="now" autocomplete="off"; }
            label { "To the RPC " input name="rpc" value=(which.rpc) placeholder="all subscribers" autocomplete="off"; }
            label { "Event name " input name="event-name" value=(which.event_name) autocomplete="off"; }
            label { "Or one event " input name="event" value=(which.event) placeholder="its id" autocomplete="off"; }
            button type="submit" { "Count" }
        }
        @match plan {
            None => { p { "Events of a past time are sent to their subscribers again, as for an RPC that subscribed later. Nothing is sent before you have seen how many." } }
            Some(plan) => { (planned(frame, which, plan)) }
        }
    }
}

fn planned(frame: &Frame, which: &Which, plan: &Plan) -> Markup {
    let more = if plan.counted_all { "" } else { "+" };
    let many = format!("{}{more}", thousands(plan.messages));
    html! {
        p { strong { (many) " messages" } @if let (Some(since), Some(until)) = (plan.since, plan.until) { " of the time from " (frame.time(Some(since))) " to " (frame.time(Some(until))) } "." }
        (gone(frame, plan))
        @for why in &plan.breakers { p { (state(Tone::Warning, "▲", "its server does not answer")) " " (short(why, TEXT_CHARS_MAX)) ": the messages would wait in its queue." } }
        @if !plan.routes.is_empty() { (routes(frame, plan)) }
        ul {
            @match plan.done_before {
                Some(0) => { li { "None of them had been done before." } }
                Some(done) => { li { (thousands(done)) " of them had been done before: the worker finds that in its record, and does not call again." } }
                None => { li { "How many of them had been done before is not known. What was done in the last 21 days is not called again." } }
            }
            @if plan.not_put > 0 { li { @if !plan.counted_all { "at least " } (counted(plan.not_put, "event")) " not put yet: left alone, they come by themselves." } }
            @if plan.parked > 0 { li { @if !plan.counted_all { "at least " } (counted(plan.parked, "event")) " parked: left alone, see " a href=(frame.link("/parked")) { "Parked" } "." } }
            @if plan.messages > 0 { li { "At " (RATE) " a second it takes " @if !plan.counted_all { "at least " } (age(plan.messages as f64 / f64::from(RATE))) "." } }
        }
        @if plan.messages == 0 { p { "There is nothing to send." } }
        @else if !frame.may_repair() { p { "You may not replay." } }
        @else { (form(frame, which, plan, &many)) }
    }
}

fn gone(frame: &Frame, plan: &Plan) -> Markup {
    let Some(oldest) = plan.oldest_event_at else { return html! {} };
    let missing =
        plan.since.map_or(0, |since| (oldest.min(plan.until.unwrap_or(oldest)) - since).num_seconds());
    html! {
        @if missing > 0 {
            p.problem {
                (state(Tone::Warning, "△", "not all of that time is there")) ": the outbox goes back to "
                (frame.time(Some(oldest))) ", and has no events of the " (age(missing as f64)) " before that."
            }
        }
    }
}

fn routes(frame: &Frame, plan: &Plan) -> Markup {
    let rows = html! {
        @for route in plan.routes.iter().take(ROUTES_MAX) {
            tr data-row {
                th scope="row" { (route.event) }
                td { @match &route.rpc { Some(rpc) => { (frame.rpc(rpc)) } None => { "no subscriber" } } }
                td.number { (thousands(route.events)) @if !plan.counted_all { "+" } }
            }
        }
    };
    html! {
        (table("What would be sent", &["Event", "RPC", "#Events"], &rows))
        (more(plan.routes.len(), ROUTES_MAX, ""))
    }
}

/// It has the times that were counted, so that it sends what was counted.
fn form(frame: &Frame, which: &Which, plan: &Plan, many: &str) -> Markup {
    let of_time = |at: Option<DateTime<Utc>>| match at {
        Some(at) if which.event.is_empty() => stamp(at),
        _ => String::new(),
    };
    let exact = Which { since: of_time(plan.since), until: of_time(plan.until), ..which.clone() };
    let rate = RATE.to_string();
    let command =
        commands::replay(&[&exact.pairs()[..], &[("rate", rate.as_str()), ("why", ENTERED)]].concat());
    html! {
        (frame.act("/replay", &command, &format!("Send {many} messages"), &html! {
            @for (name, value) in exact.pairs() { input type="hidden" name=(name) value=(value); }
            label { "A second " input name="rate" type="number" min="1" max="10000" value=(RATE) required; }
            label { "Stop when so many are dead (not on SQS) " input name="stop-if-dead" type="number" min="1" max="1000"; }
            label { "Why " input name="why" required maxlength="300" autocomplete="off"; }
        }))
        p { "It goes on when this page is closed. " a href=(frame.link("/repairs")) { "Repairs" } " shows how far it is, stops it, and takes back what has not begun." }
    }
}
