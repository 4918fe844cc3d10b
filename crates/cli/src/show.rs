//! Formats counts, times and ages.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use outbox_transport::operate::At;
use serde::Serialize;

use crate::safe::{self, line};
use crate::stopped::Stopped;
pub(crate) use crate::table::table;
use crate::terminal::write;

pub(crate) const NOT_KNOWN: &str = "not known";
/// For text from others: so much of a name is enough to recognize it.
pub(crate) const NAME_CHARS_MAX: usize = 200;

/// `3 events`, `1 event`
pub(crate) fn counted(count: impl fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The two largest units: `3h 20m`, `4.2s`.
pub(crate) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let whole = Duration::from_secs(seconds.round() as u64);
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// [`moment`] for a time in a row.
pub(crate) fn moment_of(at: At) -> String {
    at.known().map_or_else(|| NOT_KNOWN.to_owned(), moment)
}

pub(crate) fn seconds_since(at: DateTime<Utc>) -> f64 {
    (Utc::now() - at).num_milliseconds() as f64 / 1000.0
}

/// `2026-11-22T03:04:05Z (3m 2s ago)`
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    let seconds = seconds_since(at);
    let distance =
        if seconds < 0.0 { format!("in {}", age(-seconds)) } else { format!("{} ago", age(seconds)) };
    format!("{} ({distance})", instant(at))
}

pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(crate) fn bytes(bytes: i64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1024.0 || unit == "GB" {
            let digits = usize::from(unit != "B" && value < 10.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    String::new()
}

/// A name that a role has chosen, if there is one and this role may see it.
pub(crate) fn name_or(name: Option<&str>, none: &str) -> String {
    let name = name.filter(|name| !name.is_empty());
    name.map_or_else(|| none.to_owned(), |name| line(name, NAME_CHARS_MAX))
}

pub(crate) fn or_dash(text: Option<impl fmt::Display>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

pub(crate) fn json(value: &impl Serialize) -> Result<(), Stopped> {
    write(&to_json(value))
}

pub(crate) fn to_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(value).expect("texts and numbers serialize");
    safe::json(&json).into_owned()
}

#[cfg(test)]
mod tests {
    use outbox_transport::operate::{Count, thousands};

    use super::*;

    /// Guards: a count is readable, and does not look exact where counting stopped.
    #[test]
    fn counts_say_where_they_stopped() {
        let shown = |n| Count::new(n).to_string();
        assert_eq!([shown(0), shown(999), shown(10_000), shown(10_001)], ["0", "999", "10,000", "10,000+"]);
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(serde_json::to_string(&Count::new(10_001)).unwrap(), "10000");
        assert_eq!(
            [counted(1, "event"), counted(Count::new(10_001), "event")],
            ["1 event", "10,000+ events"]
        );
    }

    /// Guards: an age has its two largest units.
    #[test]
    fn ages_have_two_units() {
        assert_eq!(
            [age(0.04), age(9.96), age(61.0), age(4000.0), age(200_000.0)],
            ["0.0s", "10.0s", "1m 1s", "1h 6m", "2days 7h"]
        );
        assert_eq!([bytes(17), bytes(2048), bytes(50 << 20)], ["17 B", "2.0 kB", "50 MB"]);
    }
}
