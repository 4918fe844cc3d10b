//! Metrics as documented, and readiness.

use std::collections::{BTreeMap, BTreeSet};

use connectrpc::ConnectError;
use regex::Regex;
use testkit::process::root;
use testkit::scrape;

use crate::world::{One, ROUTER, Two, World, until};

/// Guards promise 8: every scraped metric stands in ops/metrics.md with its type and labels, and every documented metric is
/// scraped.
#[tokio::test(flavor = "multi_thread")]
async fn scraped_metrics_are_the_documented_ones() {
    let world = World::new(ROUTER).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    let (relay_addr, worker_addr) =
        (scrape::addr(&mut relay).await.unwrap(), scrape::addr(&mut worker).await.unwrap());
    // Outcomes: done, retried and then done, dead, held, parked, and not known.
    world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1;
        Box::pin(async move { if first { Err(ConnectError::internal("not yet")) } else { Ok(()) } })
    });
    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let (one, two) = (world.publish(One { n: 1 }).await, world.publish(Two { n: 2 }).await);
    world.until("select count(*) = 1 from outbox.dead_letter").await;
    world.publish_all((3..7).map(|n| outbox::Entry::new(Two { n }))).await;
    world
        .execute(
            "insert into outbox.event (slot, id, name, payload)
             select last_value, gen_random_uuid(), 'event_one', '[]' from outbox.event_slot
             union all select last_value, gen_random_uuid(), 'event_unknown', '{}' from outbox.event_slot",
        )
        .await;
    world.rpcs.until_done("Test/One", &[one]).await;
    world.rpcs.until_done("Other/TwoB", &[two]).await;

    let documented = documented();
    let mut scraped = BTreeMap::new();
    until("a scrape has all that is documented", async || {
        scraped =
            metrics_in(&(get(&relay_addr, "/metrics").await.1 + &get(&worker_addr, "/metrics").await.1));
        let missing: Vec<_> = documented.keys().filter(|name| !scraped.contains_key(*name)).collect();
        eprintln!("not scraped: {missing:?}"); // shown if this waits in vain
        missing.is_empty()
    })
    .await;
    for (name, (kind, labels)) in &scraped {
        let (documented_kind, documented_labels) =
            documented.get(name).unwrap_or_else(|| panic!("{name} is not in ops/metrics.md"));
        assert_eq!(kind, documented_kind, "{name}");
        assert_eq!(labels, documented_labels, "{name}");
    }
    let all = get(&relay_addr, "/metrics").await.1 + &get(&worker_addr, "/metrics").await.1;
    for (line, value) in [
        (format!("outbox_relay_parked_events{{source=\"{}\"}}", world.source.name()), "1"),
        (format!("outbox_worker_dead_letters{{source=\"{}\",rpc=\"Test/TwoA\"}}", world.source.name()), "4"),
        (
            format!(
                "outbox_worker_deliveries_total{{source=\"{}\",rpc=\"Test/One\",outcome=\"retry\",code=\"internal\"}}",
                world.source.name()
            ),
            "1",
        ),
        ("outbox_worker_attempts_sum{rpc=\"Test/One\"}".into(), "2"),
    ] {
        until(&format!("{line} {value}"), async || {
            let now = get(&relay_addr, "/metrics").await.1 + &get(&worker_addr, "/metrics").await.1;
            now.lines().any(|found| found == format!("{line} {value}"))
        })
        .await;
    }
    // Neither payload nor id is a label.
    assert!(!all.contains(&one.to_string()));
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Guards promise 8: every metric that an alert, a runbook or a procedure names is documented, and so it is exported.
#[test]
fn metrics_that_documents_name_are_documented() {
    // External labels, and a series that operators may add.
    const OTHERS: [&str; 3] = ["outbox_runbooks", "outbox_console", "outbox_dead_letters_page_at"];
    let documented = std::fs::read_to_string(root().join("ops/metrics.md")).unwrap();
    // Names of recording rules have colons.
    let name = Regex::new(r"(?:^|[^:\w])(outbox_[a-z_]+)").unwrap();
    let mut files = vec![root().join("ops/prometheus/alerts.yml")];
    for dir in ["ops/runbooks", "ops/procedures"] {
        files.extend(std::fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let mut named = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for found in name.captures_iter(&text) {
            let found = &found[1];
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| found.strip_suffix(end));
            let is_documented = |name: &str| documented.contains(&format!("\n| `{name}` |"));
            assert!(
                OTHERS.contains(&found) || is_documented(found) || of_histogram.is_some_and(is_documented),
                "{}: {found} is not in ops/metrics.md",
                file.display()
            );
            named.insert(found.to_owned());
        }
    }
    assert!(named.len() > 25, "{named:?}");
}

/// Guards promise 8: a leader that can't put its events is alive and not ready, and says why. Once it can, it is ready. A
/// worker without its database is not ready either.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_progress() {
    let cluster = testkit::cluster::Cluster::start().unwrap();
    let world = World::on(ROUTER, &cluster).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    let (relay_addr, worker_addr) =
        (scrape::addr(&mut relay).await.unwrap(), scrape::addr(&mut worker).await.unwrap());
    for addr in [&relay_addr, &worker_addr] {
        until("it is ready", async || get(addr, "/readyz").await == (200, "ready\n".to_owned())).await;
        assert_eq!(get(addr, "/healthz").await, (200, "alive\n".to_owned()));
        assert_eq!(get(addr, "/nothing").await.0, 404);
    }
    // Every insert by the bus fails.
    world.execute("alter table outbox.delivery rename to delivery_gone").await;
    world.publish(One { n: 1 }).await;
    let mut said = (0, String::new());
    until("the relay is not ready", async || {
        said = get(&relay_addr, "/readyz").await;
        said.0 == 503
    })
    .await;
    assert!(said.1.contains("no progress for") && said.1.contains("outbox.delivery"), "{}", said.1);
    assert_eq!(get(&relay_addr, "/healthz").await.0, 200);
    until("the worker is not ready", async || get(&worker_addr, "/readyz").await.0 == 503).await;
    world.execute("alter table outbox.delivery_gone rename to delivery").await;
    for addr in [&relay_addr, &worker_addr] {
        until("it is ready again", async || get(addr, "/readyz").await.0 == 200).await;
    }
    relay.stop().await.unwrap();
    worker.stop().await.unwrap();
    world.finish().await;
}

/// Status and body.
async fn get(addr: &str, path: &str) -> (u16, String) {
    scrape::get(addr, path).await.unwrap()
}

type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// Type and labels of each metric of a scrape.
fn metrics_in(scrape: &str) -> Metrics {
    let mut kinds: Vec<(String, String)> = Vec::new();
    for line in scrape.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            kinds.push((name.to_owned(), kind.to_owned()));
        }
    }
    let mut metrics = Metrics::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let (name, kind) = kinds
            .iter()
            .filter(|(metric, kind)| {
                metric == name
                    || kind == "histogram"
                        && ["_bucket", "_sum", "_count"]
                            .iter()
                            .any(|end| name.strip_suffix(end) == Some(metric))
            })
            .max_by_key(|(metric, _)| metric.len())
            .unwrap_or_else(|| panic!("{name} has no type"));
        let labels = labels
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|label| label.split_once('='))
            .map(|(label, _)| label);
        metrics
            .entry(name.clone())
            .or_insert_with(|| (kind.clone(), BTreeSet::new()))
            .1
            .extend(labels.filter(|label| *label != "le").map(str::to_owned));
    }
    metrics
}

/// The tables of ops/metrics.md, without the metrics that are only on the transport `aws`.
fn documented() -> Metrics {
    let text = std::fs::read_to_string(root().join("ops/metrics.md")).unwrap();
    text.lines()
        .filter(|line| !line.contains("Only on `aws`"))
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let name = cells.next()?.trim_end_matches('`').to_owned();
            let kind = cells.next()?.to_owned();
            let labels = cells
                .next()?
                .split(',')
                .map(|label| label.trim().to_owned())
                .filter(|label| !label.is_empty());
            Some((name, (kind, labels.collect())))
        })
        .collect()
}
