//! Times as people write them.

use chrono::{DateTime, TimeDelta, Utc};
use outbox_postgres::operate::Database;

use crate::show::age;
use crate::stopped::Stopped;

/// Answers of a database take less time than this.
const APART_SECONDS_MAX: f64 = 5.0;

/// As it was given: an hour ago is another time by each clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

impl Given {
    pub(crate) fn by(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub_signed(ago).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

/// A time, or how long ago.
pub(crate) fn given(text: &str) -> Result<Given, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Given::At(time.with_timezone(&Utc)));
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "write a time with its zone, 2026-11-22T03:04:05Z, or how long ago, 1h".to_owned())?;
    let ago = TimeDelta::from_std(ago).ok().filter(|ago| Utc::now().checked_sub_signed(*ago).is_some());
    ago.map(Given::Ago).ok_or_else(|| "that is too long ago".to_owned())
}

/// As [`given`], by the clock of this machine.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    given(text).map(|given| given.by(Utc::now()))
}

/// The time by the clock of the first database, which gave events their times. Without one, by that of this machine.
pub(crate) async fn now(databases: &[Database]) -> Result<DateTime<Utc>, Stopped> {
    let Some(database) = databases.first() else { return Ok(Utc::now()) };
    let Some(now) = database.now().await? else { return Ok(Utc::now()) };
    if let Some(apart) = apart(now, Utc::now()) {
        crate::terminal::say(&format!(
            "warning: the clock of this machine is {apart} that of {}, by which --since and --until are read",
            database.name()
        ));
    }
    Ok(now)
}

/// `1h ahead of`, if the clocks differ by more than an answer takes.
pub(crate) fn apart(theirs: DateTime<Utc>, ours: DateTime<Utc>) -> Option<String> {
    let seconds = (ours - theirs).as_seconds_f64();
    let where_to = if seconds > 0.0 { "ahead of" } else { "behind" };
    (seconds.abs() > APART_SECONDS_MAX).then(|| format!("{} {where_to}", age(seconds.abs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a time is read as people write it, and nothing else is accepted.
    #[test]
    fn times_are_absolute_or_ago() {
        let at = time("2026-11-22T03:04:05+09:00").unwrap();
        assert_eq!(at.to_rfc3339(), "2026-11-21T18:04:05+00:00");
        let ago = (Utc::now() - time("1h 30m").unwrap()).num_seconds();
        assert!((5399..5402).contains(&ago), "{ago}");
        for bad in ["yesterday", "2026-11-22", "", "99999999999999years"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    /// Guards promise 8: how long ago is counted by the clock that is given, and an absolute time is the same by each.
    #[test]
    fn ago_is_by_the_given_clock() {
        let now: DateTime<Utc> = "2026-11-22T03:04:05Z".parse().unwrap();
        assert_eq!(given("1h").unwrap().by(now).to_rfc3339(), "2026-11-22T02:04:05+00:00");
        assert_eq!(given("2026-11-22T01:00:00Z").unwrap().by(now).to_rfc3339(), "2026-11-22T01:00:00+00:00");
        for (off, expected) in
            [(0, None), (4, None), (3600, Some("1h ahead of")), (-90, Some("1m 30s behind"))]
        {
            assert_eq!(apart(now, now + TimeDelta::seconds(off)).as_deref(), expected, "{off}");
        }
    }
}
