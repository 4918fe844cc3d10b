//! The report of this worker. DynamoDB charges a write by the size of its item, so there are three: a small one that is
//! written regularly, the report, and the routes. An item with the names of all workers makes them findable without a scan.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{TimeDelta, Utc};
use outbox_transport::process::{Breaker, Process, Report, Store};
use tokio::time::Instant;

use super::item::{Item, number, text};
use crate::Failure;

const EVERY: Duration = Duration::from_secs(10);
/// Clocks of machines are compared, so it is longer than two writes.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(30);
/// Without news.
const REPORTED_EVERY: Duration = Duration::from_secs(60);
/// With news: a breaker may change often, and each write costs the size of the report.
const NEWS_EVERY: Duration = Duration::from_secs(10);
/// An item has 400 KB at most, with its other attributes.
const REPORT_BYTES_MAX: usize = 390_000;
/// In a report that would be too long: parts that wait, and characters of a reason.
const WAITS_MAX: usize = 100;
const REASON_CHARS_MAX: usize = 40;
const REGISTERED_EVERY: Duration = Duration::from_secs(3600);
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
/// A worker that was killed is shown as silent for this long.
const SEEN_FOR: TimeDelta = TimeDelta::minutes(20);
const REGISTERED_FOR: TimeDelta = TimeDelta::hours(2);
/// Names that one request removes.
const REMOVED_MAX: usize = 50;

/// When the report was written, by the worker's clock.
pub(crate) const WRITTEN: &str = "written_ms";

/// The attributes of the item with all names begin with this. The value is when the name ends.
pub(crate) const PREFIX: &str = "p ";

/// The key of the item with all names. Installations with other queues may have the same table.
pub(crate) fn names_key(queue_prefix: &str) -> String {
    format!("processes {queue_prefix}")
}

/// The keys of a worker's items: the small one, the report, and the routes.
pub(crate) fn keys(name: &str) -> [String; 3] {
    [format!("process {name}"), format!("process {name} report"), format!("process {name} routes")]
}

#[derive(Debug)]
pub struct ProcessItem {
    client: Client,
    table: String,
    names: String,
    name: String,
    registered: Option<Instant>,
    reported: Option<(Report, Instant)>,
}

impl ProcessItem {
    pub fn new(client: Client, table: &str, queue_prefix: &str, name: &str) -> Self {
        let (table, name, names) = (table.to_owned(), name.to_owned(), names_key(queue_prefix));
        Self { client, table, names, name, registered: None, reported: None }
    }

    /// The small item comes first: whatever can't be written of the others, the worker is known to run.
    async fn write_all(&mut self, process: &Process) -> Result<(), Failure> {
        let [small, report, routes] = keys(&self.name);
        let (now, at) = (Instant::now(), number(Utc::now().timestamp_millis()));
        let optional = |value: &Option<String>| value.as_deref().map(text);
        let started = process.started_at.known().map(|at| number(at.timestamp_millis()));
        let attributes = [
            ("version", Some(text(&process.version))),
            ("revision", optional(&process.revision)),
            ("address", optional(&process.address)),
            ("router", optional(&process.router)),
            ("started_ms", started),
            ("seen_ms", Some(at.clone())),
        ];
        self.put(&small, SEEN_FOR, attributes).await?;
        if self.registered.is_none_or(|at| now.duration_since(at) >= REGISTERED_EVERY) {
            self.put(&routes, REGISTERED_FOR, [("routes", Some(text(&json(&process.routes))))]).await?;
            self.register().await?;
            (self.registered, self.reported) = (Some(now), None);
        }
        if is_due(self.reported.as_ref(), &process.report, now) {
            let words = within_limit(&process.report);
            self.put(&report, REGISTERED_FOR, [("report", Some(text(&words))), (WRITTEN, Some(at))]).await?;
            self.reported = Some((process.report.clone(), now));
        }
        Ok(())
    }

    /// Writes the name to the item of all names, and removes names that have ended.
    async fn register(&self) -> Result<(), Failure> {
        let get = self.client.get_item().table_name(&self.table).key("id", text(&self.names));
        let answer = get.send().await.map_err(|error| Failure::of(&error))?;
        let now = Utc::now();
        let own = format!("{PREFIX}{}", self.name);
        let mut ended = ended(&answer.item.unwrap_or_default(), now.timestamp());
        // A request must not name an attribute twice.
        ended.retain(|name| *name != own);
        let removed: Vec<String> = (0..ended.len()).map(|at| format!("#ended{at}")).collect();
        let remove =
            if removed.is_empty() { String::new() } else { format!(" remove {}", removed.join(", ")) };
        let mut names: HashMap<String, String> = removed.into_iter().zip(ended).collect();
        names.insert("#name".to_owned(), own);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&self.names))
            .update_expression(format!("set #name = :expires_at, expires_at = :expires_at{remove}"))
            .set_expression_attribute_names(Some(names))
            .expression_attribute_values(":expires_at", number((now + REGISTERED_FOR).timestamp()));
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }

    async fn put<const N: usize>(
        &self,
        key: &str,
        kept: TimeDelta,
        attributes: [(&str, Option<AttributeValue>); N],
    ) -> Result<(), Failure> {
        let mut put = self.client.put_item().table_name(&self.table).item("id", text(key));
        put = put.item("expires_at", number((Utc::now() + kept).timestamp()));
        for (name, value) in attributes {
            if let Some(value) = value {
                put = put.item(name, value);
            }
        }
        put.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }

    async fn forget(&self) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&self.names))
            // An item that has ended is made again, with an end.
            .update_expression("remove #name set expires_at = :expires_at")
            .expression_attribute_names("#name", format!("{PREFIX}{}", self.name))
            .expression_attribute_values(":expires_at", number((Utc::now() + REGISTERED_FOR).timestamp()));
        update.send().await.map(|_| ()).map_err(|error| Failure::of(&error))
    }
}

impl Store for ProcessItem {
    fn every(&self) -> Duration {
        EVERY
    }

    async fn write(&mut self, process: &Process) -> Result<(), String> {
        let written = Box::pin(tokio::time::timeout(WRITTEN_WITHIN, self.write_all(process))).await;
        match written {
            Ok(written) => written.map_err(|failure| failure.to_string()),
            Err(_) => Err(format!("no answer within {} s", WRITTEN_WITHIN.as_secs())),
        }
    }

    /// Its other items end by themselves: without the name they are not found.
    async fn remove(&mut self) -> Result<(), String> {
        Box::pin(self.forget()).await.map_err(|failure| failure.to_string())
    }
}

/// Numbers change all the time under load. Readiness changes seldom, so it alone is written at once.
fn is_due(last: Option<&(Report, Instant)>, report: &Report, now: Instant) -> bool {
    last.is_none_or(|(last, at)| {
        let age = now.duration_since(*at);
        report.ready != last.ready
            || (age >= NEWS_EVERY && report.is_news_after(last))
            || (age >= REPORTED_EVERY && report != last)
    })
}

/// The report as an item can have it. Of one that is too long, the last errors of closed breakers are left out first. If that
/// is not enough, other texts are cut.
fn within_limit(report: &Report) -> String {
    let mut words = json(report);
    if words.len() <= REPORT_BYTES_MAX {
        return words;
    }
    let mut less = report.clone();
    for rpc in less.rpcs.iter_mut().filter(|rpc| rpc.breaker == Breaker::Closed) {
        rpc.last_error = None;
    }
    words = json(&less);
    if words.len() <= REPORT_BYTES_MAX {
        return words;
    }
    for rpc in &mut less.rpcs {
        rpc.last_error = None;
        rpc.held = rpc.held.as_deref().map(cut);
    }
    less.waits.truncate(WAITS_MAX);
    for waits in &mut less.waits {
        waits.reason = cut(&waits.reason);
    }
    json(&less)
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

/// The attributes of names that have ended.
fn ended(item: &Item, now: i64) -> Vec<String> {
    let has_ended = |value: &AttributeValue| {
        value.as_n().ok().and_then(|ends| ends.parse::<i64>().ok()).is_none_or(|ends| ends < now)
    };
    let ended = item.iter().filter(|(name, value)| name.starts_with(PREFIX) && has_ended(value));
    ended.map(|(name, _)| name.clone()).take(REMOVED_MAX).collect()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use outbox_transport::process::{LastError, RpcReport, Waits};

    use super::*;

    /// Guards promise 8: readiness is written at once. Breakers are written every ten seconds at most, so that one that opens
    /// and closes again and again costs little. Numbers are written once a minute, and nothing is written twice.
    #[test]
    fn a_report_is_written_after_changes() {
        let of = |calls, breaker| {
            let rpc = RpcReport { rpc: "A/B".into(), calls, breaker, ..RpcReport::default() };
            Report { ready: true, rpcs: vec![rpc], ..Report::default() }
        };
        let (start, quiet) = (Instant::now(), of(0, Breaker::Closed));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(is_due(None, &quiet, start));
        let last = (quiet.clone(), start);
        assert!(!is_due(Some(&last), &quiet, at(3000)));
        assert!(!is_due(Some(&last), &of(3, Breaker::Closed), at(59)));
        assert!(is_due(Some(&last), &of(3, Breaker::Closed), at(60)));
        assert!(!is_due(Some(&last), &of(3, Breaker::Away), at(9)));
        assert!(is_due(Some(&last), &of(3, Breaker::Away), at(10)));
        assert!(is_due(Some(&last), &Report { ready: false, ..quiet.clone() }, at(1)));
    }

    /// Guards promise 8: a report that no item could have is shortened. Every RPC stays, with its breaker, and as long as
    /// there is room the errors of those that are not well.
    #[test]
    fn a_long_report_is_shortened() {
        let error = LastError { code: "unavailable".into(), text: "é".repeat(300), at: Utc::now() };
        let rpc = |n: usize, breaker| RpcReport {
            rpc: format!("Some{n}Service/NotifySomethingUpdated"),
            breaker,
            breaker_since: Some(Utc::now()),
            held: (breaker == Breaker::Held).then(|| "é".repeat(300)),
            last_error: Some(error.clone()),
            oldest_at: Some(Utc::now()),
            ..RpcReport::default()
        };
        let waits = |n: usize| Waits {
            part: format!("sqs Some{n}Service/NotifySomethingUpdated"),
            reason: "é".repeat(300),
            seconds: Some(4.5),
        };
        let short = Report { rpcs: vec![rpc(0, Breaker::Closed)], ..Report::default() };
        assert_eq!(Report::read(&within_limit(&short)), short);

        let mut long = Report { rpcs: (0..600).map(|n| rpc(n, Breaker::Closed)).collect(), ..short };
        long.rpcs[7].breaker = Breaker::Away;
        assert!(json(&long).len() > REPORT_BYTES_MAX);
        let read = Report::read(&within_limit(&long));
        let with_error: Vec<usize> = (0..600).filter(|&n| read.rpcs[n].last_error.is_some()).collect();
        assert_eq!((read.rpcs.len(), with_error), (600, vec![7]));

        let rpcs = (0..900).map(|n| rpc(n, Breaker::Held)).collect();
        let longest = Report { rpcs, waits: (0..900).map(waits).collect(), ..Report::default() };
        let words = within_limit(&longest);
        assert!(words.len() <= REPORT_BYTES_MAX, "{}", words.len());
        let read = Report::read(&words);
        assert_eq!((read.rpcs.len(), read.waits.len()), (900, WAITS_MAX));
        assert!(read.rpcs.iter().all(|rpc| rpc.breaker == Breaker::Held && rpc.held.is_some()));
    }

    /// Guards promise 7: names of workers that were killed are removed, and only those.
    #[test]
    fn names_that_have_ended_are_removed() {
        let item: Item = HashMap::from([
            ("id".to_owned(), text("processes outbox-")),
            ("expires_at".to_owned(), number(5)),
            ("p vm:1:a".to_owned(), number(99)),
            ("p vm:2:b".to_owned(), number(100)),
            ("p vm:3:c".to_owned(), text("odd")),
        ]);
        let mut ended = ended(&item, 100);
        ended.sort();
        assert_eq!(ended, ["p vm:1:a", "p vm:3:c"]);
    }
}
