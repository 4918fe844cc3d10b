//! The calls of one RPC in the last minutes, for the worker's row: how many are under way, how long they took, and the last
//! error. Metrics have no such window.

mod window; // five minutes

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_runtime::Guarded;
use outbox_transport::Outcome;
use outbox_transport::process::{FailsOften, FiveMinutes, LastError, Minute, shortened};
use tokio::time::Instant;
use window::Window;

use crate::metrics::is_often;
use crate::rpc::CallError;

const WINDOW: Duration = Duration::from_secs(60);
/// Calls that end within one such step are summed up, so that the window is small at any rate.
const STEP: Duration = Duration::from_secs(1);

/// Shared by the consumer's tasks and by the task that writes the row.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Guarded<Recent>>);

#[derive(Default)]
struct Recent {
    last: u64,
    under_way: BTreeMap<u64, Instant>,
    steps: VecDeque<Step>,
    window: Window,
    error: Option<LastError>,
    failed_in_row: u64,
    succeeded_at: Option<DateTime<Utc>>,
    fails_often: Option<FailsOften>,
}

/// What one look finds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Look {
    pub(crate) under_way: usize,
    pub(crate) minute: Minute,
    pub(crate) five_minutes: FiveMinutes,
    pub(crate) error: Option<LastError>,
    /// Since the last success.
    pub(crate) failed_in_row: u64,
    pub(crate) succeeded_at: Option<DateTime<Utc>>,
    pub(crate) fails_often: Option<FailsOften>,
}

struct Step {
    began: Instant,
    ended: u64,
    took: Duration,
    longest: Duration,
}

impl Calls {
    /// Counts a call as under way, until the result is dropped.
    pub(crate) fn begins(&self, now: Instant) -> UnderWay {
        let mut recent = self.0.lock();
        recent.last += 1;
        let id = recent.last;
        recent.under_way.insert(id, now);
        UnderWay { calls: self.clone(), id }
    }

    pub(crate) fn ended(&self, took: Duration, error: Option<&CallError>, now: Instant) {
        let mut recent = self.0.lock();
        recent.ended(took, now);
        recent.window.ended(error.map_or("ok", |error| error.code.as_str()), took, now);
        let at = Utc::now();
        match error {
            None => (recent.failed_in_row, recent.succeeded_at) = (0, Some(at)),
            Some(error) => {
                recent.failed_in_row += 1;
                let (code, text) = (error.code.as_str().to_owned(), shortened(&error.message));
                recent.error = Some(LastError { code, text, at });
            }
        }
    }

    /// Done and dead deliveries leave the queue. A dead letter that its queue refuses stays.
    pub(crate) fn decided(&self, outcome: &Outcome, now: Instant) {
        match outcome {
            Outcome::Done | Outcome::Duplicate | Outcome::Dead { .. } => self.0.lock().window.left(now),
            Outcome::Retry { .. } | Outcome::SetAside { .. } => {}
        }
    }

    /// Keeps the last event that failed often, until its delivery ends in this worker.
    pub(crate) fn settled(&self, event: EventId, attempt: u32, outcome: &Outcome) {
        let mut recent = self.0.lock();
        match outcome {
            Outcome::Retry { code, error, .. } if is_often(attempt, outcome) => {
                let error = LastError { code: (*code).to_owned(), text: shortened(error), at: Utc::now() };
                recent.fails_often = Some(FailsOften { event: event.to_string(), attempt, error });
            }
            Outcome::Retry { .. } | Outcome::SetAside { .. } => {}
            Outcome::Done | Outcome::Duplicate | Outcome::Dead { .. } => {
                recent.fails_often.take_if(|often| often.event == event.to_string());
            }
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        self.0.lock().under_way.len()
    }

    pub(crate) fn look(&self, now: Instant) -> Look {
        let mut recent = self.0.lock();
        recent.forget(now);
        Look {
            under_way: recent.under_way.len(),
            minute: recent.minute(now),
            five_minutes: recent.window.look(now),
            error: recent.error.clone(),
            failed_in_row: recent.failed_in_row,
            succeeded_at: recent.succeeded_at,
            fails_often: recent.fails_often.clone(),
        }
    }
}

impl Recent {
    fn ended(&mut self, took: Duration, now: Instant) {
        self.forget(now);
        if self.steps.back().is_none_or(|step| now >= step.began + STEP) {
            self.steps.push_back(Step {
                began: now,
                ended: 0,
                took: Duration::ZERO,
                longest: Duration::ZERO,
            });
        }
        if let Some(step) = self.steps.back_mut() {
            step.ended += 1;
            step.took += took;
            step.longest = step.longest.max(took);
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.steps.front().is_some_and(|step| now >= step.began + WINDOW) {
            self.steps.pop_front();
        }
    }

    fn minute(&self, now: Instant) -> Minute {
        let ended: u64 = self.steps.iter().map(|step| step.ended).sum();
        let took: Duration = self.steps.iter().map(|step| step.took).sum();
        // A server that never answers ends no call for long.
        let oldest = self.under_way.values().map(|began| now.saturating_duration_since(*began)).max();
        let longest = self.steps.iter().map(|step| step.longest).chain(oldest).max().unwrap_or_default();
        Minute {
            ended,
            mean_seconds: if ended == 0 { 0.0 } else { took.as_secs_f64() / ended as f64 },
            longest_seconds: longest.as_secs_f64(),
        }
    }
}

pub(crate) struct UnderWay {
    calls: Calls,
    id: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.calls.0.lock().under_way.remove(&self.id);
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Calls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: the last minute has all calls that ended in it, and the longest also of those under way.
    #[test]
    fn a_minute_of_calls() {
        let (calls, start) = (Calls::default(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!(calls.look(start), Look::default());
        let hangs = calls.begins(at(0.0));
        for n in 0..100 {
            calls.ended(Duration::from_millis(10 + n % 2 * 20), None, at(1.0 + n as f64 / 100.0));
        }
        let Look { under_way, minute, error, .. } = calls.look(at(9.0));
        assert_eq!((under_way, minute.ended, error), (1, 100, None));
        assert!((minute.mean_seconds - 0.02).abs() < 1e-9, "{minute:?}");
        assert!((minute.longest_seconds - 9.0).abs() < 1e-9, "{minute:?}");
        drop(hangs);
        assert_eq!(calls.look(at(9.0)).five_minutes.codes, [("ok".to_owned(), 100)].into());
        assert!((calls.look(at(9.0)).minute.longest_seconds - 0.03).abs() < 1e-9);
        let later = calls.look(at(70.0));
        assert_eq!((later.under_way, later.minute), (0, Minute::default()));
    }

    /// Guards promise 8: what is done or dead has left the queue. What is tried again has not.
    #[test]
    fn deliveries_that_left_are_counted() {
        let (code, reason) = ("internal", || "e".to_owned());
        for (outcome, left) in [
            (Outcome::Done, 1.0),
            (Outcome::Duplicate, 1.0),
            (Outcome::Dead { code, reason: reason() }, 1.0),
            (Outcome::SetAside { code, reason: reason() }, 0.0),
            (Outcome::retry(outbox_transport::Again::Failed, Duration::ZERO, code, "e"), 0.0),
        ] {
            let (calls, start) = (Calls::default(), Instant::now());
            calls.look(start);
            (0..100).for_each(|_| calls.decided(&outcome, start));
            let look = calls.look(start + Duration::from_secs(100));
            assert_eq!(look.five_minutes.leave_per_second, Some(left), "{outcome:?}");
        }
    }

    /// Guards promise 8: failures are counted until a call succeeds.
    #[test]
    fn failures_in_a_row() {
        let (calls, now) = (Calls::default(), Instant::now());
        let error = CallError {
            code: crate::rpc::Code::Internal,
            message: "no".to_owned(),
            retry_after: None,
            by: crate::rpc::By::Server,
        };
        for (error, expected) in [(Some(&error), 1), (Some(&error), 2), (None, 0), (Some(&error), 1)] {
            calls.ended(Duration::from_millis(1), error, now);
            assert_eq!(calls.look(now).failed_in_row, expected);
        }
        assert!(calls.look(now).succeeded_at.is_some());
    }

    /// Guards promise 8: an event that fails often is known until its own delivery ends.
    #[test]
    fn an_event_that_fails_often_is_kept() {
        let (calls, one, other) = (Calls::default(), EventId::new(), EventId::new());
        let retry = Outcome::retry(outbox_transport::Again::Failed, Duration::ZERO, "internal", "e");
        let dead = Outcome::Dead { code: "internal", reason: "e".to_owned() };
        for (event, attempt, outcome, expected) in [
            (one, 7, &retry, None),
            (one, 8, &retry, Some((one, 8))),
            (other, 1, &Outcome::Done, Some((one, 8))),
            (other, 9, &retry, Some((other, 9))),
            (one, 9, &dead, Some((other, 9))),
            (other, 10, &Outcome::Done, None),
        ] {
            calls.settled(event, attempt, outcome);
            let often = calls.look(Instant::now()).fails_often;
            let known = often.map(|often| (often.event, often.attempt));
            assert_eq!(known, expected.map(|(event, attempt)| (event.to_string(), attempt)), "{outcome:?}");
        }
    }

    /// Guards promise 7: the window has few steps at any rate.
    #[test]
    fn the_window_is_small() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        for n in 0..1_000_000_u64 {
            recent.ended(Duration::from_millis(1), start + Duration::from_micros(n * 120));
        }
        assert!(recent.steps.len() <= 61, "{}", recent.steps.len());
    }
}
