//! `outbox doctor`: checks everything in an installation that is easily wrong.

mod address; // host and port of a URL
#[cfg(feature = "aws")]
mod aws; // what Terraform should have made
mod diagnosis; // what one look found
mod endpoints; // whether services can be called
mod postgres; // database, role, long transactions
mod routes; // event_router.yaml, as `outbox check` reads it

use std::path::PathBuf;
use std::process::ExitCode;

use outbox_event_router::Router;
use outbox_transport::args::Transport;
use serde::Serialize;

use crate::options::Options;
use crate::show::counted;
use crate::stopped::Stopped;
use diagnosis::{Diagnosis, Severity};

/// Checks everything that an installation needs, and prints what is wrong and what to do.
///
/// It checks the database, its schema and the privileges of the given role; transactions, slots and relays that block others;
/// event_router.yaml; the services' addresses, TLS and protocols. On aws it checks bus, rules, queues and table against event_router.yaml. It
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 no errors (there may be warnings); 1 errors; 2 unusable arguments.\n\nAs a worker sees it: outbox doctor --proto proto --endpoint NotificationService=http://notification:8080"
)]
pub(crate) struct Args {
    #[command(flatten)]
    services: endpoints::ServicesArgs,

    /// The services' proto, to check event_router.yaml against, as `outbox check` does.
    #[arg(long, env = "OUTBOX_PROTO", value_name = "PATH")]
    proto: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// The names are stable.
#[derive(Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    findings: Vec<Diagnosis>,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let sources = args.options.sources()?;
    let (router, mut findings) = routes::look(&args.options, &args.proto)?;
    if sources.is_empty() {
        findings.push(Diagnosis::skipped(
            "database",
            "none given",
            "set DATABASE_URL to look at the relay's half, too",
        ));
    }
    for source in sources {
        findings.extend(postgres::look(&source).await);
    }
    findings.extend(endpoints::look(&args.services, &args.proto, router.as_ref()).await);
    if args.options.transport() == Transport::Aws {
        findings.extend(on_aws(&args.options, router.as_ref()).await?);
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let report = Report { errors: count(Severity::Error), warnings: count(Severity::Warning), findings };
    args.options.answer(&report, || text(&report))?;
    Ok(if report.errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(feature = "aws")]
async fn on_aws(options: &Options, router: Option<&Router>) -> Result<Vec<Diagnosis>, Stopped> {
    Ok(aws::look(options, router).await)
}

#[cfg(not(feature = "aws"))]
async fn on_aws(_: &Options, _: Option<&Router>) -> Result<Vec<Diagnosis>, Stopped> {
    Err(Stopped::without_aws())
}

fn text(report: &Report) -> String {
    let lines: Vec<String> = report.findings.iter().map(Diagnosis::to_string).collect();
    let summary = match (report.errors, report.warnings) {
        (0, 0) => "All is well.".to_owned(),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    format!("{}\n\n{summary}", lines.join("\n"))
}
