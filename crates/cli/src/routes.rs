//! `outbox routes`: which event runs which RPC, at a glance.

mod drawing; // mermaid and dot

use std::path::PathBuf;
use std::process::ExitCode;

use outbox_event_router::{ReadError, Router, names};
use outbox_finding::{Finding, Report};
use serde::Serialize;

use crate::asked::Asked;
use crate::stopped::Stopped;
use crate::terminal::{print, say, write};
use crate::{safe, show};

/// Shows which event runs which RPC.
///
/// As a table with the delivery policy of each subscriber, as a picture for documents (mermaid, dot), or as JSON, which
/// also has the names of rules and queues on AWS.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For the README: outbox routes --format mermaid\nAs a picture: outbox routes --format dot | dot -Tsvg > routes.svg"
)]
pub(crate) struct Args {
    /// Which event runs which RPC.
    #[arg(long, default_value = "event_router.yaml", env = "OUTBOX_ROUTER", value_name = "FILE")]
    router: PathBuf,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Who asks.
    #[arg(skip)]
    pub(crate) asked: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Mermaid,
    Dot,
    Json,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Stopped> {
    if let Some(in_use) = args.asked.routes() {
        args.asked.keeps(&listed(in_use));
        return Ok(ExitCode::SUCCESS);
    }
    let router = match Router::read(&args.router) {
        Ok(router) => router,
        // A page shows no report.
        Err(ReadError::Findings(report)) if args.asked.who().is_some() => {
            return Err(Stopped::failed(mistakes(&report), "run `outbox check`"));
        }
        Err(ReadError::Findings(report)) => {
            say(&report.to_string());
            return Ok(ExitCode::FAILURE);
        }
        Err(ReadError::Io { file, source }) => {
            return Err(Stopped::unusable(format!("failed to read {file}: {source}"), "pass --router FILE"));
        }
    };
    if args.asked.keeps(&listed(&router)) {
        return Ok(ExitCode::SUCCESS);
    }
    match args.format {
        Format::Table => print(&table(&router))?,
        Format::Mermaid => print(&drawing::mermaid(&router))?,
        Format::Dot => print(&drawing::dot(&router))?,
        Format::Json => write(&safe::json(&json(&router)))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The first mistake, and how many there are.
fn mistakes(report: &Report) -> String {
    let Some(Finding { place, message, .. }) = report.findings().first() else { return String::new() };
    let more = match report.findings().len() {
        1 => String::new(),
        many => format!(" (the first of {many} mistakes)"),
    };
    format!("{}:{}: {message}{more}", place.file, place.line)
}

fn table(router: &Router) -> String {
    let mut table = show::table(["EVENT", "RPC", "TIMEOUT", "CONCURRENCY", "RATE", "ATTEMPTS", "BACKOFF"]);
    for (event, _) in router.events() {
        if router.subscribers(event).is_empty() {
            table.add_row([event, "no subscriber"]);
        }
        for (n, route) in router.routes().filter(|route| route.event == event).enumerate() {
            let policy = route.policy;
            table.add_row([
                if n == 0 { event.to_owned() } else { String::new() },
                match route.called == route.rpc {
                    true => route.rpc.to_string(),
                    false => format!("{} (queue {})", route.called, route.rpc),
                },
                humantime::format_duration(policy.timeout).to_string(),
                policy.concurrency.to_string(),
                policy.rate_per_second.map_or_else(String::new, |rate| format!("{rate}/s")),
                policy.max_attempts.to_string(),
                format!(
                    "{} to {}",
                    humantime::format_duration(policy.backoff.min),
                    humantime::format_duration(policy.backoff.max)
                ),
            ]);
        }
    }
    table.trim_fmt()
}

#[derive(Serialize)]
struct JsonRoute<'a> {
    event: &'a str,
    rpc: &'a str,
    /// The name by which it is called, where that is not the queue's.
    #[serde(skip_serializing_if = "Option::is_none")]
    called: Option<&'a str>,
    timeout_seconds: f64,
    concurrency: usize,
    rate_per_second: Option<u32>,
    max_attempts: u32,
    backoff_min_seconds: f64,
    backoff_max_seconds: f64,
    rule: String,
    queue: String,
}

fn json(router: &Router) -> String {
    serde_json::to_string_pretty(&listed(router)).expect("texts and numbers serialize")
}

fn listed(router: &Router) -> Vec<JsonRoute<'_>> {
    router
        .routes()
        .map(|route| JsonRoute {
            event: route.event,
            rpc: route.rpc.as_str(),
            called: Some(route.called.as_str()).filter(|called| *called != route.rpc.as_str()),
            timeout_seconds: route.policy.timeout.as_secs_f64(),
            concurrency: route.policy.concurrency,
            rate_per_second: route.policy.rate_per_second,
            max_attempts: route.policy.max_attempts,
            backoff_min_seconds: route.policy.backoff.min.as_secs_f64(),
            backoff_max_seconds: route.policy.backoff.max.as_secs_f64(),
            rule: names::rule(route.event, route.rpc),
            queue: names::queue("", route.rpc),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asked::InUse;

    /// Guards promise 8: a page says which mistake a file has, and not that it has no routes.
    #[test]
    fn a_page_shows_a_mistake() {
        let folder = std::env::temp_dir().join(format!("outbox-routes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let router = folder.join("event_router.yaml");
        std::fs::write(&router, "event:\n  - name: event_one\n    subscriber: [{ id: A }]\n").unwrap();
        let asked = Asked::by_page("ann".to_owned(), vec!["routes".to_owned()], InUse::default());
        let went = run(&Args { router, format: Format::Table, asked });
        std::fs::remove_dir_all(&folder).unwrap();
        let problem = went.unwrap_err().problem;
        assert!(problem.contains("event_router.yaml:"), "{problem}");
    }
}
