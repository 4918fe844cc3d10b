//! How fast a queue grows, by its last measurements. Pure; the clock is a parameter.

use std::collections::VecDeque;
use std::time::Duration;

use outbox_transport::Depth;
use outbox_transport::operate::COUNTED_MAX;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(300);
/// A rate over a shorter time is chance.
const MEASURED_MIN: Duration = Duration::from_secs(60);
/// After a longer pause the measurements before it say nothing of now.
const PAUSE_MAX: Duration = Duration::from_secs(100);

/// `None` for a measurement that did not count to the end. An empty queue may not be measured again until something comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(VecDeque<(Instant, Option<i64>)>);

impl Backlog {
    pub(super) fn measured(&mut self, depth: &Depth, now: Instant) {
        let before = self.0.back().copied();
        if let Some((last, messages)) = before
            && now.saturating_duration_since(last) > PAUSE_MAX
        {
            self.forget();
            // It was empty until a moment ago.
            let since = now.checked_sub(WINDOW).map_or(last, |from| from.max(last));
            self.0.extend((messages == Some(0)).then_some((since, messages)));
        }
        let parts = [depth.waiting, depth.hidden, depth.retrying];
        let is_counted = parts.iter().all(|part| *part < COUNTED_MAX);
        self.0.push_back((now, is_counted.then(|| parts.iter().sum())));
        while self.0.front().is_some_and(|(first, _)| now.saturating_duration_since(*first) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// Another worker measures it now, or it can't be measured.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// By how many messages in a second.
    pub(crate) fn grows(&self, now: Instant) -> Option<f64> {
        let (measured_at, Some(last)) = self.0.back().copied()? else { return None };
        let to = if last == 0 { now } else { measured_at };
        let in_window = || self.0.iter().filter(|(at, _)| now.saturating_duration_since(*at) <= WINDOW);
        let (from, first) = in_window().next().copied().unwrap_or((measured_at, Some(last)));
        let measured = to.saturating_duration_since(from);
        let is_recent = now.saturating_duration_since(to) <= PAUSE_MAX;
        let is_counted = in_window().all(|(_, messages)| messages.is_some());
        let grown = last.saturating_sub(first?) as f64;
        // A report is short.
        (is_recent && is_counted && measured >= MEASURED_MIN)
            .then(|| (grown / measured.as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: the rate is that of the last five minutes. It is not known before a minute, after a pause, where
    /// counting stopped, and in a worker that no longer measures. A queue that was empty stays so until something comes.
    #[test]
    fn a_queue_grows_as_it_was_measured() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let cases: [(&[(u64, i64)], u64, Option<f64>); 15] = [
            (&[], 0, None),
            (&[(0, 5)], 0, None),
            (&[(0, 100), (50, 1_300)], 50, None),
            (&[(0, 100), (30, 90), (60, 1_300)], 65, Some(20.0)),
            (&[(0, 1_300), (60, 100)], 60, Some(-20.0)),
            (&[(0, 7), (60, 7)], 60, Some(0.0)),
            (&[(0, 0), (60, 10_000)], 60, None),
            (&[(0, 100), (60, 1_300)], 161, None),
            (&[(0, 5), (101, 500), (150, 600)], 150, None),
            (&[(0, 0), (101, 500), (150, 600)], 150, Some(4.0)),
            (&[(0, 0), (1_000, 30)], 1_000, Some(0.1)),
            (&[(0, 0)], 59, None),
            (&[(0, 0)], 5_000, Some(0.0)),
            (&[(0, 9_000), (90, 0)], 1_000, Some(0.0)),
            (&[(0, 9_000), (90, 100), (180, 100), (270, 100), (330, 100)], 330, Some(0.0)),
        ];
        for (points, now, expected) in cases {
            let mut backlog = Backlog::default();
            for (second, waiting) in points {
                backlog.measured(&Depth { waiting: *waiting, ..Depth::default() }, at(*second));
            }
            assert_eq!(backlog.grows(at(now)), expected, "{points:?} at {now}");
            backlog.forget();
            assert_eq!(backlog.grows(at(now)), None);
        }
    }

    /// Guards promise 8: what is in work or waits for its next attempt has not left the queue.
    #[test]
    fn all_that_is_in_the_queue_counts() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        backlog.measured(&Depth { waiting: 60, ..Depth::default() }, start);
        let later = start + Duration::from_secs(60);
        backlog.measured(&Depth { hidden: 20, retrying: 40, dead: 900, ..Depth::default() }, later);
        assert_eq!(backlog.grows(later), Some(0.0));
    }
}
