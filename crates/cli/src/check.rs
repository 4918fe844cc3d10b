//! `outbox check`: every mistake in event_router.yaml and proto, before it hurts.

mod breaking; // what breaks events in flight
mod limits; // what the bus allows
mod older; // reads the older version
mod output;
mod wiring; // routes against descriptors

use std::path::PathBuf;
use std::process::ExitCode;

use outbox_contract::{Contract, ReadError, Selection, Sources};
use outbox_event_router::Router;
use outbox_finding::{Report, Severity};

use crate::stopped::Stopped;
use crate::terminal::write;
use older::Older;

/// Checks event_router.yaml against proto and the limits of the bus.
///
/// Prints every mistake with its file, its line and what to write instead: unknown events and RPCs, requests that can't carry
/// the event, events whose value and message do not belong together, events without subscribers, names and numbers that AWS
/// would refuse.
///
/// Relay, worker and `terraform plan` refuse the same mistakes in event_router.yaml, and `terraform plan` accepts what this
/// accepts. So it refuses spellings that readers of YAML interpret differently: numbers that are not written in digits, tags,
/// tabs, merge keys, keys that are written twice, more than 500 aliases, more than 196608 bytes. Only AWS's limits (300 rules,
/// names that collide when they are shortened) do not concern relay and worker.
///
/// With --against it also finds what would break events that were published before and are not delivered yet.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 no errors (there may be warnings); 1 errors; 2 unusable arguments.\n\nIn CI: outbox check --format github --against origin/main"
)]
pub(crate) struct Args {
    /// Which event runs which RPC.
    #[arg(long, default_value = "event_router.yaml", env = "OUTBOX_ROUTER", value_name = "FILE")]
    router: PathBuf,

    /// A directory of .proto files, or a descriptor set. Repeat for several directories.
    #[arg(long, default_value = "proto", env = "OUTBOX_PROTO", value_name = "PATH")]
    proto: Vec<PathBuf>,

    /// A directory in which only imports are looked up. Repeat for several.
    #[arg(long, value_name = "DIR")]
    include: Vec<PathBuf>,

    /// A package whose `enum Event` has the events: acme.card.v1. Repeat for several; in the environment, separate them by
    /// spaces. Without it that of every package counts.
    #[arg(
        long = "events-package",
        env = "OUTBOX_EVENTS_PACKAGES",
        value_delimiter = ' ',
        value_name = "PACKAGE"
    )]
    events_packages: Vec<String>,

    /// An older version, to find what breaks events in flight: a git revision, or a directory of .proto files.
    #[arg(long, value_name = "REV|DIR")]
    against: Option<String>,

    /// The older event_router.yaml, if --against is a directory.
    #[arg(long, value_name = "FILE", requires = "against")]
    against_router: Option<PathBuf>,

    /// How to print: for people, as JSON, or as annotations of a GitHub workflow.
    #[arg(long, value_enum, default_value_t = output::Format::Text)]
    format: output::Format,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let file = args.router.display().to_string();
    let bytes = std::fs::read(&args.router).map_err(|error| {
        Stopped::unusable(
            format!("failed to read {file}: {error}"),
            "pass --router FILE; the README shows what is in it",
        )
    })?;
    let text = match outbox_event_router::decode(&file, bytes) {
        Ok(text) => text,
        Err(report) => {
            write(&args.format.render(&report, &Router::default()))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let events = Selection::new(&args.events_packages, []);
    let sources = Sources { protos: args.proto.clone(), includes: args.include.clone(), events };
    let older = || {
        args.against
            .as_deref()
            .map(|against| Older::read(against, &sources, &args.router, args.against_router.as_deref()))
            .transpose()
    };
    let Examined { router, report } = examine(&file, text, Some(&sources), &older)?;
    write(&args.format.render(&report, &router))?;
    Ok(if report.count(Severity::Error) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) struct Examined {
    pub(crate) router: Router,
    pub(crate) report: Report,
}

/// Checks the text of an event_router.yaml against proto, if there is any, and against an older version.
pub(crate) fn examine(
    file: &str,
    text: String,
    sources: Option<&Sources>,
    older: &dyn Fn() -> Result<Option<Older>, Stopped>,
) -> Result<Examined, Stopped> {
    let mut report = Report::default();
    let (router, findings) = Router::examine(file, &text);
    let understood = findings.is_empty();
    report.add_text(file, text);
    report.add(findings);
    report.add(limits::check(&router));
    let contract = match sources {
        Some(sources) => {
            let events = sources.events.with(router.packages());
            read(&Sources { events, ..sources.clone() }, &mut report)?
        }
        None => None,
    };
    let older = older()?;
    if let Some(contract) = &contract {
        contract.add_texts(&mut report);
        report.add(contract.findings().iter().cloned());
        report.add(wiring::check(&router, contract, older.as_ref()));
        if understood {
            report.add(wiring::without_subscriber(&router, contract));
        }
    }
    if let (Some(contract), Some(older)) = (&contract, &older) {
        report.add(breaking::in_proto(older, &router, contract));
        if understood {
            report.add(breaking::in_routes(older, file, &router, contract));
        }
    }
    Ok(Examined { router, report })
}

/// Proto that does not compile is a finding. Without proto the arguments are unusable.
fn read(sources: &Sources, report: &mut Report) -> Result<Option<Contract>, Stopped> {
    match sources.read() {
        Ok(contract) => Ok(Some(contract)),
        Err(ReadError::Findings(findings)) => {
            report.merge(findings);
            Ok(None)
        }
        Err(error) => Err(Stopped::unusable(error.to_string(), "pass --proto DIR with your .proto files")),
    }
}
