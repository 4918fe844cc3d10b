//! Times as people write them.

use chrono::{DateTime, Utc};

/// A time, or how long ago.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "write a time with its zone, 2026-11-22T03:04:05Z, or how long ago, 1h".to_owned())?;
    let ago = chrono::TimeDelta::from_std(ago).ok();
    ago.and_then(|ago| Utc::now().checked_sub_signed(ago)).ok_or_else(|| "that is too long ago".to_owned())
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
}
