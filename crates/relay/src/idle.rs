//! Pure: decides when to read on at once, when to wait for more events, when to poll, and when to try to sleep.

use std::time::{Duration, Instant};

/// Above this rate sleeping would cost publishers more notifications than polling costs the relay.
const POLL_ABOVE_PER_SECOND: f64 = 500.0;
/// Polling costs about this many reads an event.
const POLLS_PER_EVENT: f64 = 4.0;
const POLL_PAUSE_MIN: Duration = Duration::from_micros(100);
const POLL_FOR: Duration = Duration::from_millis(20);
/// A turn costs relay, server and worker as much as ten events or more. So above this rate the next turn waits for more
/// events, about as long as the last turn took. On a machine with processors to spare that is short.
const GATHER_ABOVE_PER_SECOND: f64 = 1500.0;
const GATHER_MAX: Duration = Duration::from_millis(4);
/// The pauses while a publisher that saw the relay awake is still in its transaction.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read again after this pause.
    Read(Duration),
    /// Events are too rare to poll for: take the doorbell's lock.
    Sleep,
}

/// One read, and the put of what it found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) events: usize,
    /// Whether there is more to read already.
    pub(crate) more: bool,
    pub(crate) took: Duration,
}

#[derive(Debug)]
pub(crate) struct IdlePolicy {
    per_second: f64,
    counted_at: Instant,
    last_found_at: Instant,
    next_backoff: Duration,
}

impl IdlePolicy {
    pub(crate) fn new(now: Instant) -> Self {
        Self { per_second: 0.0, counted_at: now, last_found_at: now, next_backoff: BACKOFF_MIN }
    }

    pub(crate) fn after(&mut self, turn: Turn, now: Instant) -> Next {
        // An average over about a quarter of a second.
        let elapsed = now.duration_since(self.counted_at).as_secs_f64().max(1e-6);
        let weight = 1.0 - (-elapsed / 0.25).exp();
        self.per_second += (turn.events as f64 / elapsed - self.per_second) * weight;
        self.counted_at = now;
        if turn.events > 0 {
            self.last_found_at = now;
            self.next_backoff = BACKOFF_MIN;
            let gathers = !turn.more && self.per_second > GATHER_ABOVE_PER_SECOND;
            return Next::Read(if gathers { turn.took.min(GATHER_MAX) } else { Duration::ZERO });
        }
        let recently = now.duration_since(self.last_found_at) < POLL_FOR;
        if self.per_second > POLL_ABOVE_PER_SECOND && recently {
            Next::Read(self.poll_pause())
        } else {
            Next::Sleep
        }
    }

    /// A part of the mean time between events.
    fn poll_pause(&self) -> Duration {
        Duration::from_secs_f64(1.0 / (self.per_second * POLLS_PER_EVENT)).max(POLL_PAUSE_MIN)
    }

    /// The pause before the next read, after the lock was refused.
    pub(crate) fn backoff(&mut self) -> Duration {
        let pause = self.next_backoff;
        self.next_backoff = (self.next_backoff * 2).min(BACKOFF_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// At the lowest rate that is polled for.
    const POLL_PAUSE_MAX: Duration = Duration::from_micros(500);

    /// One that took no time.
    fn turn(events: usize) -> Turn {
        Turn { events, more: false, took: Duration::ZERO }
    }

    /// Guards the two latencies: no polling for a rare event, and no sleep while events are frequent.
    #[test]
    fn it_sleeps_at_a_low_rate_and_lingers_at_a_high_one() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);

        let mut rare = IdlePolicy::new(start);
        for n in 1..100 {
            assert_eq!(rare.after(turn(1), at(n * 10)), Next::Read(Duration::ZERO));
            assert_eq!(rare.after(turn(0), at(n * 10 + 1)), Next::Sleep, "100 events a second");
        }
        let mut busy = IdlePolicy::new(start);
        for n in 1..1000 {
            busy.after(turn(1), at(n));
        }
        let Next::Read(pause) = busy.after(turn(0), at(1001)) else { panic!("1000 events a second") };
        assert!((240..=260).contains(&pause.as_micros()), "a quarter of the time between events: {pause:?}");
        assert_eq!(busy.after(turn(0), at(1030)), Next::Sleep, "and then nothing");
    }

    /// Guards: polling slows down while a transaction stays open for long.
    #[test]
    fn next_backoff_polls_become_gentle_and_quick_again() {
        let now = Instant::now();
        let mut policy = IdlePolicy::new(now);
        let pauses: Vec<_> = (0..6).map(|_| policy.backoff().as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 50, 50]);
        policy.after(turn(1), now);
        assert_eq!(policy.backoff(), BACKOFF_MIN);
    }

    /// Guards promises 6 and 7: at a high rate a turn waits for more events, for as long as the last one took, unless the
    /// database has more already. At a moderate rate an event waits for nothing.
    #[test]
    fn turns_gather_events_at_a_high_rate() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        for (per_ms, took, pause) in [(1, 700, 0), (2, 700, 700), (8, 3000, 3000), (100, 9000, 4000)] {
            let took = Duration::from_micros(took);
            let (gathered, more) = (Turn { took, ..turn(per_ms) }, Turn { took, more: true, ..turn(per_ms) });
            let mut policy = IdlePolicy::new(start);
            for n in 1..2000 {
                policy.after(gathered, at(n));
            }
            assert_eq!(
                policy.after(gathered, at(2000)),
                Next::Read(Duration::from_micros(pause)),
                "{per_ms}"
            );
            assert_eq!(policy.after(more, at(2001)), Next::Read(Duration::ZERO), "{per_ms}");
        }
    }

    proptest! {
        /// Guards promises 6 and 7: a pause is never longer than a backoff. The relay reads on at once while there is more,
        /// and sleeps once it has found nothing for a while.
        #[test]
        fn its_pauses_are_bounded(reads in vec((any::<u16>(), any::<bool>(), 0_u64..100_000, any::<bool>()), 0..100)) {
            let mut now = Instant::now();
            let mut policy = IdlePolicy::new(now);
            for (events, more, micros, backs_off) in reads {
                now += Duration::from_micros(micros);
                let turn = Turn { events: events.into(), more, took: Duration::from_micros(micros) };
                match policy.after(turn, now) {
                    Next::Read(pause) if events > 0 && more => prop_assert_eq!(pause, Duration::ZERO),
                    Next::Read(pause) if events > 0 => prop_assert!(pause <= GATHER_MAX),
                    Next::Read(pause) => prop_assert!((POLL_PAUSE_MIN..=POLL_PAUSE_MAX).contains(&pause)),
                    Next::Sleep => prop_assert_eq!(events, 0),
                }
                if backs_off {
                    prop_assert!((BACKOFF_MIN..=BACKOFF_MAX).contains(&policy.backoff()));
                }
                prop_assert!(policy.per_second.is_finite() && policy.per_second >= 0.0);
            }
            prop_assert_eq!(policy.after(turn(0), now + POLL_FOR), Next::Sleep);
        }
    }
}
