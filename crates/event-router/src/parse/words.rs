//! How the names of events, their packages, and durations are written.

use std::time::Duration;

use heck::ToSnakeCase;

/// Whole numbers with units, such as `1m 30s`. Terraform accepts the same.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c| !is_digit(c))?);
        let after = after.trim_start_matches(' ');
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len()));
        if number.is_empty() || number.len() > 9 {
            return None;
        }
        let nanoseconds = match unit {
            "nanos" | "nsec" | "ns" => 1,
            "usec" | "us" => 1_000,
            "millis" | "msec" | "ms" => 1_000_000,
            "seconds" | "second" | "secs" | "sec" | "s" => 1_000_000_000,
            "minutes" | "minute" | "mins" | "min" | "m" => 60_000_000_000,
            "hours" | "hour" | "hrs" | "hr" | "h" => 3_600_000_000_000_u64,
            _ => return None,
        };
        sum = sum.checked_add(Duration::from_nanos(nanoseconds).checked_mul(number.parse().ok()?)?)?;
        rest = after.trim_start_matches(' ');
    }
    (!text.is_empty()).then_some(sum)
}

pub(super) fn is_event_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The valid spelling of `HogeUpdatedEvent`, `EVENT_HOGE_UPDATED` or `hoge-updated`.
pub(super) fn snake(name: &str) -> String {
    let ascii: String = name.strip_suffix("Event").unwrap_or(name).chars().filter(char::is_ascii).collect();
    let snake = ascii.to_snake_case();
    let stem = snake.strip_prefix("event_").unwrap_or(&snake);
    let stem = stem.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit());
    if stem.is_empty() { "event_hoge_updated".to_owned() } else { format!("event_{stem}") }
}

/// `acme.card.v1`
pub(super) fn is_package(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.len() <= 256 && text.split('.').all(is_part)
}
