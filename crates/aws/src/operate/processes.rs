//! The workers that wrote that they run.

use chrono::{DateTime, Utc};
use outbox_transport::operate::{At, OperateError, Processes, SQS};
use outbox_transport::process::{Process, Program, Report, Seen};

use super::AwsOperator;
use super::records::{Item, is_live, number, text, time};
use crate::dynamodb::{PREFIX, SILENT_AFTER, keys, names_key};

const PROCESSES_MAX: usize = 500;

impl Processes for AwsOperator {
    async fn processes(&self) -> Result<Vec<Seen>, OperateError> {
        let now = Utc::now();
        let key = names_key(&self.prefix);
        let names = self.items_of(std::slice::from_ref(&key)).await?;
        let mut names: Vec<String> = names.get(&key).map(|item| running(item, now)).unwrap_or_default();
        names.sort();
        names.truncate(PROCESSES_MAX);
        let wanted: Vec<String> = names.iter().flat_map(|name| keys(name)).collect();
        let items = self.items_of(&wanted).await?;
        let seen = names.iter().filter_map(|name| {
            let [small, report, routes] = keys(name);
            let small = items.get(&small).filter(|item| is_live(item, now))?;
            let words = |key: &String, attribute: &str| {
                items.get(key).and_then(|item| text(item, attribute)).unwrap_or_default()
            };
            Some(of(name, small, words(&report, "report"), words(&routes, "routes"), now))
        });
        Ok(seen.collect())
    }
}

/// The names that have not ended.
fn running(item: &Item, now: DateTime<Utc>) -> Vec<String> {
    let names = item.keys().filter_map(|attribute| {
        let ends = number(item, attribute)?;
        attribute.strip_prefix(PREFIX).filter(|_| ends >= now.timestamp())
    });
    names.map(str::to_owned).collect()
}

fn of(name: &str, small: &Item, report: &str, routes: &str, now: DateTime<Utc>) -> Seen {
    let words = |attribute: &str| text(small, attribute).map(str::to_owned);
    let seen = time(small, "seen_ms").and_then(At::known).unwrap_or(DateTime::UNIX_EPOCH);
    Seen {
        source: SQS.to_owned(),
        process: Process {
            name: name.to_owned(),
            program: Program::Worker,
            version: words("version").unwrap_or_default(),
            revision: words("revision"),
            address: words("address"),
            router: words("router"),
            routes: serde_json::from_str(routes).unwrap_or_default(),
            started_at: time(small, "started_ms").unwrap_or_else(|| now.into()),
            report: Report::read(report),
        },
        // A clock may be ahead.
        seen_seconds_ago: ((now - seen).num_milliseconds() as f64 / 1000.0).max(0.0),
        silent_after_seconds: SILENT_AFTER.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    fn item(fields: &[(&str, &str)]) -> Item {
        let value = |text: &str| match text.parse::<i64>() {
            Ok(_) => AttributeValue::N(text.to_owned()),
            Err(_) => AttributeValue::S(text.to_owned()),
        };
        fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect::<HashMap<_, _>>()
    }

    /// Guards promise 8: a worker's items are read, also if one is missing or of another version.
    #[test]
    fn items_are_read() {
        let now = DateTime::from_timestamp_millis(1_000_000).unwrap();
        assert_eq!(
            running(&item(&[("id", "processes outbox-"), ("p a", "1000"), ("p b", "999")]), now),
            ["a"]
        );
        let small = item(&[("version", "v1"), ("address", "http://vm:1"), ("seen_ms", "960000")]);
        let seen = of("vm:1:a", &small, r#"{"ready":true}"#, r#"["e A/B 00"]"#, now);
        assert_eq!((seen.seen_seconds_ago, seen.is_silent()), (40.0, true));
        assert!(seen.process.report.ready && seen.process.routes == ["e A/B 00"]);
        let bare = of("vm:1:a", &item(&[("seen_ms", "1000500")]), "", "", now);
        assert!(!bare.is_silent() && !bare.process.report.ready && bare.process.routes.is_empty());
    }
}
