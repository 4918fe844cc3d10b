//! A series as a line, drawn by the server: of the last quarter of an hour, or of a longer time.

use maud::{Markup, html};

use crate::history::{SECONDS, Trend};
use crate::shown::{age, count};

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 22.0;
/// So many points are drawn at most.
const POINTS_MAX: usize = 60;
/// No page was open meanwhile: what was between is not known.
const GAP_SECONDS: i64 = 45;

/// Nothing, if less than two numbers are known, or all are 0.
pub(crate) fn spark(trend: &Trend) -> Markup {
    let Trend(points) = trend;
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    if points.len() < 2 || points.iter().all(|(_, value)| *value == 0) {
        return html! {};
    }
    let text = format!(
        "the last 15 minutes, as far as they were seen: from {} {} ago to {}",
        count(Some(first.1)),
        age(first.0 as f64),
        count(Some(last.1))
    );
    line(points, SECONDS, GAP_SECONDS, &text)
}

/// `points`: how many seconds before the end of the time, and the number. Between two that are further apart than `gap` is no line.
pub(crate) fn line(points: &[(i64, i64)], over: i64, gap: i64, text: &str) -> Markup {
    let top = points.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1) as f64;
    let every = points.len().div_ceil(POINTS_MAX);
    let (mut path, mut before) = (String::new(), i64::MAX);
    let drawn = points.iter().enumerate().filter(|(at, _)| at % every == 0 || *at + 1 == points.len());
    for (_, (ago, value)) in drawn {
        let step = if before.saturating_sub(*ago) > gap.max(4 * every as i64) { 'M' } else { 'L' };
        let x = WIDTH - *ago as f64 / over as f64 * WIDTH;
        let y = HEIGHT - 1.5 - *value as f64 / top * (HEIGHT - 3.0);
        path += &format!("{step}{x:.1} {y:.1}");
        before = *ago;
    }
    html! {
        svg.spark viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) role="img" aria-label=(text) { line.axis x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {} path d=(path) {} }
    }
}

/// `grows by 21 a second`
pub(crate) fn going(trend: &Trend) -> Markup {
    let rate = trend.rate();
    html! {
        @match rate {
            None => {}
            Some(_) if trend.0.iter().all(|(_, value)| *value == 0) => {}
            Some(rate) if rate.abs() < 0.05 => { "steady" }
            Some(rate) => {
                (if rate > 0.0 { "grows" } else { "shrinks" }) " by "
                (if rate.abs() < 10.0 { format!("{:.1}", rate.abs()) } else { format!("{:.0}", rate.abs()) })
                " a second"
            }
        }
    }
}
