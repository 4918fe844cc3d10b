//! The workers that wrote that they run.

use chrono::{DateTime, Utc};
use outbox_transport::operate::{At, OperateError, Processes, SQS};
use outbox_transport::process::{Process, Program, Report, Seen};

use super::AwsOperator;
use super::records::{Item, is_live, number, text, time};
use crate::dynamodb::{PREFIX, SILENT_AFTER, WRITTEN, keys, names_key};

const PROCESSES_MAX: usize = 500;

impl Processes for AwsOperator {
    async fn processes(&self) -> Result<Vec<Seen>, OperateError> {
        let key = names_key(&self.prefix);
        let names = self.items_of(std::slice::from_ref(&key)).await?;
        // The answer has brought DynamoDB's time.
        let now = self.clock.now();
        let mut names: Vec<String> = names.get(&key).map(|item| running(item, now)).unwrap_or_default();
        names.sort();
        names.truncate(PROCESSES_MAX);
        let wanted: Vec<String> = names.iter().flat_map(|name| keys(name)).collect();
        let items = self.items_of(&wanted).await?;
        let seen = names.iter().filter_map(|name| {
            let [small, report, routes] = keys(name);
            let small = items.get(&small).filter(|item| is_live(item, now))?;
            Some(of(name, small, items.get(&report), items.get(&routes), now))
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

fn of(name: &str, small: &Item, report: Option<&Item>, routes: Option<&Item>, now: DateTime<Utc>) -> Seen {
    let words = |attribute: &str| text(small, attribute).map(str::to_owned);
    let seen = time(small, "seen_ms").and_then(At::known).unwrap_or(DateTime::UNIX_EPOCH);
    let routes = routes.and_then(|item| text(item, "routes")).unwrap_or_default();
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
            report: report.map(|item| as_of(seen, item)).unwrap_or_default(),
        },
        // A clock may be ahead.
        seen_seconds_ago: ((now - seen).num_milliseconds() as f64 / 1000.0).max(0.0),
        silent_after_seconds: SILENT_AFTER.as_secs_f64(),
    }
}

/// The report, as if it had been written when the worker was last seen. Otherwise a wait would seem shorter than it is until
/// the next report. Both times are by the worker's clock.
fn as_of(seen: DateTime<Utc>, item: &Item) -> Report {
    let mut report = Report::read(text(item, "report").unwrap_or_default());
    let written = time(item, WRITTEN).and_then(At::known).unwrap_or(seen);
    let since = ((seen - written).num_milliseconds() as f64 / 1000.0).max(0.0);
    for waits in &mut report.waits {
        waits.seconds = waits.seconds.map(|seconds| seconds + since);
    }
    report
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_config::retry::RetryConfig;
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_dynamodb::types::AttributeValue;
    use chrono::TimeDelta;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn item(fields: &[(&str, &str)]) -> Item {
        let value = |text: &str| match text.parse::<i64>() {
            Ok(_) => AttributeValue::N(text.to_owned()),
            Err(_) => AttributeValue::S(text.to_owned()),
        };
        fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect::<HashMap<_, _>>()
    }

    /// Guards promise 8: a worker's items are read, also if one is missing. One of another version is no missing one.
    #[test]
    fn items_are_read() {
        let now = DateTime::from_timestamp_millis(1_000_000).unwrap();
        assert_eq!(
            running(&item(&[("id", "processes outbox-"), ("p a", "1000"), ("p b", "999")]), now),
            ["a"]
        );
        let small = item(&[("version", "v1"), ("address", "http://vm:1"), ("seen_ms", "960000")]);
        let report = item(&[("report", r#"{"ready":true}"#)]);
        let routes = item(&[("routes", r#"["e A/B 00"]"#)]);
        let seen = of("vm:1:a", &small, Some(&report), Some(&routes), now);
        assert_eq!((seen.seen_seconds_ago, seen.is_silent()), (40.0, true));
        assert!(seen.process.report.ready && seen.process.routes == ["e A/B 00"]);
        let small = item(&[("seen_ms", "1000500")]);
        let bare = of("vm:1:a", &small, None, None, now);
        assert!(!bare.is_silent() && bare.process.report == Report::default());
        assert!(bare.process.routes.is_empty());
        let odd = of("vm:1:a", &small, Some(&item(&[("report", "odd")])), None, now);
        assert!(odd.process.report.not_readable);
    }

    /// Guards promise 8: the time of a wait goes on while the report stays the same, and only the small item is written.
    #[test]
    fn a_wait_goes_on_between_two_reports() {
        let now = DateTime::from_timestamp_millis(1_000_000).unwrap();
        let words = r#"{"waits":[{"part":"sqs A/B","reason":"no space","seconds":3.0},{"part":"roster"}]}"#;
        for (written, seconds) in [("950000", 49.0), ("996000", 3.0), ("999000", 3.0)] {
            let report = item(&[("report", words), (WRITTEN, written)]);
            let seen = of("vm:1:a", &item(&[("seen_ms", "996000")]), Some(&report), None, now);
            let waits: Vec<_> = seen.process.report.waits.iter().map(|waits| waits.seconds).collect();
            assert_eq!((seen.seen_seconds_ago, waits), (4.0, vec![Some(seconds), None]), "{written}");
        }
        let of_before = item(&[("report", words)]);
        let seen = of("vm:1:a", &item(&[("seen_ms", "996000")]), Some(&of_before), None, now);
        assert_eq!(seen.process.report.waits[0].seconds, Some(3.0));
    }

    /// Guards promise 8: an operator whose clock is ten minutes behind sees the workers as DynamoDB's clock has them.
    #[tokio::test]
    async fn the_time_is_that_of_the_last_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let there = Utc::now() + TimeDelta::minutes(10);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nDate: {}\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{{}}",
            there.format("%a, %d %b %Y %H:%M:%S GMT")
        );
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            while stream.read(&mut request).await.unwrap() > 0 {
                // The request may come in parts, and its end has the key.
                if String::from_utf8_lossy(&request).contains("processes outbox-") {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let credentials =
            SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "test"));
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .endpoint_url(endpoint)
            .build();
        let operator = AwsOperator::new(&config, "outbox-", "outbox-dedup", Vec::new(), |_| {});
        assert!(operator.processes().await.unwrap().is_empty());
        let differs = (operator.clock.now() - there).num_seconds();
        assert!((-5..60).contains(&differs), "{differs} s");
    }
}
