//! Until when letters died that are counted or moved: what dies later is left alone.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use outbox_transport::operate::{Filter, Operator};

use crate::stopped::Stopped;

/// A clock may have been set back since the count. A time that is further ahead can't be that of a count.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(1);

/// A time alone is no filter: it would mean all.
pub(super) fn without_bound(filter: Filter) -> (Filter, Option<DateTime<Utc>>) {
    let dead_by = filter.dead_by;
    (Filter { dead_by: None, ..filter }, dead_by)
}

/// By the clocks of the transports: of several databases by the one that is behind the others, so that what dies later is later
/// in each.
pub(super) async fn bound(
    transports: &[impl Operator],
    dead_by: Option<DateTime<Utc>>,
    older_than: Option<Duration>,
) -> Result<DateTime<Utc>, Stopped> {
    let mut now = None;
    for transport in transports {
        let its = transport.now().await?;
        now = Some(now.map_or(its, |others: DateTime<Utc>| others.min(its)));
    }
    until(now.unwrap_or_else(Utc::now), dead_by, older_than)
}

/// Pure. No letter died before 1970.
fn until(
    now: DateTime<Utc>,
    dead_by: Option<DateTime<Utc>>,
    older_than: Option<Duration>,
) -> Result<DateTime<Utc>, Stopped> {
    if dead_by.is_some_and(|by| by - now > AHEAD_MAX) {
        return Err(Stopped::unusable(
            "--dead-by is a time to come, and what dies until then was not counted",
            "count again with --dry-run, which prints the time",
        ));
    }
    let older = TimeDelta::from_std(older_than.unwrap_or_default()).ok();
    let before = older.and_then(|older| now.checked_sub_signed(older)).unwrap_or(DateTime::UNIX_EPOCH);
    Ok(dead_by.map_or(before, |by| by.min(before)).max(DateTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 6: a bound is a time that has been, and of two conditions the earlier one.
    #[test]
    fn a_bound_does_not_move() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = time("2026-11-22T13:00:00Z");
        let hour = Some(Duration::from_secs(3600));
        for (dead_by, older_than, expected) in [
            (None, None, Some("2026-11-22T13:00:00Z")),
            (None, hour, Some("2026-11-22T12:00:00Z")),
            (None, Some(Duration::MAX), Some("1970-01-01T00:00:00Z")),
            (Some("2026-11-22T12:59:59.000001Z"), None, Some("2026-11-22T12:59:59.000001Z")),
            (Some("2026-11-22T12:59:59Z"), hour, Some("2026-11-22T12:00:00Z")),
            (Some("2026-11-22T11:00:00Z"), hour, Some("2026-11-22T11:00:00Z")),
            (Some("2026-11-22T13:00:30Z"), None, Some("2026-11-22T13:00:00Z")),
            (Some("2026-11-22T13:01:01Z"), None, None),
            (Some("1960-01-01T00:00:00Z"), None, Some("1970-01-01T00:00:00Z")),
        ] {
            let bound = until(now, dead_by.map(time), older_than).ok();
            assert_eq!(bound, expected.map(time), "{dead_by:?} {older_than:?}");
        }
    }
}
