//! Everything the demo starts, as separate processes, and how it observes them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use outbox::EventId;
use serde::Deserialize;
use serde_json::Value;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::process::Command;
use tokio::sync::mpsc;

use super::cloud::Cloud;
use super::failure::Failure;
use super::services::{Calls, serve};
use super::show::Show;
use testkit::cluster::Cluster;
use testkit::database;
use testkit::process::{Process, root};
use testkit::scrape;

pub(super) struct World {
    pub(super) pool: PgPool,
    pub(super) calls: Calls,
    afterpay: Option<Process>,
    afterpay_listens: String,
    bin: PathBuf,
    /// Ended in this order: the workers before the database they work on.
    processes: Vec<Process>,
    worker_metrics: String,
    failed: Arc<Mutex<Vec<Failed>>>,
    scratch: Option<Scratch>,
    /// The environment of all programs.
    environment: Vec<(String, String)>,
    _cloud: Option<Cloud>,
    _cluster: Option<Cluster>,
}

/// An attempt that failed, as the worker logs it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failed {
    pub(super) event_id: EventId,
    pub(super) code: String,
}

impl World {
    pub(super) async fn start(bin: &Path, aws: bool, show: &Show) -> Result<Self, Failure> {
        let cloud = if aws { Some(Cloud::start(show)?) } else { None };
        let (cluster, url, scratch) = new_database(show).await?;
        let pool = PgPoolOptions::new().max_connections(4).connect(&url).await?;
        let path = |name: &str| root().join(name).display().to_string();
        let mut environment = cloud.as_ref().map(Cloud::environment).unwrap_or_default();
        let ours = [
            ("DATABASE_URL", url),
            ("OUTBOX_ROUTER", path("event_router.yaml")),
            ("OUTBOX_PROTO", path("proto")),
            ("OUTBOX_METRICS_ADDR", "127.0.0.1:0".to_owned()),
        ];
        environment.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        let env: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();

        show.step("migrating: relay migrate");
        let mut migrate = Process::start(&bin.join("relay"), ["migrate"], &env)?;
        migrate.wait_for("migrated the outbox schema").await?;
        migrate.ended().await?;
        sample::card::create_table(&mut *pool.acquire().await?).await?;

        let calls = Calls::default();
        let (notification, notification_listens) = serve(bin, "notification", "127.0.0.1:0", &calls).await?;
        let (afterpay, afterpay_listens) = serve(bin, "afterpay", "127.0.0.1:0", &calls).await?;
        let mut relay = Process::start(&bin.join("relay"), [""; 0], &env)?;
        relay.wait_for("leading").await?;
        let endpoints = format!(
            "NotificationService=http://{notification_listens} AfterPayService=http://{afterpay_listens}"
        );
        let worker_env =
            [&env[..], &[("OUTBOX_ENDPOINTS", &endpoints), ("OUTBOX_LOG_FORMAT", "json")]].concat();
        let mut worker = Process::start(&bin.join("worker"), [""; 0], &worker_env)?;
        let worker_metrics = scrape::addr(&mut worker).await?;
        worker.wait_for("delivering").await?;
        let failed = Arc::default();
        watch_failures(worker.take_lines(), Arc::clone(&failed));
        show.step(&format!(
            "started relay (pid {}), worker (pid {}), NotificationService ({notification_listens}), AfterPayService ({afterpay_listens})",
            relay.pid(),
            worker.pid()
        ));
        Ok(Self {
            pool,
            calls,
            afterpay: Some(afterpay),
            afterpay_listens,
            bin: bin.to_owned(),
            processes: vec![relay, worker, notification],
            worker_metrics,
            failed,
            scratch,
            environment,
            _cloud: cloud,
            _cluster: cluster,
        })
    }

    /// Starts the console for one browser, and shows its address. It ends with the rest, before the database does.
    pub(super) async fn open_console(&mut self, show: &Show) -> Result<(), Failure> {
        let env: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let args = ["console", "--addr", "127.0.0.1:0", "--title", "demo"];
        let mut console = Process::start(&self.bin.join("outbox"), args, &env)?;
        let said = console.wait_for("http://").await?;
        let url = said.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or(&said);
        show.step(&format!("the console is at {url} (for one browser)"));
        self.processes.insert(0, console);
        Ok(())
    }

    /// Runs a command of `outbox`, as an operator would. Returns its JSON.
    pub(super) async fn outbox(&self, args: &[&str]) -> Result<Value, Failure> {
        let output = Command::new(self.bin.join("outbox"))
            .args(args)
            .args(["--format", "json"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("OUTBOX_WORKERS", format!("http://{}", self.worker_metrics))
            .stdin(Stdio::null())
            .output()
            .await?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            format!("outbox {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)).into()
        })
    }

    /// How many deliveries the worker recognised as done.
    pub(super) async fn duplicates(&self) -> Result<usize, Failure> {
        let (_, metrics) = scrape::get(&self.worker_metrics, "/metrics").await?;
        let counts = metrics.lines().filter(|line| {
            line.starts_with("outbox_worker_deliveries_total{") && line.contains("outcome=\"duplicate\"")
        });
        Ok(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum())
    }

    /// The failed attempts of an event so far.
    pub(super) fn failed(&self, event: EventId) -> Vec<Failed> {
        let failed = self.failed.lock().expect("no panic while held");
        failed.iter().filter(|failed| failed.event_id == event).cloned().collect()
    }

    pub(super) async fn kill_afterpay(&mut self) -> std::io::Result<()> {
        match self.afterpay.take() {
            Some(afterpay) => afterpay.kill().await,
            None => Ok(()),
        }
    }

    pub(super) async fn restart_afterpay(&mut self) -> Result<(), Failure> {
        let (afterpay, _) = serve(&self.bin, "afterpay", &self.afterpay_listens, &self.calls).await?;
        self.afterpay = Some(afterpay);
        Ok(())
    }

    pub(super) async fn stop(mut self) {
        let _ = self.kill_afterpay().await;
        for process in self.processes.drain(..) {
            let _ = process.stop().await;
        }
        self.pool.close().await;
        if let Some(Scratch { server, name }) = self.scratch.take() {
            let _ = database::remove(&server, &name).await;
        }
    }
}

fn watch_failures(mut lines: mpsc::UnboundedReceiver<String>, failed: Arc<Mutex<Vec<Failed>>>) {
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if line.contains("failed: trying again")
                && let Ok(one) = serde_json::from_str(&line)
            {
                failed.lock().expect("no panic while held").push(one);
            }
        }
    });
}

/// A database of the demo's own on the user's server.
struct Scratch {
    server: String,
    name: String,
}

type Database = (Option<Cluster>, String, Option<Scratch>);

/// A throwaway cluster, or a scratch database on the server that DATABASE_URL names.
async fn new_database(show: &Show) -> Result<Database, Failure> {
    let (cluster, server) = match std::env::var("DATABASE_URL") {
        Ok(url) => {
            show.step("using the server of DATABASE_URL, with a new database");
            (None, url)
        }
        Err(_) => {
            let cluster = Cluster::start()?;
            show.step(&format!("started a throwaway Postgres on 127.0.0.1:{}", cluster.port()));
            let url = cluster.url("postgres");
            (Some(cluster), url)
        }
    };
    let name = format!("outbox_demo_{:08x}", fastrand::u32(..));
    let url = database::create(&server, &name).await?;
    let scratch = cluster.is_none().then_some(Scratch { server, name });
    Ok((cluster, url, scratch))
}
