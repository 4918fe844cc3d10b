//! An RPC in the last five minutes: what comes and leaves, call times and answers.

use maud::{Markup, html};

use crate::answers::{Bound, FiveMinutes, Rpc, Took};
use crate::shown::{NOT_KNOWN, age, short, thousands};

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 22.0;
/// The first bound of the histogram and the last one: a bar's place is between these, by its logarithm.
const BOUNDS: (f64, f64) = (0.001, 600.0);
/// There are seventeen codes, and a role may have written others.
const CODES_MAX: usize = 20;
const CODE_CHARS_MAX: usize = 60;

/// Terms and descriptions. What happened is counted by workers that still run.
pub(crate) fn rows(rpc: &Rpc) -> Markup {
    let lately = rpc.serving.five_minutes.as_ref();
    let forecast = rpc.forecast.text.as_str();
    html! {
        dt { "Come, leave" } dd { (of(lately, rates)) }
        dt { "Forecast" } dd { (if forecast.is_empty() { NOT_KNOWN } else { forecast }) }
        dt { "Call times in 5 minutes" }
        dd.spark { (of(lately, times)) " " @if let Some(lately) = lately { (bars(&lately.took)) } }
        dt { "Answers in 5 minutes" } dd { (of(lately, answers)) }
    }
}

fn of(lately: Option<&FiveMinutes>, said: fn(&FiveMinutes) -> String) -> String {
    lately.map_or_else(|| NOT_KNOWN.to_owned(), said)
}

/// `25/s, 3.5/s`
fn rates(lately: &FiveMinutes) -> String {
    let known = |rate: Option<f64>| rate.map_or_else(|| NOT_KNOWN.to_owned(), per_second);
    format!("{}, {}", known(lately.come_per_second), known(lately.leave_per_second))
}

fn per_second(rate: f64) -> String {
    let digits = if rate >= 10.0 {
        0
    } else if rate >= 0.1 || rate <= 0.0 {
        1
    } else {
        3
    };
    format!("{rate:.digits$}/s")
}

/// `p50 ≤ 7.5s, p99 ≤ 10s, of 1,053 calls`: a histogram knows no time better than that.
fn times(lately: &FiveMinutes) -> String {
    let (Some(half), Some(most)) = (lately.p50, lately.p99) else { return "no call ended".to_owned() };
    let calls = lately.took.iter().fold(0_u64, |all, one| all.saturating_add(one.calls));
    format!("p50 {}, p99 {}, of {} calls", within(half), within(most), number(calls))
}

fn within(bound: Bound) -> String {
    match bound.at_most_seconds {
        Some(seconds) => format!("≤ {}", seconds_of(seconds)),
        None => format!("> {}", seconds_of(bound.more_than_seconds)),
    }
}

/// As exact as a bound is: `2.5ms`, `7.5s`, `10m`.
fn seconds_of(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{}ms", (seconds * 10_000.0).round() / 10.0),
        ..60.0 => format!("{seconds}s"),
        _ => age(seconds),
    }
}

/// `ok 1,050 · deadline_exceeded 3`: the most frequent first.
fn answers(lately: &FiveMinutes) -> String {
    let mut codes: Vec<(&String, u64)> = lately.codes.iter().map(|(code, calls)| (code, *calls)).collect();
    codes.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    let said: Vec<String> = codes
        .iter()
        .take(CODES_MAX)
        .map(|(code, calls)| format!("{} {}", short(code, CODE_CHARS_MAX), number(*calls)))
        .collect();
    if said.is_empty() { "no call ended".to_owned() } else { said.join(" · ") }
}

fn number(calls: u64) -> String {
    thousands(i64::try_from(calls).unwrap_or(i64::MAX))
}

/// A bar for each bound with calls, from fast to slow.
fn bars(took: &[Took]) -> Markup {
    let most = took.iter().map(|one| one.calls).max().unwrap_or(0);
    if most == 0 {
        return html! {};
    }
    let path: String = took
        .iter()
        .map(|one| {
            let height = (one.calls as f64 / most as f64 * (HEIGHT - 2.0)).max(1.0);
            format!("M{:.1} {HEIGHT:.1}V{:.1}", place(one.at_most_seconds), HEIGHT - height)
        })
        .collect();
    let each: Vec<String> =
        took.iter().map(|one| format!("{}: {}", within(one.bound()), number(one.calls))).collect();
    let text = format!("calls by their time, each bound without those before it: {}", each.join(", "));
    html! {
        svg.spark viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) role="img" aria-label=(text) { line.axis x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {} path d=(path) {} }
    }
}

fn place(at_most_seconds: Option<f64>) -> f64 {
    let (first, last) = BOUNDS;
    let Some(seconds) = at_most_seconds else { return WIDTH - 1.0 };
    let part = (seconds.max(first) / first).log10() / (last / first).log10();
    // What is above the last bound stands behind it.
    2.0 + part.min(1.0) * (WIDTH - 8.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lately() -> FiveMinutes {
        let took =
            |more_than_seconds, at_most_seconds, calls| Took { more_than_seconds, at_most_seconds, calls };
        let took = vec![took(7.5, Some(10.0), 1050), took(600.0, None, 3)];
        FiveMinutes {
            codes: [("deadline_exceeded".to_owned(), 3), ("ok".to_owned(), 1050)].into(),
            p50: Some(took[0].bound()),
            p99: Some(took[1].bound()),
            took,
            come_per_second: None,
            leave_per_second: Some(3.5),
        }
    }

    /// Guards promise 8: a time is a bound, an answer has its number, and what is not known is no zero.
    #[test]
    fn five_minutes_are_honest() {
        let busy = lately();
        assert_eq!(times(&busy), "p50 ≤ 10s, p99 > 10m, of 1,053 calls");
        assert_eq!(answers(&busy), "ok 1,050 · deadline_exceeded 3");
        assert_eq!(rates(&busy), "not known, 3.5/s");
        let quiet = FiveMinutes { leave_per_second: Some(0.0), ..FiveMinutes::default() };
        assert_eq!([times(&quiet), answers(&quiet)], ["no call ended", "no call ended"]);
        assert_eq!(rates(&quiet), "not known, 0.0/s");
        assert_eq!(of(None, times), NOT_KNOWN);
        assert_eq!([0.04, 0.1, 25.04].map(per_second), ["0.040/s", "0.1/s", "25/s"]);
    }

    /// Guards promise 8: a slower call stands further to the right, and every bar within the picture.
    #[test]
    fn bars_stand_in_order() {
        let places =
            [Some(0.0), Some(0.001), Some(0.0025), Some(10.0), Some(600.0), Some(1e9), None].map(place);
        assert!(places.is_sorted() && places[0] > 0.0 && places[6] < WIDTH, "{places:?}");
        assert!(places[4] < places[6], "what is above all bounds stands apart: {places:?}");
        let shown = bars(&lately().took).into_string();
        assert!(shown.contains("≤ 10s: 1,050, &gt; 10m: 3"), "{shown}");
        assert_eq!(bars(&[]).into_string(), "");
    }
}
