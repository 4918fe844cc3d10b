//! Pure: the steps of a receiver, and the state of its queue for the roster. The clock is a parameter.

use std::time::Duration;

use tokio::time::Instant;

use crate::codes::Says;

/// A receive that takes this long found no message at its start.
const IDLE: Duration = Duration::from_millis(500);
/// A failed call is forgotten after this. Few messages may come to a quiet queue, and without one no call shows that the server
/// answers again. The next failed call is shown at once.
pub(crate) const FAILS_FOR: Duration = Duration::from_secs(300);
/// A state that lasts less than this is not shown.
const LASTS: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Work {
    /// Since when a request for any message has been under way.
    asks: Option<Instant>,
    /// Since when the receiver has not waited for a message.
    busy: Option<Instant>,
    /// Since when no request for any message has succeeded.
    away: Option<Instant>,
    was_full: Option<Instant>,
    /// The last failed call, if none has succeeded since.
    failing: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// There is more work than this worker can do.
    pub(crate) full: bool,
    /// This worker does not deliver: the queue is missing or does not answer, or calls fail, or the breaker admits one probe
    /// at most.
    pub(crate) away: bool,
}

impl Work {
    /// The worker is away until the queue is open.
    pub(crate) fn new(now: Instant) -> Self {
        Self { asks: None, busy: None, away: Some(now), was_full: None, failing: None }
    }

    /// The receiver waits for a free slot or for its rate.
    pub(crate) fn is_crowded(&mut self, now: Instant) {
        self.asks = None;
        self.busy.get_or_insert(now);
    }

    /// A request for any message begins.
    pub(crate) fn asks(&mut self, now: Instant) {
        self.asks = Some(now);
        self.busy.get_or_insert(now);
    }

    pub(crate) fn answered(&mut self, many: usize, now: Instant) {
        let waited = self.asks.is_none_or(|since| now >= since + IDLE);
        match (many, waited) {
            (0, _) => self.busy = None,
            (_, true) => self.busy = Some(now),
            (_, false) => {}
        }
        (self.asks, self.away) = (None, None);
    }

    /// A request finds nothing for a while. The queue is empty, or the request hangs: only its answer shows which.
    pub(crate) fn is_quiet(&mut self, _: Instant) {
        if self.asks.is_some() {
            self.busy = None;
        }
    }

    /// Nothing can be received, whatever slots and messages there are. A request that failed counts from its beginning.
    pub(crate) fn is_away(&mut self, now: Instant) {
        self.away.get_or_insert(self.asks.take().unwrap_or(now));
        self.busy = None;
    }

    /// A call ended. The queue's answers show nothing about calls.
    pub(crate) fn called(&mut self, says: Says, now: Instant) {
        match says {
            Says::Away | Says::Doubtful | Says::Refuses => self.failing = Some(now),
            Says::Succeeds => self.failing = None,
            Says::Serves | Says::Nothing => {}
        }
    }

    pub(crate) fn rests(&mut self, _: Instant) {
        (self.asks, self.busy) = (None, None);
    }

    /// A queue counts as full for `every` more, the time between two entries, so that helpers do not begin and end in turn.
    pub(crate) fn said(&mut self, now: Instant, every: Duration) -> Said {
        let lasts = |since: Option<Instant>| since.is_some_and(|since| now >= since + LASTS);
        let idles = self.asks.is_some_and(|since| now >= since + IDLE);
        if lasts(self.busy) && !idles {
            self.was_full = Some(now);
        }
        let full = self.was_full.is_some_and(|at| now < at + every);
        let fails = self.failing.is_some_and(|at| now < at + FAILS_FOR);
        Said { full, away: fails || lasts(self.away) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    enum Did {
        Crowded,
        Asks,
        Answered(usize),
        Quiet,
        Away,
        Rests,
        Called(Says),
    }
    use Did::{Answered, Asks, Away, Called, Crowded, Quiet, Rests};

    /// Takes these steps, each at its millisecond. Returns whether the queue is full and the worker away at `at`.
    fn said(steps: &[(u64, Did)], at: u64) -> (bool, bool) {
        let start = Instant::now();
        let mut work = Work::new(start);
        for (at, did) in steps {
            let now = start + Duration::from_millis(*at);
            match did {
                Crowded => work.is_crowded(now),
                Asks => work.asks(now),
                Answered(many) => work.answered(*many, now),
                Quiet => work.is_quiet(now),
                Away => work.is_away(now),
                Rests => work.rests(now),
                Called(says) => work.called(*says, now),
            }
        }
        let Said { full, away } = work.said(start + Duration::from_millis(at), EVERY);
        (full, away)
    }

    /// Guards promise 6: a queue is full after two seconds in which the receiver waited for no message, and not before.
    #[tokio::test]
    async fn a_queue_is_full_while_no_receive_waits() {
        let quiet = |at| {
            said(&[(0, Crowded), (0, Asks), (20_000, Answered(0)), (20_000, Crowded), (20_000, Asks)], at)
        };
        assert_eq!([quiet(20_100), quiet(23_000), quiet(39_000)], [(false, false); 3]);
        // Ten full batches that were waiting; then no slot is free.
        let mut steps = Vec::new();
        for n in 0..10 {
            steps.extend([(n * 100, Crowded), (n * 100, Asks), (n * 100 + 50, Answered(10))]);
        }
        steps.push((1000, Crowded));
        assert_eq!((said(&steps, 1900), said(&steps, 2100)), ((false, false), (true, false)));
        // One message a second, for which the receiver waits.
        let mut steps = Vec::new();
        for n in 0..10 {
            steps.extend([(n * 1000, Crowded), (n * 1000, Asks), (n * 1000 + 900, Answered(1))]);
        }
        assert_eq!(said(&steps, 9950), (false, false));
        // Long calls leave no slot for the next message.
        assert_eq!(said(&[(0, Asks), (600, Answered(1)), (600, Crowded)], 2700), (true, false));
        assert_eq!(
            said(&[(0, Asks), (600, Answered(1)), (600, Crowded), (2000, Rests)], 2700),
            (false, false)
        );
    }

    /// Guards: a full queue counts as full for the time between two entries, and no longer.
    #[tokio::test]
    async fn a_full_queue_stays_full_for_a_while() {
        let start = Instant::now();
        let (mut work, at) = (Work::new(start), |seconds| start + Duration::from_secs(seconds));
        work.is_crowded(at(0));
        assert!(work.said(at(3), EVERY).full);
        work.asks(at(4));
        work.answered(0, at(5));
        work.asks(at(5));
        assert!(work.said(at(12), EVERY).full && !work.said(at(13), EVERY).full);
    }

    /// Guards promise 6: a worker that does not receive counts as away. One failure does not count, and a success ends it.
    #[tokio::test]
    async fn a_worker_that_does_not_receive_says_so() {
        assert_eq!((said(&[], 1000), said(&[], 2000)), ((false, false), (false, true)), "not open yet");
        assert_eq!(said(&[(3000, Asks)], 3100), (false, true), "no answer yet");
        assert_eq!(said(&[(3000, Asks), (8000, Quiet)], 8000), (false, true), "it may hang");
        assert_eq!(said(&[(3000, Asks), (3001, Answered(0))], 3001), (false, false));
        let once = [(0, Asks), (1, Answered(0)), (10_000, Asks), (10_001, Away)];
        assert_eq!((said(&once, 11_000), said(&once, 12_100)), ((false, false), (false, true)));
        let probes = [(0, Asks), (1, Answered(1)), (2, Away), (3000, Away), (3100, Rests)];
        assert_eq!(said(&probes, 9000), (false, true), "a worker that rests sends no request");
        assert_eq!(said(&[(0, Away), (1, Quiet)], 5000), (false, true), "that was a probe");
    }

    /// Guards promise 2: a receive that hung counts from when it began, so it is shown at once. The next one, which may hang as
    /// well, does not end that.
    #[tokio::test]
    async fn a_receive_that_hung_is_said_at_once() {
        let hung = || vec![(0, Asks), (1, Answered(0)), (10_000, Asks), (15_000, Quiet), (32_000, Away)];
        assert_eq!((said(&hung()[..4], 31_999), said(&hung(), 32_000)), ((false, false), (false, true)));
        let mut again = hung();
        again.extend([(32_200, Asks), (37_200, Quiet)]);
        assert_eq!(said(&again, 37_200), (false, true));
        again.push((52_200, Answered(0)));
        assert_eq!(said(&again, 52_200), (false, false));
    }

    /// Guards promises 2 and 6: a failed call is shown at once. A call that succeeds ends that, or five minutes without another
    /// failed one.
    #[tokio::test]
    async fn a_worker_whose_calls_fail_says_so() {
        for says in [Says::Away, Says::Doubtful, Says::Refuses] {
            let mut steps = vec![(0, Asks), (1, Answered(1)), (2, Called(says))];
            assert_eq!(said(&steps, 2), (false, true), "{says:?}");
            steps.extend([(10, Asks), (20_010, Answered(0)), (20_011, Asks), (25_011, Quiet)]);
            steps.extend([(25_012, Called(Says::Serves)), (25_013, Called(Says::Nothing)), (25_014, Rests)]);
            assert_eq!(said(&steps, 25_014), (false, true), "{says:?}");
            assert_eq!((said(&steps, 300_001).1, said(&steps, 300_002).1), (true, false), "{says:?}");
            steps.push((25_015, Called(Says::Succeeds)));
            assert_eq!(said(&steps, 25_015), (false, false), "{says:?}");
            steps.push((400_000, Called(says)));
            assert_eq!((said(&steps, 400_000).1, said(&steps, 699_999).1), (true, true), "{says:?}");
        }
        for says in [Says::Succeeds, Says::Serves, Says::Nothing] {
            assert!(!said(&[(0, Asks), (1, Answered(1)), (2, Called(says))], 9000).1, "{says:?}");
        }
    }
}
