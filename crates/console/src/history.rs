//! How numbers went in the last quarter of an hour, as far as pages were open. Nothing is stored.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};

use crate::shown::COUNTED_MAX;

pub(crate) const SECONDS: i64 = 15 * 60;
const POINTS_MAX: usize = 450;
/// Further series are not kept.
const SERIES_MAX: usize = 800;
/// A rate is of the last minute, and of at least so many seconds.
const RATE_OVER: (i64, i64) = (60, 20);

#[derive(Debug, Clone, Copy)]
struct Point {
    at: u32,
    value: u32,
}

#[derive(Debug, Default)]
pub(crate) struct History(BTreeMap<String, VecDeque<Point>>);

/// One series: how many seconds before its end, and the number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trend(pub(crate) Vec<(i64, i64)>);

impl History {
    pub(crate) fn keep(&mut self, series: &str, at: DateTime<Utc>, value: Option<i64>) {
        let (Ok(seconds), Some(Ok(value))) = (u32::try_from(at.timestamp()), value.map(u32::try_from)) else {
            return;
        };
        if self.0.len() >= SERIES_MAX && !self.0.contains_key(series) {
            let oldest = i64::from(seconds) - SECONDS;
            self.0.retain(|_, points| points.back().is_some_and(|last| i64::from(last.at) >= oldest));
            if self.0.len() >= SERIES_MAX {
                return;
            }
        }
        let points = self.0.entry(series.to_owned()).or_default();
        if points.back().is_some_and(|last| last.at >= seconds) {
            return;
        }
        points.push_back(Point { at: seconds, value });
        while points.len() > POINTS_MAX
            || points.front().is_some_and(|first| i64::from(seconds - first.at) > SECONDS)
        {
            points.pop_front();
        }
    }

    pub(crate) fn of(&self, series: &str, now: DateTime<Utc>) -> Trend {
        let points = self.0.get(series).into_iter().flatten();
        let ago = |point: &Point| (now.timestamp() - i64::from(point.at), i64::from(point.value));
        Trend(points.map(ago).filter(|(ago, _)| (0..=SECONDS).contains(ago)).collect())
    }
}

impl Trend {
    /// By how much it grows in a second. `None` if that is not known, as where counting stops.
    pub(crate) fn rate(&self) -> Option<f64> {
        let (over, at_least) = RATE_OVER;
        let recent: Vec<_> = self.0.iter().filter(|(ago, _)| *ago <= over).collect();
        let ((from, first), (to, last)) = (recent.first()?, recent.last()?);
        let is_known = from - to >= at_least && recent.iter().all(|(_, value)| *value < COUNTED_MAX);
        is_known.then(|| (last - first) as f64 / (from - to) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    /// Guards: what is kept of a day with viewers at all times has a bound, in numbers and in time.
    #[test]
    fn the_past_is_bounded() {
        let mut history = History::default();
        for second in 0..5_000 {
            history.keep("a", at(second), Some(second));
        }
        assert!(size_of::<Point>() * POINTS_MAX * SERIES_MAX <= 3 << 20);
        assert_eq!(history.0["a"].len(), POINTS_MAX);
        for n in 0..2 * SERIES_MAX {
            history.keep(&n.to_string(), at(5_000), Some(1));
        }
        assert_eq!(history.0.len(), SERIES_MAX);
        history.keep("later", at(9_000), Some(1));
        assert_eq!(history.0.len(), 1, "those that are no longer kept up make room");
    }

    /// Guards promise 8: a rate is shown only where it is known.
    #[test]
    fn a_rate_is_known_or_not_shown() {
        let trend = |values: &[(i64, i64)]| {
            let mut history = History::default();
            for (second, value) in values {
                history.keep("a", at(*second), Some(*value));
            }
            history.of("a", at(60)).rate()
        };
        assert_eq!(trend(&[(0, 100), (30, 400), (60, 1_300)]), Some(20.0));
        assert_eq!(trend(&[(50, 100), (60, 200)]), None, "ten seconds are too short");
        assert_eq!(trend(&[(0, 100), (60, 10_000)]), None, "counting stopped");
        assert_eq!(trend(&[(60, 5)]), None);
        assert_eq!(trend(&[]), None);
    }
}
