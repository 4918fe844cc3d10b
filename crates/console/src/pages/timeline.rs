//! When what happened to an event, drawn by the server: one row for each subscriber.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::answers::Life;
use crate::shown::{instant, short};

const WIDTH: f64 = 900.0;
const NAMES: f64 = 310.0;
const ROW: usize = 26;
const NAME_CHARS_MAX: usize = 40;
const ROWS_MAX: usize = 30;

/// A mark: when, its shape, and its class.
type Mark = (DateTime<Utc>, &'static str, &'static str);

pub(crate) fn timeline(life: &Life, now: DateTime<Utc>) -> Markup {
    let mut rows = rows(life);
    let left = rows.len().saturating_sub(ROWS_MAX);
    rows.truncate(ROWS_MAX);
    let times = || rows.iter().flat_map(|(_, marks)| marks.iter().map(|mark| mark.0));
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return html! {} };
    // What stands now is on the right, unless everything is over.
    let last = if life.deliveries.iter().all(|one| one.state == "done") { last } else { last.max(now) };
    let span = ((last - first).num_milliseconds() as f64).max(1.0);
    let x = |at: DateTime<Utc>| {
        NAMES + (at - first).num_milliseconds() as f64 / span * (WIDTH - NAMES - 30.0) + 10.0
    };
    let height = rows.len() * ROW + 28;
    html! {
        @if left > 0 { p { (left) " more subscribers are not drawn: the list below has them." } }
        div.wide role="region" aria-label="Timeline" tabindex="0" {
            svg.timeline viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height) role="img" aria-label="Timeline; the list below says the same" {
                @for (at, (name, marks)) in rows.iter().enumerate() {
                    @let y = at * ROW + 18;
                    text x="4" y=(y) { title { (name) } (short(name, NAME_CHARS_MAX)) }
                    line.axis x1=(NAMES) x2=(WIDTH - 10.0) y1=(y - 5) y2=(y - 5) {}
                    @for (when, shape, class) in marks {
                        text.(class) x=(format!("{:.0}", x(*when))) y=(y) text-anchor="middle" { title data-time=(instant(*when)) data-dated { (instant(*when)) } (shape) }
                    }
                }
                text.quiet x=(NAMES) y=(height - 6) data-time=(instant(first)) data-dated { (instant(first)) }
                text.quiet x=(WIDTH - 10.0) y=(height - 6) text-anchor="end" data-time=(instant(last)) data-dated { (instant(last)) }
            }
        }
    }
}

fn rows(life: &Life) -> Vec<(String, Vec<Mark>)> {
    let mut rows = Vec::new();
    let outbox: Vec<Mark> = [
        life.enqueued.as_ref().and_then(|enqueued| enqueued.occurred_at),
        life.put.as_ref().and_then(|put| put.at),
    ]
    .into_iter()
    .flatten()
    .map(|at| (at, "●", "good"))
    .collect();
    if !outbox.is_empty() {
        rows.push(("enqueued and put".to_owned(), outbox));
    }
    for delivery in &life.deliveries {
        let past = life.history.iter().filter(|past| past.rpc.as_deref() == Some(delivery.rpc.as_str()));
        let mut marks: Vec<Mark> = past
            .filter_map(|past| {
                let (shape, class) = match past.what.as_str() {
                    "done" => ("●", "good"),
                    "dead" | "dropped" | "removed" => ("✖", "bad"),
                    "failed" | "held" | "lost" => ("✖", "warning"),
                    _ => ("◇", "quiet"),
                };
                Some((past.at?, shape, class))
            })
            .collect();
        let now = match delivery.state.as_str() {
            "done" => ("●", "good"),
            "dead" | "dropped" => ("✖", "bad"),
            "failed" | "abandoned" => ("✖", "warning"),
            _ => ("◷", "quiet"),
        };
        let stands = delivery.at.or(delivery.since).map(|at| (at, now.0, now.1));
        marks.extend(stands.filter(|mark| !marks.contains(mark)));
        rows.push((delivery.rpc.clone(), marks));
    }
    rows
}
