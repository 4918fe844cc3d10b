//! `outbox audit`: who repaired what, and when.

use std::io::IsTerminal;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_postgres::operate::PostgresOperator;
use outbox_transport::args::Transport;
use outbox_transport::operate::{Audit, Kept, Standing, thousands};
use serde::Serialize;

use crate::options::Options;
use crate::safe::line;
use crate::show::{self, NAME_CHARS_MAX, or_dash, table};
use crate::stopped::Stopped;
use crate::transport;

/// A command is cut on a terminal, where it would fill several lines. A wider terminal has room for more.
const COMMAND_CHARS_MAX: usize = 100;
const OTHER_COLUMNS: usize = 110;
const WIDE_CHARS_MAX: usize = 2000;
/// With a filter, so many are looked at in each place.
const FILTERED_MAX: u32 = 20_000;

/// Lists repairs: who redrove, dropped, retried or replayed what, and when. Newest first; kept for 400 days.
///
/// They are in outbox.audit of each database. On the transport aws, repairs of queues and dead letters are in the dedup table,
/// and are listed first. OUTCOME is running, ended, interrupted, stopped, failed, silent (its command was killed), or not ended:
/// that still runs, or was killed. Before the end, MOVED is the number so far, if that is known. `outbox repair` has more of
/// redrives, drops and replays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 listed; 2 unusable arguments; 3 a database can't be reached.")]
pub(crate) struct Args {
    /// How many at most, of each database and of AWS.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Repairs from this time on: 2026-11-22T03:04:05Z, or 1h (ago).
    #[arg(long, value_parser = crate::ago::time, value_name = "TIME")]
    since: Option<DateTime<Utc>>,

    /// Repairs of this person or role: a part of the name is enough.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,

    /// Repairs whose command names this RPC.
    #[arg(long, value_parser = crate::dlq::rpc, value_name = "SERVICE/METHOD")]
    rpc: Option<Rpc>,

    /// Repairs whose command names this event. `outbox why` tells all repairs of an event.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,

    /// Don't cut commands on a terminal.
    #[arg(long)]
    wide: bool,

    #[command(flatten)]
    pub(crate) options: Options,
}

impl Args {
    fn is_filtered(&self) -> bool {
        self.since.is_some() || self.who.is_some() || self.rpc.is_some() || self.event.is_some()
    }

    fn fits(&self, kept: &Kept) -> bool {
        let names = |word: &str| kept.command.split([' ', '=', '\'']).any(|one| one == word);
        let rpc = kept.progress.as_ref().and_then(|progress| progress.rpc.as_deref());
        self.since.is_none_or(|since| kept.at.known().is_some_and(|at| at >= since))
            && self.who.as_ref().is_none_or(|who| {
                kept.who.contains(who.as_str())
                    || kept.role.as_ref().is_some_and(|role| role.contains(who.as_str()))
            })
            && self.rpc.as_ref().is_none_or(|wanted| rpc == Some(wanted.as_str()) || names(wanted.as_str()))
            && self.event.is_none_or(|event| names(&event.to_string()))
    }

    /// The newest that fit, of one place.
    fn of(&self, mut kept: Vec<Kept>) -> Vec<Kept> {
        kept.retain(|one| self.fits(one));
        kept.truncate(self.limit as usize);
        kept
    }
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let limit = if args.is_filtered() { FILTERED_MAX.max(args.limit) } else { args.limit };
    let mut kept = Vec::new();
    let databases = match args.options.transport() {
        Transport::Postgres => args.options.outboxes().await?,
        Transport::Aws => {
            kept.extend(args.of(transport::aws(&args.options, false).await?.kept(limit).await?));
            args.options.databases().await?
        }
    };
    for database in databases {
        kept.extend(args.of(PostgresOperator::new(database).kept(limit).await?));
    }
    let shown: Vec<Shown> = kept.iter().map(|kept| Shown { outcome: kept.standing(), kept }).collect();
    args.options.answer(&shown, || text(&kept, args.wide))?;
    Ok(ExitCode::SUCCESS)
}

/// The names are stable.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    outcome: Standing,
    #[serde(flatten)]
    kept: &'a Kept,
}

/// Of the terminal, as the shell exports it.
fn columns() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or_default()
}

fn text(kept: &[Kept], wide: bool) -> String {
    if kept.is_empty() {
        return "No repairs.".to_owned();
    }
    let mut rows = table(["AT", "WHO", "ROLE", "OUTCOME", "MOVED", "COMMAND"]);
    let chars_max = match wide || !std::io::stdout().is_terminal() {
        true => WIDE_CHARS_MAX,
        false => COMMAND_CHARS_MAX.max(columns().saturating_sub(OTHER_COLUMNS)),
    };
    for one in kept {
        rows.add_row([
            show::moment_of(one.at),
            line(&one.who, NAME_CHARS_MAX),
            or_dash(one.role.as_deref().map(|role| line(role, NAME_CHARS_MAX))),
            one.standing().to_string(),
            or_dash(one.changed().map(thousands)),
            line(&one.command, chars_max),
        ]);
    }
    rows.trim_fmt()
}
