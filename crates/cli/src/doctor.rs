//! `outbox doctor`: checks everything in an installation that is easily wrong.

#[cfg(feature = "aws")]
mod aws; // what Terraform should have made
mod endpoints; // whether services can be reached
mod postgres; // database, role, long transactions
mod routes; // event_router.yaml, as `outbox check` reads it

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use event_router::Router;
use runtime::Transport;
use serde::Serialize;

use crate::options::{Format, Options};
use crate::print;
use crate::safe::line;
use crate::show::{self, counted};
use crate::stopped::Stopped;

/// Checks everything that an installation needs, and prints what is wrong and what to do.
///
/// It checks the database, its schema and the privileges of the given role; transactions, slots and relays that block others;
/// event_router.yaml; the services' addresses. On aws it checks bus, rules, queues and table against event_router.yaml. It
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 no errors (there may be warnings); 1 errors; 2 unusable arguments.\n\nAs a worker sees it: outbox doctor --proto proto --endpoint NotificationService=http://notification:8080"
)]
pub(crate) struct Args {
    /// Where a service is served, as for the worker: NotificationService=http://notification:8080. A connection to each is
    /// opened, and nothing is sent. Repeat for each service; in the environment, separate them by spaces.
    #[arg(long = "endpoint", env = "OUTBOX_ENDPOINTS", value_delimiter = ' ', value_name = "SERVICE=URL")]
    endpoints: Vec<String>,

    /// The services' proto, to check event_router.yaml against, as `outbox check` does.
    #[arg(long, env = "OUTBOX_PROTO", value_name = "PATH")]
    proto: Vec<PathBuf>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[command(flatten)]
    options: Options,
}

const MESSAGE_CHARS_MAX: usize = 2000;
/// A statement to paste is useless without its end.
const HINT_CHARS_MAX: usize = 100_000;

/// One finding. Text from others is made safe where it could be taken for ours. In a statement to paste it is a literal or an
/// identifier, on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    severity: Severity,
    /// The subject: a database, a queue, a service.
    place: String,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    Ok,
    /// The check was not possible, or not requested.
    Skipped,
    Warning,
    Error,
}

impl Finding {
    fn ok(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, place: place.into(), message: message.into(), hint: None }
    }

    /// Not a mistake, but worth knowing.
    fn info(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Ok, place, message, hint)
    }

    fn with(severity: Severity, place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity, place: place.to_owned(), message: message.into(), hint: Some(hint.into()) }
    }

    fn skipped(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Skipped, place, message, hint)
    }

    fn warning(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Warning, place, message, hint)
    }

    fn error(place: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Severity::Error, place, message, hint)
    }

    /// A subject that could not be checked at all.
    fn stopped(place: &str, stopped: &Stopped) -> Self {
        Self::error(place, &stopped.problem, &stopped.remedy)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Ok => "ok",
            Severity::Skipped => "skipped",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let (place, message) = (line(&self.place, MESSAGE_CHARS_MAX), line(&self.message, MESSAGE_CHARS_MAX));
        write!(f, "{severity:<8} {place}: {message}")?;
        for one in self.hint.iter().flat_map(|hint| hint.split('\n')) {
            write!(f, "\n         {}", line(one, HINT_CHARS_MAX))?;
        }
        Ok(())
    }
}

/// The names are stable.
#[derive(Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let sources = args.options.sources()?;
    let (router, mut findings) = routes::look(&args.options, &args.proto)?;
    if sources.is_empty() {
        findings.push(Finding::skipped(
            "database",
            "none given",
            "set DATABASE_URL to look at the relay's half, too",
        ));
    }
    for source in sources {
        findings.extend(postgres::look(&source).await);
    }
    findings.extend(endpoints::look(&args.endpoints, router.as_ref()).await);
    if args.options.transport == Transport::Aws {
        findings.extend(on_aws(&args.options, router.as_ref()).await?);
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let report = Report { errors: count(Severity::Error), warnings: count(Severity::Warning), findings };
    match args.format {
        Format::Json => show::json(&report)?,
        Format::Table => print(&text(&report))?,
    }
    Ok(if report.errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(feature = "aws")]
async fn on_aws(options: &Options, router: Option<&Router>) -> Result<Vec<Finding>, Stopped> {
    Ok(aws::look(options, router).await)
}

#[cfg(not(feature = "aws"))]
async fn on_aws(_: &Options, _: Option<&Router>) -> Result<Vec<Finding>, Stopped> {
    Err(Stopped::without_aws())
}

fn text(report: &Report) -> String {
    let lines: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
    let summary = match (report.errors, report.warnings) {
        (0, 0) => "All is well.".to_owned(),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    format!("{}\n\n{summary}", lines.join("\n"))
}
