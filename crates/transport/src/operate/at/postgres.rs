//! Reads the times of rows. A row may hold any time of Postgres, such as infinity, at which the driver's own decoding panics.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Postgres, Type};

use super::At;

/// The relay accepts events between these times (see `outbox-postgres`, `outbox/window.rs`).
const FIRST: &str = "0001-01-01T00:00:00Z";
const LAST: &str = "9999-12-31T00:00:00Z";

impl At {
    /// Postgres sends microseconds since the beginning of 2000; the ends of the range are infinity.
    fn of_micros(micros: i64) -> Self {
        let epoch: DateTime<Utc> = "2000-01-01T00:00:00Z".parse().expect("a date");
        let ends: [DateTime<Utc>; 2] = [FIRST, LAST].map(|end| end.parse().expect("a date"));
        let at = epoch.checked_add_signed(TimeDelta::microseconds(micros));
        Self(at.filter(|at| (ends[0]..=ends[1]).contains(at)))
    }
}

impl Type<Postgres> for At {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for At {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => Ok(Self::of_micros(i64::from_be_bytes(value.as_bytes()?.try_into()?))),
            PgValueFormat::Text => Err("a time came as text: statements here are prepared".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: every time that Postgres can send is read, and one outside our calendar is unknown.
    #[test]
    fn every_time_of_a_row_is_read() {
        const DAY: i64 = 86_400_000_000;
        for (micros, expected) in [
            (0, Some("2000-01-01T00:00:00Z")),
            (-730_119 * DAY, Some("0001-01-01T00:00:00Z")),
            (-730_119 * DAY - 1, None),
            (2_921_939 * DAY, Some("9999-12-31T00:00:00Z")),
            (2_921_939 * DAY + 1, None),
            (i64::MAX, None), // infinity
            (i64::MIN, None), // -infinity
            (i64::MAX - 1, None),
            (9_088_000_000_000_000_000, None), // of the year 290000
        ] {
            let expected = expected.map(|at| at.parse::<DateTime<Utc>>().unwrap());
            assert_eq!(At::of_micros(micros).known(), expected, "{micros}");
        }
        assert_eq!(serde_json::to_string(&At::of_micros(i64::MAX)).unwrap(), "null");
    }
}
