//! Relay and worker as processes, and the times of one RPC's deliveries.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use testkit::process::Process;

use crate::database::{Database, EVENT, until};
use crate::line::calls::Calls;
use crate::plan::Plan;
use crate::publisher::Sent;
use crate::result::Result;

pub(super) const RPC: &str = "BenchService/Take";

#[derive(Debug)]
pub(super) struct Line {
    relay: Process,
    worker: Process,
    router: PathBuf,
}

impl Line {
    pub(super) fn start(plan: &Plan, database: &Database, endpoint: &str) -> Result<Self> {
        let router = std::env::temp_dir().join(format!("outbox-bench-{}-left.yaml", std::process::id()));
        std::fs::write(
            &router,
            format!("event:\n  - name: '{EVENT}'\n    subscriber:\n      - id: '{RPC}'\n"),
        )?;
        let (url, routes) = (database.url(), router.display().to_string());
        let endpoint = format!("BenchService={endpoint}");
        let shared = ["--source", url.as_str(), "--router", routes.as_str(), "--metrics-addr", "127.0.0.1:0"];
        let relay = Process::start(&plan.programs.join("relay"), shared, &[])?;
        let args = shared.into_iter().chain(["--endpoint", endpoint.as_str()]);
        let worker = Process::start(&plan.programs.join("worker"), args, &[])?;
        Ok(Self { relay, worker, router })
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.worker.stop().await?;
        self.relay.stop().await?;
        Ok(std::fs::remove_file(self.router)?)
    }
}

/// Waits until every event was called. Returns each event's number, and the milliseconds from before its COMMIT to its first
/// call. (A folded receipt has only the last time at which one of its events was done.)
pub(super) async fn took(sent: &[Sent], calls: &Calls) -> Result<Vec<(u64, f64)>> {
    let mut entered = HashMap::new();
    until("every event was called", Duration::from_secs(180), async || {
        tokio::time::sleep(Duration::from_millis(250)).await;
        entered = calls.entered();
        Ok(sent.iter().all(|one| entered.contains_key(&one.n)))
    })
    .await?;
    Ok(sent.iter().map(|one| (one.n, (entered[&one.n][0] - one.before_commit) as f64 / 1e6)).collect())
}
