//! Our worker with a handler in place of an RPC, as a process of its own, because the peers' handlers are processes, too.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_event_router::Router;
use outbox_postgres::Source;
use outbox_runtime::{Standing, Started};
use outbox_worker::Pace;
use outbox_worker::postgres::Settings;
use outbox_worker::rpc::{Call, CallError, RpcClient};
use tokio::signal::unix::{SignalKind, signal};

use crate::database::number;
use crate::publisher::now;
use crate::result::Result;

const TOLD_EVERY: Duration = Duration::from_millis(50);

/// Notes when each event enters each RPC, and returns at once.
#[derive(Debug, Clone)]
struct Handler(Arc<HashMap<String, Mutex<HashMap<u64, i64>>>>);

impl RpcClient for Handler {
    async fn call(&self, call: &Call<'_>) -> std::result::Result<(), CallError> {
        let now = now();
        if let (Some(entered), Some(n)) = (self.0.get(call.rpc.as_str()), number(call.event.payload.get())) {
            entered.lock().expect("no panic while held").entry(n).or_insert(now);
        }
        Ok(())
    }
}

impl Handler {
    fn count(&self) -> usize {
        self.0.values().map(|entered| entered.lock().expect("no panic while held").len()).sum()
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        for entered in self.0.values() {
            for (n, at) in &*entered.lock().expect("no panic while held") {
                let _ = writeln!(lines, "at {n} {at}");
            }
        }
        lines
    }
}

/// Reports the number of entered events until SIGTERM, then the time of each.
pub(crate) async fn run(source: &str, router: &Path) -> Result<()> {
    let source: Source = source.parse()?;
    let router = Router::read(router).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let rpcs = router.rpcs().map(|(rpc, _)| (rpc.as_str().to_owned(), Mutex::default()));
    let handler = Handler(Arc::new(rpcs.collect()));
    let started = Started::default();
    let stop = started.stop.clone();
    let client = handler.clone();
    let worker = tokio::spawn(async move {
        let settings =
            Settings { name: "bench".to_owned(), visibility: Duration::from_secs(30), pace: Pace::default() };
        let standing = Standing::alone(&started.readiness, "delivering", source.name());
        outbox_worker::postgres::run(&source, &router, &client, &settings, &standing, &started).await
    });
    tell("ready")?;
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = terminate.recv() => break,
        }
        tell(&format!("count {}", handler.count()))?;
    }
    stop.cancel();
    worker.await?;
    tell(&handler.lines())
}

/// An error if the benchmark has ended.
fn tell(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
