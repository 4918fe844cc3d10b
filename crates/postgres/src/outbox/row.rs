//! Reads a row of `outbox.event`. A row that was inserted without `outbox.enqueue` may hold what no program can read.

use chrono::{DateTime, Utc};
use outbox_transport::Entry;
use uuid::Uuid;

/// The columns of [`Columns`], of a row `e` with its [`flaws`]. A row with an infinite time or a huge text comes with the
/// name of its flaw and without its contents.
macro_rules! readable {
    () => {
        "e.seq, e.id, case when oversize then left(e.name, 128) else e.name end, case when not oversize then e.key end,
         case when oversize then '' else e.payload end, case when not oversize then e.headers end,
         case when timely then e.occurred_at end,
         case when not timely then 'time' when oversize then 'size' end"
    };
}

macro_rules! flaws {
    () => {
        "cross join lateral (
             select e.occurred_at between '0001-01-01 00:00:00+00' and '9999-12-31 00:00:00+00' as timely,
                    greatest(octet_length(e.payload), octet_length(e.headers), octet_length(e.key), octet_length(e.name)) > 1048576
                        as oversize) as flaw"
    };
}

pub(crate) use {flaws, readable};

pub(crate) type Columns =
    (i64, Uuid, String, Option<String>, String, Option<String>, Option<DateTime<Utc>>, Option<String>);

pub(crate) fn entry((seq, id, name, key, payload, headers, occurred_at, flaw): Columns) -> Entry {
    let flaw = flaw.map(|flaw| match flaw.as_str() {
        "time" => ("MalformedEvent", "its occurred_at is no date between the years 1 and 9999"),
        _ => ("EntryTooLarge", "the row is larger than any event"),
    });
    // A flawed row is not put, so its time means nothing.
    let occurred_at = occurred_at.unwrap_or_else(Utc::now);
    Entry { seq, id: id.into(), name, key, payload, headers, occurred_at, flaw }
}
