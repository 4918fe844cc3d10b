use maud::{Markup, html};

use crate::answers::{Group, Letter, Summary};
use crate::frame::Frame;
use crate::history::Trend;
use crate::pages::spark::spark;
use crate::parts::{Tone, option, state, table};
use crate::shown::{age, counted, encoded, query, short, thousands};

const ROWS_MAX: usize = 30;
const REASON_CHARS_MAX: usize = 200;
/// A group to which nothing was added for so long has stopped.
const STILL_SECONDS: i64 = 60;

/// The filters, as the address has them.
#[derive(Debug, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) rpc: &'a str,
    pub(crate) since: &'a str,
}

/// `trends` has one for each group.
pub(crate) fn page(frame: &Frame, filter: &Filter, summary: &Summary, trends: &[Trend]) -> Markup {
    html! {
        form.filter method="get" {
            label { "RPC " input name="rpc" value=(filter.rpc) autocomplete="off"; }
            label {
                "Dead since "
                select name="since" {
                    (option("", filter.since, "any time"))
                    @for (value, text) in crate::pages::events::TIMES { (option(value, filter.since, text)) }
                }
            }
            button type="submit" { "Show" }
        }
        @if summary.groups.is_empty() { p { "No dead letters." } }
        @else {
            p { (thousands(summary.letters)) " in " (counted(summary.groups.len() as i64, "group")) " of one RPC, code and reason. Numbers, ids and quotations are masked." }
            (groups(frame, &summary.groups, trends))
        }
        @if !summary.read_all { p { "Not all were read: there are more." } }
        @if summary.groups.len() > ROWS_MAX { p { (summary.groups.len() - ROWS_MAX) " more groups: see the command below." } }
    }
}

fn groups(frame: &Frame, groups: &[Group], trends: &[Trend]) -> Markup {
    let rows = html! {
        @for (group, trend) in groups.iter().zip(trends).take(ROWS_MAX) {
            tr data-row {
                td.number { (thousands(group.count)) }
                td { (frame.rpc(&group.rpc)) }
                td { code { (group.code) } }
                td {
                    a href=(frame.link(&format!("/dead/letter/{}", encoded(&group.sample)))) { (short(&group.reason, REASON_CHARS_MAX)) }
                }
                td { (frame.time(group.first_at)) }
                td { (frame.time(group.last_at)) (still(frame, group)) (spark(trend)) }
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
                td { @match &letter.event { Some(event) => { (frame.event(event)) } None => { "not known" } } }
                td { (letter.event_name.as_deref().unwrap_or("not known")) }
                td { (frame.time(letter.dead_at)) }
                td { code { (letter.code) } }
                td { (short(&letter.reason, REASON_CHARS_MAX)) }
            }
        }
    };
    html! {
        (table("Dead letters", &["Letter", "Event", "Name", "Dead", "Code", "Reason"], &rows))
        @if letters.len() >= 20 { p { "The newest 20 are shown." } }
    }
}
