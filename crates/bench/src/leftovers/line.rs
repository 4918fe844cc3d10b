//! Relay and worker as processes, and the times of one RPC's deliveries.

use std::path::PathBuf;
use std::time::Duration;

use testkit::process::Process;

use crate::database::{Database, EVENT, until};
use crate::plan::Plan;
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

/// The highest seq of the outbox: later events are above it.
pub(super) async fn last_seq(database: &Database) -> Result<i64> {
    let mut conn = database.connect().await?;
    Ok(sqlx::query_scalar("select coalesce(max(seq), 0) from outbox.event").fetch_one(&mut conn).await?)
}

/// Waits until `events` events above `seq` are done. Returns the milliseconds from enqueue to the record of each, with its
/// number.
pub(super) async fn took(database: &Database, seq: i64, events: usize) -> Result<Vec<(u64, f64)>> {
    let mut conn = database.connect().await?;
    let mut took: Vec<(i64, f64)> = Vec::new();
    until("every event is done", Duration::from_secs(180), async || {
        tokio::time::sleep(Duration::from_millis(250)).await;
        took = sqlx::query_as(
            "select substring(e.payload from '\"n\":([0-9]+)')::bigint,
                    extract(epoch from d.done_at - e.occurred_at)::float8 * 1000
             from outbox.event as e
             cross join lateral (
                 select r.done_at from outbox.queue as q cross join lateral outbox.recorded(q.rpc, array[e.id]) as r
                 where r.done_at is not null limit 1) as d
             where e.seq > $1",
        )
        .bind(seq)
        .fetch_all(&mut conn)
        .await?;
        Ok(took.len() >= events)
    })
    .await?;
    took.into_iter().map(|(n, millis)| Ok((u64::try_from(n)?, millis))).collect()
}
