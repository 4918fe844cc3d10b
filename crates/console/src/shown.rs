//! How numbers, times and links are written.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) const NOT_KNOWN: &str = "not known";
/// Counting stops here.
pub(crate) const COUNTED_MAX: i64 = 10_000;
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `4,981`
pub(crate) fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A count that stops at 10,000.
pub(crate) fn count(number: Option<i64>) -> String {
    match number {
        None => NOT_KNOWN.to_owned(),
        Some(COUNTED_MAX..) => format!("{}+", thousands(COUNTED_MAX)),
        Some(number) => thousands(number),
    }
}

/// Of a number that is counted to its end.
pub(crate) fn whole(number: Option<i64>) -> String {
    number.map_or_else(|| NOT_KNOWN.to_owned(), thousands)
}

/// `1 event`, `4,981 events`
pub(crate) fn counted(number: i64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// The two largest units: `3h 20m`, `4.2s`.
pub(crate) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let whole = Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX);
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

pub(crate) fn age_or(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| NOT_KNOWN.to_owned(), age)
}

/// In whole minutes after the first, so that a row which is sent again with each change changes once a minute.
pub(crate) fn rough(seconds: f64) -> String {
    age(if seconds < 60.0 { seconds } else { seconds - seconds % 60.0 })
}

pub(crate) fn bytes(bytes: i64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 10.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} GB")
}

/// As exact as the databases have it.
pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `03:04:05Z (3m 2s ago)`, with the date if it is another. The script keeps what is in parentheses up to date.
pub(crate) fn time(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    let Some(at) = at else { return html! { (NOT_KNOWN) } };
    html! { (moment(at, now)) " " span.ago data-at=(instant(at)) { "(" (distance(at, now)) ")" } }
}

fn distance(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_milliseconds() as f64 / 1000.0;
    if seconds < 0.0 { format!("in {}", age(-seconds)) } else { format!("{} ago", age(seconds)) }
}

/// To the millisecond, as what follows one another within a second has it.
pub(crate) fn exact(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    let Some(at) = at else { return html! { (NOT_KNOWN) } };
    let format = if at.date_naive() == now.date_naive() { "%H:%M:%S%.3fZ" } else { "%Y-%m-%d %H:%M:%S%.3fZ" };
    let stamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    html! { time datetime=(stamp) title=(stamp) { (at.format(format)) } " " span.ago data-at=(stamp) { "(" (distance(at, now)) ")" } }
}

pub(crate) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let format = if at.date_naive() == now.date_naive() { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%SZ" };
    html! { time datetime=(instant(at)) title=(instant(at)) { (at.format(format)) } }
}

/// With its date on every day.
pub(crate) fn dated(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(instant(at)) title=(instant(at)) data-dated { (at.format("%Y-%m-%d %H:%M:%SZ")) } }
}

/// A part of a path or of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// `?a=1&b=2`, without what is empty.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// The beginning of a text, on one line.
pub(crate) fn short(text: &str, chars_max: usize) -> String {
    let line: String = text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > chars_max { line + "…" } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a number says where counting stopped, and what is not known is no zero.
    #[test]
    fn numbers_are_honest() {
        assert_eq!([count(None), count(Some(0)), count(Some(4981))], ["not known", "0", "4,981"]);
        assert_eq!([count(Some(10_000)), whole(Some(12_345))], ["10,000+", "12,345"]);
        assert_eq!(whole(None), NOT_KNOWN);
        assert_eq!([age(0.04), age(61.0), age(4000.0)], ["0.0s", "1m 1s", "1h 6m"]);
        assert_eq!(
            [bytes(17), bytes(2048), bytes(50 << 20), bytes(3 << 30)],
            ["17 B", "2.0 kB", "50 MB", "3.0 GB"]
        );
    }

    /// Guards: what comes from others ends no link and no line.
    #[test]
    fn text_of_others_stays_in_its_place() {
        assert_eq!(
            query(&[("rpc", "A/B"), ("code", ""), ("reason", "a&b=\"c")]),
            "?rpc=A%2FB&reason=a%26b%3D%22c"
        );
        assert_eq!((query(&[("code", "")]), short("a\nbcd", 3)), (String::new(), "a b…".to_owned()));
    }
}
