use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::caught::without_values;
use crate::log_fields::Fields;

/// How log lines look: for people, or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
pub struct Logs {
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value = "text", env = "OUTBOX_LOG_FORMAT")]
    log_format: LogFormat,

    /// What is logged, as in RUST_LOG: info, debug, outbox=debug,info.
    #[arg(long, global = true, default_value = "info", env = "OUTBOX_LOG", value_name = "FILTER")]
    log: String,
}

impl Logs {
    /// Sends logs to standard error from here on.
    pub fn init(&self) {
        // sqlx logs the server's notices, such as "already exists, skipping". Below info, other crates log whole requests. The
        // SDK shows a whole answer when it warns of a machine without a role.
        let filter = EnvFilter::try_new(format!(
            "sqlx=warn,hyper=info,h2=info,aws=info,aws_config=error,opentelemetry=info,{}",
            self.log
        ))
        .unwrap_or_else(|_| EnvFilter::new("info"));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            // The process goes on when the reader of its logs is gone.
            .log_internal_errors(false)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => builder.fmt_fields(Fields).init(),
            LogFormat::Json => builder.json().flatten_event(true).init(),
        }
        std::panic::set_hook(Box::new(say_panic));
    }
}

/// Logs a panic as an ordinary line, without the values that its message may quote.
fn say_panic(panic: &PanicHookInfo<'_>) {
    let message = without_values(panic.payload_as_str().unwrap_or("without a message"));
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(%backtrace, "panicked at {at}: {message}"),
        _ => tracing::error!("panicked at {at}: {message}"),
    }
}

/// The bounds of all histograms of times: close together around 10 s, the default timeout of a call.
pub const SECONDS_BOUNDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0,
    600.0,
];

/// Collects everything recorded through `metrics` from here on.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    const ATTEMPTS: [f64; 7] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0];
    const EVENTS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 10_000.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BOUNDS)?
        .set_buckets_for_metric(Matcher::Suffix("_attempts".into()), &ATTEMPTS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".into()), &EVENTS)?
        .install_recorder()
}
