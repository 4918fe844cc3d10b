use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// A read from the queue's mark is made this long after the last one, or later if that took long.
const WIDE_EVERY: Duration = Duration::from_millis(100);
const WIDE_SHARE: u32 = 20;
/// Most retries are committed this soon after they are due. The next wide read finds the others.
const WRITTEN_SOON: Duration = Duration::from_millis(10);

/// Where a read for due retries begins. Under an old snapshot the index keeps those that are done, and a read from the queue's
/// mark walks over many of them. So most reads begin where the last one ended.
#[derive(Debug, Default)]
pub(super) struct Near {
    since: Option<DateTime<Utc>>,
    /// Until then reads need not be wide.
    wide_at: Option<Instant>,
    /// The server's clock, and when it was that late at the latest.
    clock: Option<(DateTime<Utc>, Instant)>,
}

/// A read for due retries that was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) asked_at: Instant,
    /// Whether it began at the queue's mark.
    pub(super) is_wide: bool,
    /// Whether it had no place for more.
    pub(super) is_full: bool,
}

impl Near {
    /// Where a read begins that is made now. None is the queue's mark.
    pub(super) fn begins(&self, now: Instant) -> Option<DateTime<Utc>> {
        self.since.filter(|_| self.wide_at.is_some_and(|at| now < at))
    }

    /// A read that was not full has taken all that was due, or the queue was paused. A full one has the first of them, if any.
    pub(super) fn read(&mut self, read: Read, first_due: Option<DateTime<Utc>>, now: Instant) {
        if read.is_wide {
            self.wide_at = Some(now + WIDE_EVERY.max((now - read.asked_at) * WIDE_SHARE));
        }
        self.since = match (read.is_full, first_due) {
            (true, Some(first_due)) => Some(first_due),
            (true, None) => return,
            (false, _) => self.clock.and_then(|(clock, at)| {
                let asked_at = clock + read.asked_at.checked_duration_since(at)?;
                Some(asked_at - WRITTEN_SOON)
            }),
        };
    }

    /// Something is due that may lie before the last read. Also a read that is under way does not answer for it.
    pub(super) fn widen(&mut self) {
        self.wide_at = None;
    }

    pub(super) fn tells(&mut self, clock: DateTime<Utc>, at: Instant) {
        self.clock = Some((clock, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 6: reads begin where the last one ended, and no retry that was written late waits for long.
    #[tokio::test(start_paused = true)]
    async fn most_reads_begin_where_the_last_one_ended() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let clock = |ms: i64| DateTime::from_timestamp_millis(1_000_000 + ms).unwrap();
        let mut near = Near::default();
        let read = |ms, is_wide, is_full| Read { asked_at: at(ms), is_wide, is_full };
        assert_eq!(near.begins(at(0)), None);
        near.read(read(0, true, false), None, at(0));
        assert_eq!(near.begins(at(1)), None, "the server's clock is not known");
        near.tells(clock(2), at(2));
        near.read(read(3, true, false), None, at(4));
        assert_eq!(near.begins(at(4)), Some(clock(3 - 10)), "all that was due then was taken");
        near.read(read(4, false, true), Some(clock(-500)), at(5));
        assert_eq!(near.begins(at(5)), Some(clock(-500)), "more may be due since the first one");
        near.read(read(5, false, true), None, at(6));
        assert_eq!(near.begins(at(6)), Some(clock(-500)), "it had no place for retries");
        near.read(read(6, false, false), Some(clock(-400)), at(7));
        assert_eq!(near.begins(at(103)), Some(clock(6 - 10)));
        assert_eq!(near.begins(at(104)), None, "a wide one, a tenth of a second after the last one");
        assert_eq!(near.begins(at(105)), None, "until it has answered");
        near.read(read(105, true, false), None, at(305));
        assert_eq!(near.begins(at(4304)), Some(clock(105 - 10)), "a wide one that takes long is rare");
        near.widen();
        near.read(read(4304, false, false), None, at(4306));
        assert_eq!(near.begins(at(4307)), None, "a read that was under way does not answer for what is due");
    }
}
