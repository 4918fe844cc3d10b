//! How a process starts, how it ends, and how it reports why it can't start.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Hangups, Readiness, Sources, Tally, Tracer};

/// The last spans are not worth a longer wait.
const FLUSHED_WITHIN: Duration = Duration::from_millis(800);

/// Runs a process's `main`. At its end it waits for nothing, not even for a pending name lookup.
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

/// Parses a duration such as `30s` or `1h 30m`, within bounds.
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

/// Prints the problem with the arguments and the remedy, and returns the exit code.
pub fn refuse(problem: &str, remedy: &str) -> ExitCode {
    eprintln!("error: {problem}\n  {remedy}");
    ExitCode::from(2)
}

/// What runs.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    pub program: &'static str,
    pub version: &'static str,
    /// Of the source; `unknown` if the build did not know it.
    pub revision: &'static str,
}

#[derive(Debug, Clone, Default)]
pub struct Started {
    /// Cancelled at the first signal: no new work begins, and work under way is finished.
    pub stop: CancellationToken,
    /// Cancelled when that has taken too long, or at a second signal: unfinished work is given back.
    pub give_up: CancellationToken,
    /// The SIGHUPs, for [`reload`](crate::reload).
    pub hangups: Hangups,
    /// The calls that a stop found under way.
    pub tally: Tally,
    pub readiness: Readiness,
    pub tracer: Tracer,
    /// Where metrics and health are served: `http://HOST:PORT`.
    pub address: Option<String>,
}

/// Whether a stopped task has finished all of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    All,
    /// Another process takes up the rest later.
    NotAll,
}

impl Finished {
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::All { other } else { self }
    }
}

/// How long a process may still run after a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The time to finish work under way.
    pub finish: Duration,
    /// The time to give back unfinished work.
    pub give_back: Duration,
}

/// Serves metrics and health, and listens for signals.
///
/// # Errors
///
/// The exit code; the reason is printed.
pub async fn start(
    Build { program, version, revision }: Build,
    metrics_addr: SocketAddr,
) -> Result<Started, ExitCode> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        eprintln!("error: failed to {what}: {error}");
        ExitCode::FAILURE
    };
    let tracer = Tracer::from_env(program).map_err(|error| failed("start", &error))?;
    let (stop, give_up, hangups) =
        crate::shutdown::on_signal().map_err(|error| failed("listen for signals", &error))?;
    let exporter = crate::install_metrics().map_err(|error| failed("collect metrics", &error))?;
    metrics::gauge!("outbox_build_info", "program" => program, "version" => version, "revision" => revision)
        .set(1.0);
    let readiness = Readiness::default();
    let address = match crate::health::serve(metrics_addr, exporter, readiness.clone()).await {
        Ok(addr) => {
            tracing::info!(%addr, "serving /metrics, /healthz and /readyz");
            Some(crate::shutdown::address(addr))
        }
        Err(error) => {
            let remedy = "choose another address with --metrics-addr (port 0 picks a free one)";
            return Err(failed(&format!("serve metrics on {metrics_addr}"), &format!("{error}\n  {remedy}")));
        }
    };
    Ok(Started { stop, give_up, hangups, tally: Tally::default(), readiness, tracer, address })
}

/// Waits until every task has ended; after `stop` the wait has limits. If no source is usable, the tasks are stopped and the
/// exit code is 3. `patience` is asked when the stop begins.
pub async fn until_stopped(
    tasks: JoinSet<Finished>,
    sources: &Sources,
    started: &Started,
    patience: impl Fn() -> Patience,
) -> ExitCode {
    let code = tokio::select! {
        code = ended(tasks, sources, started) => code,
        () = limits(started, &patience) => None,
    };
    let code = code.unwrap_or_else(|| {
        tracing::warn!("not everything in flight was finished in time: it is taken up again later");
        ExitCode::FAILURE
    });
    tracing::info!("stopped: {}", started.tally.told());
    let tracer = started.tracer.clone();
    // Flushing blocks on the tracer's own thread, which needs this runtime.
    let flushed = tokio::task::spawn_blocking(move || tracer.flush());
    let _ = tokio::time::timeout(FLUSHED_WITHIN, flushed).await;
    code
}

/// The exit code once every task has ended; `None` if a task did not finish.
async fn ended(
    mut tasks: JoinSet<Finished>,
    sources: &Sources,
    Started { stop, .. }: &Started,
) -> Option<ExitCode> {
    let (mut code, mut all) = (None, Finished::All);
    loop {
        let task = tokio::select! {
            task = tasks.join_next() => task,
            reasons = sources.none_is_usable(), if code.is_none() => {
                for reason in reasons {
                    tracing::error!(error = reason, "can't go on");
                }
                code = Some(ExitCode::from(3));
                stop.cancel();
                continue;
            }
        };
        match task {
            None => break,
            Some(Ok(finished)) => all = all.and(finished),
            // Each task catches its panics itself. This arm is for a panic outside of that.
            Some(Err(panic)) => {
                tracing::error!(error = %panic, "can't go on: this is a bug");
                code = code.or(Some(ExitCode::FAILURE));
                stop.cancel();
            }
        }
    }
    code.or((all == Finished::All).then_some(ExitCode::SUCCESS))
}

/// Returns when the time for a stop is over.
async fn limits(Started { stop, give_up, .. }: &Started, patience: impl Fn() -> Patience) {
    stop.cancelled().await;
    let patience = patience();
    let _ = tokio::time::timeout(patience.finish, give_up.cancelled()).await;
    give_up.cancel();
    tokio::time::sleep(patience.give_back).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { finish: Duration::from_secs(20), give_back: Duration::from_secs(2) };

    /// Stops a process whose one task needs `takes` seconds to finish, or `gives_back` seconds to give back.
    async fn stops(takes: u64, gives_back: u64, finished: Finished) -> (ExitCode, u64) {
        let started = Started::default();
        started.stop.cancel();
        let mut tasks = JoinSet::new();
        let give_up = started.give_up.clone();
        tasks.spawn(async move {
            let finishing = tokio::time::sleep(Duration::from_secs(takes));
            tokio::select! {
                () = finishing => return finished,
                () = give_up.cancelled() => {}
            }
            tokio::time::sleep(Duration::from_secs(gives_back)).await;
            Finished::NotAll
        });
        let began = tokio::time::Instant::now();
        let sources = Sources::default();
        let code = tokio::select! {
            code = ended(tasks, &sources, &started) => code,
            () = limits(&started, || PATIENCE) => None,
        };
        (code.unwrap_or(ExitCode::FAILURE), began.elapsed().as_secs())
    }

    /// Guards: after a stop, work can finish within one limit, and is then given back within another. The exit code shows which
    /// happened.
    #[tokio::test(start_paused = true)]
    async fn a_stop_has_two_limits() {
        let cases = [
            ((5, 0, Finished::All), (ExitCode::SUCCESS, 5)),
            ((5, 0, Finished::NotAll), (ExitCode::FAILURE, 5)),
            ((60, 1, Finished::All), (ExitCode::FAILURE, 21)),
            ((60, 60, Finished::All), (ExitCode::FAILURE, 22)),
        ];
        for ((takes, gives_back, finished), expected) in cases {
            let stopped = stops(takes, gives_back, finished).await;
            assert_eq!(format!("{stopped:?}"), format!("{expected:?}"), "{takes} s, then {gives_back} s");
        }
    }
}
