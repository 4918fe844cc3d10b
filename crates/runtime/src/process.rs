//! A process's edges: how it starts, how it ends, and how it says why it can't.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Readiness, Tracer};

/// The last spans are not worth more.
const FLUSHED_WITHIN: Duration = Duration::from_millis(800);

/// Runs a process's `main`. At its end nothing is waited for any more, not even a name that is being looked up.
pub fn block_on(main: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(main);
    runtime.shutdown_background();
    code
}

/// Reads a duration as people write it, `30s` or `1h 30m`, within bounds.
pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let duration = humantime::parse_duration(text)
            .map_err(|_| "write a number and its unit, for example 30s".to_owned())?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (min, max) =
            (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
        Err(format!("it must be from {min} to {max}"))
    }
}

/// Says what is wrong with the arguments and what to do, and returns the exit code for that.
pub fn refuse(problem: &str, remedy: &str) -> ExitCode {
    eprintln!("error: {problem}\n  {remedy}");
    ExitCode::from(2)
}

/// A process that has started.
#[derive(Debug, Clone)]
pub struct Started {
    /// Cancelled at the first signal.
    pub stop: CancellationToken,
    /// What `/readyz` answers from.
    pub readiness: Readiness,
    pub tracer: Tracer,
}

/// Serves metrics and health, and listens for signals.
///
/// # Errors
///
/// The exit code, with the reason said.
pub async fn start(
    program: &'static str,
    version: &'static str,
    metrics_addr: SocketAddr,
) -> Result<Started, ExitCode> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        eprintln!("error: failed to {what}: {error}");
        ExitCode::FAILURE
    };
    let tracer = Tracer::from_env(program).map_err(|error| failed("start", &error))?;
    let stop = crate::shutdown::on_signal().map_err(|error| failed("listen for signals", &error))?;
    let exporter = crate::install_metrics().map_err(|error| failed("collect metrics", &error))?;
    metrics::gauge!("outbox_build_info", "program" => program, "version" => version).set(1.0);
    let readiness = Readiness::default();
    match crate::health::serve(metrics_addr, exporter, readiness.clone()).await {
        Ok(addr) => tracing::info!(%addr, "serving /metrics, /healthz and /readyz"),
        Err(error) => {
            let remedy = "choose another address with --metrics-addr (port 0 picks a free one)";
            return Err(failed(&format!("serve metrics on {metrics_addr}"), &format!("{error}\n  {remedy}")));
        }
    }
    Ok(Started { stop, readiness, tracer })
}

/// Waits until every task has ended, at most `patience` longer than `stop`. One that fails stops the others, and the
/// process with exit code 3.
pub async fn until_stopped(
    mut tasks: JoinSet<Result<(), String>>,
    Started { stop, tracer, .. }: &Started,
    patience: Duration,
) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            let failure = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => (error, 3),
                Err(panic) => (panic.to_string(), 1),
            };
            tracing::error!(error = failure.0, "can't go on");
            code = ExitCode::from(failure.1);
            stop.cancel();
        }
    };
    let code = tokio::select! {
        () = ended => {
            tracing::info!("stopped");
            code
        }
        () = async { stop.cancelled().await; tokio::time::sleep(patience).await } => {
            tracing::warn!("not everything in flight was finished in time: it is taken up again later");
            ExitCode::FAILURE
        }
    };
    let tracer = tracer.clone();
    // It waits for its own thread, which waits for this runtime.
    let flushed = tokio::task::spawn_blocking(move || tracer.flush());
    let _ = tokio::time::timeout(FLUSHED_WITHIN, flushed).await;
    code
}
