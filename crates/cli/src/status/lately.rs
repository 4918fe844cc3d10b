//! What a person reads of one RPC in the last five minutes. Pure.

use outbox_transport::operate::thousands;

use super::answer::RpcStatus;
use crate::running::{Bound, FiveMinutes};
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, table};

/// There are seventeen codes, and a role may have written others.
const CODES_MAX: usize = 20;

/// A block for each database that has the RPC.
pub(super) fn text(rpcs: &[RpcStatus]) -> Vec<String> {
    let several = rpcs.len() > 1;
    let block = |rpc: &RpcStatus| {
        let (name, source) = (line(&rpc.depth.rpc, NAME_CHARS_MAX), line(&rpc.source, NAME_CHARS_MAX));
        let of = if several { format!("{name} of {source}") } else { name };
        let lately = rpc.serving.five_minutes.as_ref();
        let or_not_known =
            |told: fn(&FiveMinutes) -> String| lately.map_or_else(|| NOT_KNOWN.to_owned(), told);
        let mut rows = table(["LAST 5 MINUTES", of.as_str()]);
        rows.add_row(["come, leave", &or_not_known(rates)]);
        rows.add_row(["forecast", &rpc.forecast.text]);
        rows.add_row(["call times", &or_not_known(times)]);
        rows.add_row(["answers", &or_not_known(answers)]);
        rows.trim_fmt()
    };
    rpcs.iter().map(block).collect()
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

/// `p50 ≤ 5s, p99 ≤ 10s, of 1,053 calls`
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

/// `ok 1,050, deadline_exceeded 3`: the most frequent first.
fn answers(lately: &FiveMinutes) -> String {
    let mut codes: Vec<(&String, u64)> = lately.codes.iter().map(|(code, calls)| (code, *calls)).collect();
    codes.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    let told: Vec<String> = codes
        .iter()
        .take(CODES_MAX)
        .map(|(code, calls)| format!("{} {}", line(code, NAME_CHARS_MAX), number(*calls)))
        .collect();
    if told.is_empty() { "no call ended".to_owned() } else { told.join(", ") }
}

fn number(calls: u64) -> String {
    thousands(i64::try_from(calls).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a time is a bound, and looks no more exact than it is.
    #[test]
    fn bounds_are_shown_as_they_are() {
        let bound = |more_than_seconds, at_most_seconds| Bound { more_than_seconds, at_most_seconds };
        for (of, told) in [
            (bound(0.0, Some(0.001)), "≤ 1ms"),
            (bound(0.001, Some(0.0025)), "≤ 2.5ms"),
            (bound(0.25, Some(0.5)), "≤ 500ms"),
            (bound(0.5, Some(1.0)), "≤ 1s"),
            (bound(5.0, Some(7.5)), "≤ 7.5s"),
            (bound(7.5, Some(10.0)), "≤ 10s"),
            (bound(30.0, Some(60.0)), "≤ 1m"),
            (bound(600.0, None), "> 10m"),
        ] {
            assert_eq!(within(of), told);
        }
    }

    /// Guards promise 8: what is not known, and what did not happen, are two things.
    #[test]
    fn what_is_not_known_is_no_zero() {
        let quiet = FiveMinutes { leave_per_second: Some(0.0), ..FiveMinutes::default() };
        let told = [rates(&quiet), times(&quiet), answers(&quiet)];
        assert_eq!(told, ["not known, 0.0/s", "no call ended", "no call ended"]);
        let codes = [("deadline_exceeded".to_owned(), 3), ("ok".to_owned(), 1050)].into();
        let busy = FiveMinutes {
            codes,
            come_per_second: Some(25.04),
            leave_per_second: Some(0.004),
            ..FiveMinutes::default()
        };
        assert_eq!([rates(&busy), answers(&busy)], ["25/s, 0.004/s", "ok 1,050, deadline_exceeded 3"]);
    }
}
