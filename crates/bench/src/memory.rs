//! The peak memory of the shipped binaries: the relay with a million events to put, the worker at 5,000 deliveries a second.

use std::sync::atomic::Ordering;
use std::time::Duration;

use testkit::process::Process;

use crate::database::{Database, EVENT, until};
use crate::plan::Plan;
use crate::publisher::{Load, publish};
use crate::result::Result;
use crate::row::{Must, Row};
use crate::stub::Stub;

const MB_MAX: f64 = 64.0;

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    Ok(vec![relay(plan).await?, worker(plan).await?])
}

async fn relay(plan: &Plan) -> Result<Row> {
    let events = plan.count(1_000_000, 50_000);
    let database = Database::start().await?;
    database.fill(events, &[EVENT.to_owned()]).await?;
    let stub = Stub::start("").await?;
    let env = [
        ("AWS_ENDPOINT_URL", stub.endpoint.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
    ];
    let args = ["--transport", "aws", "--source", &database.url(), "--metrics-addr", "127.0.0.1:0"];
    let relay = Process::start(&plan.programs.join("relay"), args, &env)?;
    until("every event is put", Duration::from_secs(600), async || {
        Ok(stub.asked.events.load(Ordering::Relaxed) >= events)
    })
    .await?;
    let peak = peak_megabytes(relay.pid())?;
    relay.stop().await?;
    let row = Row::alone("memory", "MB", peak).with("program", "relay").with("transport", "aws");
    Ok(row.with("events", events).must(Must::OursAtMost(MB_MAX)))
}

async fn worker(plan: &Plan) -> Result<Row> {
    let load = Load { per_second: 5000.0, connections: 32, lasts: plan.seconds(30, 4) };
    let database = Database::start().await?;
    let stub = Stub::start("").await?;
    let router = std::env::temp_dir().join(format!("outbox-bench-{}.yaml", std::process::id()));
    std::fs::write(
        &router,
        format!("event:\n  - name: '{EVENT}'\n    subscriber:\n      - id: 'BenchService/Take'\n"),
    )?;
    let (url, routes, endpoint) =
        (database.url(), router.display().to_string(), format!("BenchService={}", stub.endpoint));
    let shared = ["--source", url.as_str(), "--router", routes.as_str(), "--metrics-addr", "127.0.0.1:0"];
    let relay = Process::start(&plan.programs.join("relay"), shared, &[])?;
    let worker = Process::start(
        &plan.programs.join("worker"),
        shared.into_iter().chain(["--endpoint", endpoint.as_str()]),
        &[],
    )?;
    let sent = publish(&url, &format!("select outbox.enqueue('{EVENT}', $1)"), load).await?;
    until("every delivery is made", Duration::from_secs(120), async || {
        Ok(stub.asked.calls.load(Ordering::Relaxed) >= sent.len())
    })
    .await?;
    let peak = peak_megabytes(worker.pid())?;
    worker.stop().await?;
    relay.stop().await?;
    std::fs::remove_file(router)?;
    let row = Row::alone("memory", "MB", peak).with("program", "worker").with("transport", "postgres");
    Ok(row.with("deliveries/s", load.per_second).must(Must::OursAtMost(MB_MAX)))
}

/// Resident memory, at its peak.
pub(crate) fn peak_megabytes(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: f64 =
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).ok_or("no VmHWM")?;
    Ok(kilobytes / 1024.0)
}
