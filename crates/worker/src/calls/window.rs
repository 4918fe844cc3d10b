//! What became of the calls of one RPC in the last five minutes. Pure; the clock is a parameter.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use outbox_runtime::SECONDS_BOUNDS;
use outbox_transport::process::FiveMinutes;
use tokio::time::Instant;

/// What happens within one step is summed up, so that the window is small at any rate.
const STEP: Duration = Duration::from_secs(15);
/// With the one under way. A step in which nothing happens takes no place.
const STEPS: u64 = 20;
/// A rate over a shorter time is chance.
const MEASURED_MIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Window {
    /// The first look or call.
    since: Option<Instant>,
    steps: VecDeque<Step>,
}

#[derive(Debug, Default)]
struct Step {
    number: u64,
    codes: Vec<(&'static str, u64)>,
    took: [u64; SECONDS_BOUNDS.len() + 1],
    left: u64,
}

impl Window {
    pub(super) fn ended(&mut self, code: &'static str, took: Duration, now: Instant) {
        let step = self.step(now);
        match step.codes.iter_mut().find(|(of, _)| *of == code) {
            Some((_, calls)) => *calls += 1,
            None => step.codes.push((code, 1)),
        }
        let seconds = took.as_secs_f64();
        step.took[SECONDS_BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
    }

    /// A delivery left the queue.
    pub(super) fn left(&mut self, now: Instant) {
        self.step(now).left += 1;
    }

    pub(super) fn look(&mut self, now: Instant) -> FiveMinutes {
        let (number, age) = self.forget(now);
        let measured = age - STEP * u32::try_from(oldest(number)).unwrap_or(u32::MAX);
        let (mut codes, mut left) = (BTreeMap::<String, u64>::new(), 0);
        for step in &self.steps {
            left += step.left;
            for (code, calls) in &step.codes {
                *codes.entry((*code).to_owned()).or_default() += calls;
            }
        }
        let bounds = SECONDS_BOUNDS.into_iter().map(Some).chain([None]).enumerate();
        let within = |at: usize| self.steps.iter().map(|step| step.took[at]).sum::<u64>();
        let took = bounds.map(|(at, bound)| (bound, within(at)));
        FiveMinutes {
            codes,
            took: took.filter(|(_, calls)| *calls > 0).collect(),
            leave_per_second: (measured >= MEASURED_MIN)
                .then(|| rounded(left as f64 / measured.as_secs_f64())),
            grows_per_second: None,
        }
    }

    fn step(&mut self, now: Instant) -> &mut Step {
        let (number, _) = self.forget(now);
        // Calls end beside each other: a time may be a little older than the one before.
        if self.steps.back().is_none_or(|last| last.number < number) {
            self.steps.push_back(Step { number, ..Step::default() });
        }
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// The step of this moment, and how long it is since the first one.
    fn forget(&mut self, now: Instant) -> (u64, Duration) {
        let age = now.saturating_duration_since(*self.since.get_or_insert(now));
        let number = age.as_secs() / STEP.as_secs();
        while self.steps.front().is_some_and(|step| step.number < oldest(number)) {
            self.steps.pop_front();
        }
        (number, age)
    }
}

/// The first step that counts.
fn oldest(number: u64) -> u64 {
    (number + 1).saturating_sub(STEPS)
}

/// A report is short.
fn rounded(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    /// Guards promise 8: the last five minutes have all calls that ended in them, by code and by time, and forget older ones.
    #[test]
    fn five_minutes_of_calls() {
        let (mut window, start) = (Window::default(), Instant::now());
        assert_eq!(window.look(start), FiveMinutes::default());
        for n in 0..100 {
            let code = if n % 50 == 0 { "deadline_exceeded" } else { "ok" };
            let seconds = if n % 50 == 0 { 700.0 } else { 0.0025 };
            window.ended(code, Duration::from_secs_f64(seconds), at(start, f64::from(n) * 2.0));
            window.left(at(start, f64::from(n) * 2.0));
        }
        let look = window.look(at(start, 200.0));
        assert_eq!(look.codes, [("ok".to_owned(), 98), ("deadline_exceeded".to_owned(), 2)].into());
        assert_eq!(look.took, [(Some(0.0025), 98), (None, 2)]);
        assert_eq!((look.leave_per_second, look.grows_per_second), (Some(0.5), None));

        let look = window.look(at(start, 300.0));
        assert_eq!(look.codes.values().sum::<u64>(), 92, "the first step has passed: {look:?}");
        let later = FiveMinutes { leave_per_second: Some(0.0), ..FiveMinutes::default() };
        assert_eq!(window.look(at(start, 500.0)), later);
        assert_eq!(window.look(at(start, 50_000.0)), later, "the report of a quiet worker stays the same");
    }

    /// Guards promise 8: a time is counted at the first bound that is not below it.
    #[test]
    fn a_time_has_its_bound() {
        for (millis, bound) in [
            (0, Some(0.001)),
            (1, Some(0.001)),
            (2, Some(0.0025)),
            (7_500, Some(7.5)),
            (7_501, Some(10.0)),
            (600_000, Some(600.0)),
            (600_001, None),
        ] {
            let (mut window, now) = (Window::default(), Instant::now());
            window.ended("ok", Duration::from_millis(millis), now);
            assert_eq!(window.look(now).took, [(bound, 1)], "{millis} ms");
        }
    }

    /// Guards promise 8: a rate that was measured for less than a minute is not known, and no zero.
    #[test]
    fn a_rate_takes_a_minute() {
        for (seconds, known) in [(0.0, None), (59.0, None), (60.0, Some(0.5)), (100.0, Some(0.3))] {
            let (mut window, start) = (Window::default(), Instant::now());
            (0..30).for_each(|_| window.left(start));
            assert_eq!(window.look(at(start, seconds)).leave_per_second, known, "{seconds} s");
        }
    }

    /// Guards promise 7: the window has few steps at any rate.
    #[test]
    fn the_window_is_small() {
        let (mut window, start) = (Window::default(), Instant::now());
        for n in 0..1_000_000_u64 {
            window.ended("ok", Duration::from_millis(1), start + Duration::from_micros(n * 600));
        }
        assert_eq!(window.steps.len() as u64, STEPS);
    }
}
