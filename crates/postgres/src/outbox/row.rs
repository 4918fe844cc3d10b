//! Reads a row of `outbox.event`. A row that was inserted without `outbox.enqueue` may hold what no program can read.

use chrono::{DateTime, Utc};
use outbox_transport::Entry;
use uuid::Uuid;

/// The columns of [`Columns`], of a row `e` with its [`flaws`]. A row with an infinite time, or with a text over its limit,
/// comes with the name of its flaw. Of a text over its limit, and of those beside it, at most the beginning is sent.
macro_rules! readable {
    () => {
        "e.seq, e.id, left(e.name, 128), case when oversize is null then e.key end,
         case when oversize is null then e.payload else '' end, case when oversize is null then e.headers end,
         case when timely then e.occurred_at end, coalesce(oversize, case when not timely then 'time' end)"
    };
}

/// Names the text that is over its limit. The limits are those of `outbox_event::rules`. Postgres knows a text's size without
/// reading it.
macro_rules! flaws {
    () => {
        "cross join lateral (
             select e.occurred_at between '0001-01-01 00:00:00+00' and '9999-12-31 00:00:00+00' as timely,
                    case when octet_length(e.name) > 128 then 'name'
                         when octet_length(e.payload) > 245760 then 'payload'
                         when octet_length(e.key) > 512 then 'key'
                         when octet_length(e.headers) > 8192 then 'headers' end as oversize) as flaw"
    };
}

pub(crate) use {flaws, readable};

pub(crate) type Columns =
    (i64, Uuid, String, Option<String>, String, Option<String>, Option<DateTime<Utc>>, Option<String>);

pub(crate) fn entry((seq, id, name, key, payload, headers, occurred_at, flaw): Columns) -> Entry {
    let flaw = flaw.map(|flaw| reason(&flaw));
    // A flawed row is not put, so its time means nothing.
    let occurred_at = occurred_at.unwrap_or_else(Utc::now);
    Entry { seq, id: id.into(), name, key, payload, headers, occurred_at, flaw }
}

fn reason(flaw: &str) -> (&'static str, &'static str) {
    match flaw {
        "time" => ("MalformedEvent", "its occurred_at is no date between the years 1 and 9999"),
        "name" => ("MalformedEvent", "its name is not lower_snake_case of at most 128 characters"),
        "payload" => ("EntryTooLarge", "its payload is over 245760 bytes; only the beginning is kept"),
        "key" => ("EntryTooLarge", "its key is over 512 bytes; only the beginning is kept"),
        _ => ("EntryTooLarge", "its headers are over 8192 bytes; only the beginning is kept"),
    }
}

#[cfg(test)]
mod tests {
    use outbox_event::PAYLOAD_BYTES_MAX;
    use outbox_event::rules::{HEADERS_BYTES_MAX, KEY_BYTES_MAX, NAME_BYTES_MAX};

    use super::*;

    /// Guards promise 6: the limits in the relay's statements, and in its reasons, are the publishers' limits.
    #[test]
    fn limits_are_the_publishers() {
        for (column, bytes_max) in [
            ("name", NAME_BYTES_MAX),
            ("payload", PAYLOAD_BYTES_MAX),
            ("key", KEY_BYTES_MAX),
            ("headers", HEADERS_BYTES_MAX),
        ] {
            assert!(flaws!().contains(&format!("octet_length(e.{column}) > {bytes_max} then '{column}'")));
            let (_, reason) = reason(column);
            assert!(reason.contains(column) && reason.contains(&bytes_max.to_string()), "{reason}");
        }
    }
}
