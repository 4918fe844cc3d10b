//! Rules, runbooks and dashboards, read by the tools that use them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use connectrpc::ConnectError;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use testkit::process::{Process, root};
use testkit::{scrape, tools};

use crate::world::{One, ROUTER, Two, World, cluster, until};

/// Guards promise 8: Prometheus itself accepts the rules and the configuration. Each alert fires in the cases where it
/// should, and only there.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_accepts_the_rules() {
    let _turn = World::new(ROUTER).await;
    let dir = root().join("ops/prometheus");
    promtool(&dir, &["check", "rules", "alerts.yml", "recording.yml"]);
    promtool(&dir, &["check", "config", "prometheus.yml"]);
    let tests: Vec<String> = files(&dir).into_iter().filter(|name| name.ends_with("_test.yml")).collect();
    assert!(!tests.is_empty());
    let named = tests.iter().map(String::as_str);
    promtool(&dir, &["test", "rules"].into_iter().chain(named).collect::<Vec<_>>());
    // Each alert has a case where it fires and one where it does not.
    let cases: String = tests.iter().map(|name| std::fs::read_to_string(dir.join(name)).unwrap()).collect();
    for alert in alerts() {
        let of_it = cases.matches(&format!("alertname: {alert}\n")).count();
        assert!(of_it >= 2, "{alert} is tested {of_it} times");
    }
}

/// Guards: each alert has its runbook, and each runbook its alert.
#[tokio::test]
async fn each_alert_has_a_runbook() {
    let alerts: BTreeSet<String> = alerts().into_iter().map(|alert| format!("{alert}.md")).collect();
    let runbooks: BTreeSet<String> = files(&root().join("ops/runbooks")).into_iter().collect();
    assert_eq!(alerts, runbooks);
}

/// Guards promise 8: every query of every dashboard, and every recording rule below it, finds data in a real Prometheus that
/// scrapes a working relay and worker.
#[tokio::test(flavor = "multi_thread")]
async fn every_dashboard_query_finds_data() {
    let world = World::new(ROUTER).await;
    let (mut relay, mut worker) = (world.relay_process(), world.worker_process());
    let targets = [
        ("outbox-relay", scrape::addr(&mut relay).await.unwrap()),
        ("outbox-worker", scrape::addr(&mut worker).await.unwrap()),
    ];
    // Outcomes: done, done at the second attempt, dead.
    world.rpcs.on("Test/One", |called| {
        let first = called.attempt == 1 && called.incoming.body.len() % 2 == 0;
        Box::pin(async move { if first { Err(ConnectError::internal("not yet")) } else { Ok(()) } })
    });
    world.rpcs.on("Test/TwoA", |_| Box::pin(async { Err(ConnectError::invalid_argument("no such card")) }));
    let prometheus = Prometheus::start(&targets).await;
    let (enough, queries) = (AtomicBool::new(false), queries(world.source.name()));
    let load = async {
        let mut n = 0;
        while !enough.load(Ordering::Relaxed) {
            world.publish(One { n }).await;
            world.publish(Two { n }).await;
            n = (n + 1) % 20;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let ask = async {
        assert!(queries.len() > 20, "{} queries", queries.len());
        for (panel, query) in &queries {
            until(&format!("{panel} finds data: {query}"), async || prometheus.finds(query).await).await;
        }
        enough.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, ask);
    for process in [prometheus.process, relay, worker] {
        process.stop().await.unwrap();
    }
    world.finish().await;
}

/// Guards promise 8: each panel about RPCs leads to their pages in the console. Where that is, is a variable of the dashboard.
#[test]
fn panels_of_rpcs_lead_to_the_console() {
    let (dir, mut linked) = (root().join("ops/grafana"), 0);
    for name in files(&dir) {
        let dashboard: Value = serde_json::from_slice(&std::fs::read(dir.join(&name)).unwrap()).unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let is_known = variables.iter().any(|variable| variable["name"] == "console");
        for panel in dashboard["panels"].as_array().unwrap() {
            let queries = panel["targets"].to_string();
            let is_of_rpcs = ["$rpc", "by (rpc)", "{{rpc}}"].iter().any(|rpc| queries.contains(rpc));
            let leads = panel["fieldConfig"].to_string().contains("\"${console:raw}/rpc/$");
            assert_eq!((leads, is_known || !leads), (is_of_rpcs, true), "{name}: {}", panel["title"]);
            linked += usize::from(leads);
        }
    }
    assert!(linked > 20, "{linked} panels");
}

struct Prometheus {
    process: Process,
    addr: String,
}

impl Prometheus {
    async fn start(targets: &[(&str, String)]) -> Self {
        let dir = cluster().dir().join(format!("prometheus-{:08x}", fastrand::u32(..)));
        std::fs::create_dir(&dir).unwrap();
        let rules = root().join("ops/prometheus");
        let jobs: String = targets
            .iter()
            .map(|(job, addr)| {
                format!("  - job_name: {job}\n    static_configs: [{{ targets: ['{addr}'] }}]\n")
            })
            .collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{0}/alerts.yml', '{0}/recording.yml']\nscrape_configs:\n{jobs}",
            rules.display()
        );
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let addr = format!("127.0.0.1:{port}");
        let args = [
            format!("--config.file={}/prometheus.yml", dir.display()),
            format!("--storage.tsdb.path={}/data", dir.display()),
            format!("--web.listen-address={addr}"),
        ];
        let mut process = Process::start(&program("prometheus"), args, &[]).unwrap();
        process.wait_for("Server is ready").await.unwrap();
        Self { process, addr }
    }

    /// Whether the result contains a number.
    async fn finds(&self, query: &str) -> bool {
        let path = format!("/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC));
        let (status, body) = scrape::get(&self.addr, &path).await.unwrap();
        assert_eq!(status, 200, "{query}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let results = answer["data"]["result"].as_array().unwrap();
        results.iter().any(|result| result["value"][1].as_str().is_some_and(|value| value != "NaN"))
    }
}

/// Every query of every dashboard, with values for its variables.
fn queries(source: &str) -> Vec<(String, String)> {
    let dir = root().join("ops/grafana");
    let mut queries = Vec::new();
    for name in files(&dir) {
        let dashboard: Value = serde_json::from_slice(&std::fs::read(dir.join(&name)).unwrap()).unwrap();
        collect(&dashboard["panels"], &name, &mut queries);
    }
    let fill = |query: &str| {
        query
            .replace("${source}", source)
            .replace("$source", source)
            .replace("${rpc}", "Test/One")
            .replace("$rpc", "Test/One")
            .replace("$__rate_interval", "1m")
    };
    queries.into_iter().map(|(panel, query)| (panel, fill(&query))).collect()
}

fn collect(panels: &Value, dashboard: &str, queries: &mut Vec<(String, String)>) {
    for panel in panels.as_array().into_iter().flatten() {
        let title = format!("{dashboard}: {}", panel["title"].as_str().unwrap_or_default());
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((title.clone(), target["expr"].as_str().unwrap().to_owned()));
        }
        collect(&panel["panels"], dashboard, queries);
    }
}

fn alerts() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("ops/prometheus/alerts.yml")).unwrap();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("- alert:"))
        .map(|name| name.trim().to_owned())
        .collect()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn program(name: &str) -> PathBuf {
    tools::debian_unpacked("prometheus").unwrap().join("usr/bin").join(name)
}

fn promtool(dir: &Path, args: &[&str]) {
    let output = Command::new(program("promtool")).args(args).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}:\n{said}");
}
