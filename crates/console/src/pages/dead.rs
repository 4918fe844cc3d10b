use maud::{Markup, html};

use crate::answers::{Group, Letter, Summary};
use crate::ask::words::FEW_MAX;
use crate::frame::Frame;
use crate::history::Trend;
use crate::pages::spark::spark;
use crate::parts::{Tone, more, state, table, times};
use crate::shown::{NOT_KNOWN, age, counted, encoded, query, short, thousands};

const ROWS_MAX: usize = 30;
const REASON_CHARS_MAX: usize = 200;
/// The source of letters on AWS.
const SQS: &str = "sqs";
/// A group to which nothing was added for so long has stopped.
const STILL_SECONDS: i64 = 60;

/// The filters, as the address has them.
#[derive(Debug, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) rpc: &'a str,
    pub(crate) since: &'a str,
}

/// `trends` has one for each group, or none under a filter by time.
pub(crate) fn page(frame: &Frame, filter: &Filter, summary: &Summary, trends: &[Trend]) -> Markup {
    html! {
        form.filter method="get" {
            label { "RPC " input name="rpc" value=(filter.rpc) autocomplete="off"; }
            label {
                "Dead since "
                select name="since" { (times(Some("any time"), filter.since)) }
            }
            button type="submit" { "Show" }
        }
        @if summary.groups.is_empty() { p { "No dead letters." } }
        @else {
            p { (thousands(summary.letters)) " in " (counted(summary.groups.len() as i64, "group")) " of one RPC, code and reason. Numbers, ids and quotations are masked." }
            @if !filter.since.is_empty() { p { "Only letters of that time are counted here. Redrive and drop are of all letters of a group, also of earlier ones." } }
            (groups(frame, &summary.groups, trends))
        }
        @if !summary.read_all { p { "Not all were read: there are more." } }
        (more(summary.groups.len(), ROWS_MAX, "groups"))
    }
}

fn groups(frame: &Frame, groups: &[Group], trends: &[Trend]) -> Markup {
    let rows = html! {
        @for (at, group) in groups.iter().enumerate().take(ROWS_MAX) {
            tr data-row {
                td.number { (thousands(group.count)) }
                td { (frame.rpc(&group.rpc)) }
                td { code { (group.code) } }
                td {
                    a href=(frame.link(&format!("/dead/letter/{}", encoded(&group.sample)))) { (short(&group.reason, REASON_CHARS_MAX)) }
                }
                td { (frame.time(group.first_at)) }
                td { (frame.time(group.last_at)) (still(frame, group)) @if let Some(trend) = trends.get(at) { (spark(trend)) } }
                td {
                    @if frame.may_repair() { a.act href=(frame.link(&redrive(group))) { "Redrive…" } }
                    (crate::pages::drop::of_group(frame, group))
                    @if !group.redrive.is_empty() { details { summary { "Command" } (frame.command(&group.redrive)) } }
                }
            }
        }
    };
    table("Groups", &["#Count", "RPC", "Code", "Reason", "First", "Last", "Act"], &rows)
}

fn still(frame: &Frame, group: &Group) -> Markup {
    let Some(last) = group.last_at else { return html! {} };
    let seconds = (frame.now - last).num_seconds();
    html! {
        br;
        @if seconds < STILL_SECONDS { (state(Tone::Bad, "▲", "still grows")) }
        @else { (state(Tone::Quiet, "■", &format!("stopped {} ago", age(seconds as f64)))) }
    }
}

/// The page that counts before anything is moved.
fn redrive(group: &Group) -> String {
    let part = group.part.as_deref().unwrap_or("");
    format!("/dead/redrive{}", query(&[("rpc", &group.rpc), ("code", &group.code), ("reason", part)]))
}

pub(crate) fn letters(frame: &Frame, letters: &[Letter]) -> Markup {
    let rows = html! {
        @for letter in letters {
            tr data-row {
                th scope="row" { a href=(frame.link(&format!("/dead/letter/{}", encoded(&letter.id)))) { (letter.id) } }
                td { @match &letter.event { Some(event) => { (frame.event(event)) } None => { (NOT_KNOWN) } } }
                td { (letter.event_name.as_deref().unwrap_or(NOT_KNOWN)) }
                td { (frame.time(letter.dead_at)) }
                td { code { (letter.code) } }
                td { (short(&letter.reason, REASON_CHARS_MAX)) }
            }
        }
    };
    html! {
        (table("Dead letters", &["Letter", "Event", "Name", "Dead", "Code", "Reason"], &rows))
        @if letters.len() >= FEW_MAX {
            @if letters.iter().any(|letter| letter.source == SQS) { p { (letters.len()) " are shown. SQS gives them in no order." } }
            @else { p { "The newest " (FEW_MAX) " are shown." } }
        }
    }
}
