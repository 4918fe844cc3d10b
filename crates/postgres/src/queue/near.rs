use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// A read that begins at the queue's mark follows this long after the last one.
const WIDE_EVERY: Duration = Duration::from_millis(100);
/// Most retries are committed this soon after they are due. The next wide read finds the others.
const WRITTEN_SOON: Duration = Duration::from_millis(10);

/// Where a read for due retries begins. Under an old snapshot the index keeps those that are done, and a read from the queue's
/// mark walks over some seconds of them. So most reads begin where the last one ended, and a wide one follows soon.
#[derive(Debug, Default)]
pub(super) struct Near {
    since: Option<DateTime<Utc>>,
    wide_at: Option<Instant>,
    /// The server's clock, and when it was that late at the latest.
    clock: Option<(DateTime<Utc>, Instant)>,
}

impl Near {
    /// Where a read begins that is made now. None is the queue's mark.
    pub(super) fn begins(&mut self, now: Instant) -> Option<DateTime<Utc>> {
        let was_wide = self.wide_at.is_some_and(|at| now.duration_since(at) < WIDE_EVERY);
        let since = self.since.filter(|_| was_wide);
        if since.is_none() {
            self.wide_at = Some(now);
        }
        since
    }

    /// A read was made. One that was not full has taken all that was due. A full one has the first of them, if any.
    pub(super) fn read(&mut self, asked_at: Instant, is_full: bool, first_due: Option<DateTime<Utc>>) {
        self.since = match (is_full, first_due) {
            (true, Some(first_due)) => Some(first_due),
            (true, None) => return,
            (false, _) => self.clock.and_then(|(clock, at)| {
                let asked_at = clock + asked_at.checked_duration_since(at)?;
                Some(asked_at - WRITTEN_SOON)
            }),
        };
    }

    /// The next read is a wide one: something is due that may lie before the last read.
    pub(super) fn widen(&mut self) {
        self.since = None;
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
        assert_eq!(near.begins(at(0)), None);
        near.read(at(0), false, None);
        assert_eq!(near.begins(at(1)), None, "the server's clock is not known");
        near.tells(clock(2), at(2));
        near.read(at(3), false, None);
        assert_eq!(near.begins(at(4)), Some(clock(3 - 10)), "all that was due then was taken");
        near.read(at(4), true, Some(clock(-500)));
        assert_eq!(near.begins(at(5)), Some(clock(-500)), "more may be due since the first one");
        near.read(at(5), true, None);
        assert_eq!(near.begins(at(6)), Some(clock(-500)), "it had no place for retries");
        near.read(at(6), false, Some(clock(-400)));
        assert_eq!(near.begins(at(7)), Some(clock(6 - 10)));
        assert_eq!(near.begins(at(101)), None, "a wide one, a tenth of a second after the last one");
        assert_eq!(near.begins(at(102)), Some(clock(6 - 10)));
        near.widen();
        assert_eq!(near.begins(at(103)), None);
        assert_eq!(near.begins(at(104)), None, "until it was read");
    }
}
