//! Pure: how far behind an RPC is in an hour, or when it has caught up, if the rates of the last five minutes stay.

use outbox_transport::operate::{COUNTED_MAX, Count, Depth};
use serde::Serialize;

use crate::running::{FiveMinutes, Serving};
use crate::show::age;

const HOUR: f64 = 3600.0;
const LATEST: f64 = 7.0 * 24.0 * HOUR;
/// Less is chance: messages in a second, and the part of those that come.
const STEADY: (f64, f64) = (0.05, 0.02);
/// An RPC that is this far behind keeps up.
const BEHIND_MIN: f64 = 60.0;
/// It is caught up before anyone has read it.
const SOON: f64 = 10.0;
/// The time of a next attempt has not come, so it does not wait for others.
const BUT_RETRIES: &str = "it keeps up, except with what is tried again";

/// The names are stable.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Forecast {
    /// The age of the oldest message in an hour, if the RPC does not keep up.
    pub(super) behind_in_an_hour_seconds: Option<f64>,
    pub(super) caught_up_in_seconds: Option<f64>,
    /// In words, also if it is not known.
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Goes {
    KeepsUp,
    /// What waits becomes neither more nor less.
    Stays,
    CaughtUpIn(f64),
    BehindInAnHour(f64),
}

/// What waits: messages, and for how long the oldest one.
#[derive(Debug, Clone, Copy)]
struct Waits {
    messages: f64,
    oldest: f64,
}

impl Forecast {
    pub(super) fn of(depth: &Depth, serving: &Serving) -> Self {
        match rates(depth, serving) {
            Err(why) => Self { text: format!("not known: {why}"), ..Self::default() },
            Ok((come, leave)) => {
                let oldest = depth.oldest_seconds.unwrap_or_default().max(0.0);
                let waits = Waits { messages: depth.waiting.get() as f64, oldest };
                let goes = goes(waits, come, leave);
                let is_all = depth.retrying.is_none_or(Count::is_zero);
                match goes == Goes::KeepsUp && !is_all {
                    true => Self { text: BUT_RETRIES.to_owned(), ..Self::default() },
                    false => Self::from(goes),
                }
            }
        }
    }
}

impl From<Goes> for Forecast {
    fn from(goes: Goes) -> Self {
        let (behind, caught_up, text) = match goes {
            Goes::KeepsUp => (None, None, "it keeps up".to_owned()),
            Goes::Stays => (None, None, "at this rate it stays as far behind".to_owned()),
            Goes::CaughtUpIn(LATEST..) => (None, None, "at this rate not caught up in a week".to_owned()),
            Goes::CaughtUpIn(time) => {
                (None, Some(time), format!("at this rate caught up in {}", rough(time)))
            }
            Goes::BehindInAnHour(time) => {
                (Some(time), None, format!("at this rate {} behind in an hour", rough(time)))
            }
        };
        Self { behind_in_an_hour_seconds: behind, caught_up_in_seconds: caught_up, text }
    }
}

/// What comes and what leaves in a second, or why that is not known.
fn rates(depth: &Depth, serving: &Serving) -> Result<(f64, f64), &'static str> {
    let retrying = depth.retrying.unwrap_or_default();
    if depth.missing.is_some() {
        return Err("it has no queue");
    }
    if serving.workers == 0 {
        return Err("no running worker reports this RPC");
    }
    let Some(FiveMinutes { come_per_second, leave_per_second, .. }) = &serving.five_minutes else {
        return Err("a worker of an older version runs");
    };
    if depth.waiting.get() >= COUNTED_MAX || retrying.get() >= COUNTED_MAX {
        return Err("it is not counted how many wait beyond 10,000");
    }
    let rates = come_per_second.zip(*leave_per_second);
    rates
        .filter(|(come, leave)| come.is_finite() && leave.is_finite())
        .ok_or("less than a minute was measured")
}

fn goes(waits: Waits, come: f64, leave: f64) -> Goes {
    let (least, part) = STEADY;
    let grows = come - leave;
    let is_steady = grows.abs() <= least.max(come * part);
    let nothing_leaves = leave <= 0.0 && waits.messages > 0.0;
    let goes = if nothing_leaves || (grows > 0.0 && !is_steady) {
        Goes::BehindInAnHour(behind_in_an_hour(waits, come, leave))
    } else if waits.messages <= 0.0 {
        Goes::KeepsUp
    } else if is_steady {
        Goes::Stays
    } else {
        Goes::CaughtUpIn(waits.messages / -grows)
    };
    match goes {
        Goes::BehindInAnHour(..BEHIND_MIN) | Goes::CaughtUpIn(..SOON) => Goes::KeepsUp,
        Goes::Stays if waits.oldest < BEHIND_MIN => Goes::KeepsUp,
        goes => goes,
    }
}

/// The age of the oldest message in an hour, if messages leave in the order in which they came.
fn behind_in_an_hour(Waits { messages, oldest }: Waits, come: f64, leave: f64) -> f64 {
    let left = leave * HOUR;
    match left < messages {
        // It waits already. Those that wait are evenly spread over the age of the oldest.
        true => HOUR + oldest * (1.0 - left / messages),
        // It is yet to come.
        false => HOUR - (left - messages) / come,
    }
}

/// In whole minutes after the first.
fn rough(seconds: f64) -> String {
    age(if seconds < 60.0 { seconds } else { seconds - seconds % 60.0 })
}

#[cfg(test)]
mod tests {
    use outbox_event_router::Rpc;

    use super::*;

    /// Guards promise 8: an RPC that falls behind says how far in an hour, and one that catches up says when. Small changes are
    /// neither.
    #[test]
    fn what_comes_and_leaves_makes_a_forecast() {
        for (messages, oldest, come, leave, text) in [
            // 12,600 leave in an hour: those that came in its first eight minutes.
            (0, 0.0, 25.0, 3.5, "at this rate 51m behind in an hour"),
            (1_260, 60.0, 25.0, 3.5, "at this rate 52m behind in an hour"),
            (5_000, 600.0, 2.0, 1.0, "at this rate 1h 2m behind in an hour"),
            (40, 600.0, 0.0, 0.0, "at this rate 1h 10m behind in an hour"),
            (40, 600.0, 5.0, 0.0, "at this rate 1h 10m behind in an hour"),
            (0, 0.0, 5.0, 0.0, "at this rate 1h behind in an hour"),
            (0, 0.0, 100.0, 97.0, "at this rate 1m behind in an hour"),
            (900, 60.0, 5.0, 10.0, "at this rate caught up in 3m"),
            (150, 60.0, 5.0, 10.0, "at this rate caught up in 30s"),
            (9_000, 60.0, 0.0, 1.0, "at this rate caught up in 2h 30m"),
            (9_999, 60.0, 0.004, 0.06, "at this rate caught up in 2days 1h"),
            (9_999, 900.0, 100.0, 99.0, "at this rate it stays as far behind"),
            (9_999, 900.0, 0.0, 0.05, "at this rate it stays as far behind"),
            (20, 3.0, 25.0, 25.2, "it keeps up"),
            (20, 3.0, 25.0, 30.0, "it keeps up"),
            (0, 0.0, 25.0, 24.9, "it keeps up"),
            (0, 0.0, 0.0, 0.0, "it keeps up"),
            (0, 0.0, 0.0, 30.0, "it keeps up"),
        ] {
            let waits = Waits { messages: f64::from(messages), oldest };
            let told = Forecast::from(goes(waits, come, leave));
            assert_eq!(told.text, text, "{messages} wait, {come} come, {leave} leave");
        }
    }

    /// Guards promise 8: what is not known is said with its reason, and is no forecast.
    #[test]
    fn a_forecast_is_known_or_says_why_not() {
        let depth = |waiting| {
            let depth = Depth::empty(&Rpc::new("A/B").unwrap());
            Depth { waiting: Count::new(waiting), retrying: Some(Count::new(0)), ..depth }
        };
        let rates = |come_per_second, leave_per_second| {
            Some(FiveMinutes { come_per_second, leave_per_second, ..FiveMinutes::default() })
        };
        let serving = |workers, five_minutes| Serving { workers, five_minutes, ..Serving::default() };
        let retries = Depth { retrying: Some(Count::new(7)), ..depth(0) };
        let told = Forecast::of(&retries, &serving(1, rates(Some(0.0), Some(0.0))));
        assert_eq!(told.text, "it keeps up, except with what is tried again");
        let missing = Depth { missing: Some("no such queue".to_owned()), ..depth(0) };
        let known = || rates(Some(25.0), Some(3.5));
        for (depth, serving, text) in [
            (depth(7), serving(1, known()), "at this rate 51m behind in an hour"),
            (depth(10_001), serving(1, known()), "not known: it is not counted how many wait beyond 10,000"),
            (depth(7), serving(1, rates(None, Some(3.5))), "not known: less than a minute was measured"),
            (depth(7), serving(1, rates(None, None)), "not known: less than a minute was measured"),
            (
                depth(7),
                serving(1, rates(Some(f64::INFINITY), Some(1.0))),
                "not known: less than a minute was measured",
            ),
            (depth(7), serving(1, None), "not known: a worker of an older version runs"),
            (depth(7), serving(0, None), "not known: no running worker reports this RPC"),
            (missing, serving(1, known()), "not known: it has no queue"),
        ] {
            let told = Forecast::of(&depth, &serving);
            assert_eq!(told.text, text);
            assert_eq!(told.behind_in_an_hour_seconds.is_some(), !text.starts_with("not known"), "{text}");
        }
    }
}
