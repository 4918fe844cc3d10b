//! Our worker with nothing behind the RPC seam, as a process of its own: the peers' handlers are in processes of theirs.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_router::Router;
use outbox_schema::Source;
use runtime::{Readiness, Started, Tracer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use worker::embedded::Settings;
use worker::rpc::{Call, CallError, RpcClient};

use crate::Result;
use crate::database::number;
use crate::publisher::now;

const TOLD_EVERY: Duration = Duration::from_millis(20);

/// Notes when each event enters each RPC, and is done.
#[derive(Debug, Clone, Default)]
struct Handler(Arc<Mutex<HashMap<u64, Vec<(String, i64)>>>>);

impl RpcClient for Handler {
    async fn call(&self, call: &Call<'_>) -> std::result::Result<(), CallError> {
        let now = now();
        let Some(n) = number(call.event.payload.get()) else { return Ok(()) };
        let mut entered = self.0.lock().expect("no panic while held");
        let times = entered.entry(n).or_default();
        if times.iter().all(|(rpc, _)| rpc != call.rpc.as_str()) {
            times.push((call.rpc.as_str().to_owned(), now));
        }
        Ok(())
    }
}

impl Handler {
    fn count(&self) -> usize {
        self.0.lock().expect("no panic while held").values().map(Vec::len).sum()
    }
}

/// Tells how many have entered until SIGTERM; then when each of them did.
pub(crate) async fn run(source: &str, router: &Path) -> Result<()> {
    let source: Source = source.parse()?;
    let router = Router::read(router).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let handler = Handler::default();
    let started = Started {
        stop: CancellationToken::new(),
        readiness: Readiness::default(),
        tracer: Tracer::default(),
    };
    let stop = started.stop.clone();
    let client = handler.clone();
    let worker = tokio::spawn(async move {
        let settings = Settings { name: "bench".to_owned(), visibility: Duration::from_secs(30) };
        worker::embedded::run(&source, &router, &client, &settings, &started).await
    });
    tell("ready")?;
    let (mut ticks, mut told) = (tokio::time::interval(TOLD_EVERY), 0);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = terminate.recv() => break,
        }
        let count = handler.count();
        if count != told {
            tell(&format!("count {count}"))?;
            told = count;
        }
    }
    stop.cancel();
    worker.await??;
    let entered = handler.0.lock().expect("no panic while held");
    let lines = entered.iter().flat_map(|(n, times)| times.iter().map(move |(_, at)| format!("at {n} {at}")));
    tell(&lines.collect::<Vec<_>>().join("\n"))
}

/// An error if the benchmark is gone.
fn tell(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
