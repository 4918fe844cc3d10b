//! `outbox parked`: events that the bus refused for good.

use std::process::ExitCode;

use clap::Subcommand;
use outbox_event::EventId;
use outbox_postgres::operate::{Database, Outbox, Parked, ParkedFilter, PostgresOperator};
use outbox_transport::operate::{Repair, thousands};
use serde::Serialize;

use crate::counted::Counted;
use crate::filter;
use crate::options::Options;
use crate::pace::{Progress, interrupted};
use crate::repair::{self, RepairArgs};
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, counted, or_dash, seconds_since, table};
use crate::stopped::Stopped;

const TOGETHER: i64 = 100;
const REASON_CHARS_MAX: usize = 80;

const EXIT_STATUS: &str = "Exit status: 0 done; 1 interrupted, an id is not parked, or an event can't be retried; 2 unusable arguments; 3 a database can't be reached.";

/// Lists events that the bus refused for good, publishes them again, or drops them.
///
/// A parked event was committed and never put: no subscriber has it. It stays until an operator retries or drops it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Retry(Retry),
    Drop(Drop),
}

/// Lists parked events, with the bus's answer to each.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct List {
    /// These events.
    #[arg(value_name = "ID")]
    ids: Vec<EventId>,

    /// How many at most.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    options: Options,
}

/// Publishes parked events again.
///
/// A retried event keeps its id and its content. It comes after everything that was published meanwhile, also with its key. If
/// its time is not a date between the years 1 and 9999, it gets the time of the retry. If a text was over its limit, only its
/// beginning is kept, and the event can't be retried: publish it again, and drop it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct Retry {
    #[command(flatten)]
    change: Change,
}

/// Drops parked events for good.
///
/// No subscriber will ever get them. It asks first, with the number and the oldest of them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct Drop {
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// These events.
    #[arg(value_name = "ID")]
    ids: Vec<EventId>,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    repair: RepairArgs,
}

/// Which parked events: every given condition must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which parked events")]
struct Which {
    /// Events with this code: MalformedDetail, EntryTooLarge …
    #[arg(long, value_name = "CODE")]
    code: Option<String>,

    /// Events of this name: event_hoge_updated.
    #[arg(long, value_name = "NAME")]
    event_name: Option<String>,
}

#[cfg(feature = "console")]
impl Args {
    pub(crate) fn options(&mut self) -> &mut Options {
        match &mut self.command {
            Command::List(args) => &mut args.options,
            Command::Retry(args) => &mut args.change.repair.options,
            Command::Drop(args) => &mut args.change.repair.options,
        }
    }
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    match &args.command {
        Command::List(args) => list(args).await,
        Command::Retry(args) => change(&args.change, Kind::Retry).await,
        Command::Drop(args) => change(&args.change, Kind::Drop).await,
    }
}

#[derive(Serialize)]
struct Listed {
    source: String,
    #[serde(flatten)]
    parked: Parked,
}

async fn list(args: &List) -> Result<ExitCode, Stopped> {
    let filter = args.which.filter(&args.ids);
    let (limit, mut listed) = (i64::from(args.limit), Vec::new());
    let outboxes = outboxes(&args.options.outboxes().await?);
    filter::parked(&args.options, &outboxes, &filter).await?;
    for outbox in outboxes {
        let parked = outbox.parked(&filter, None, i64::MAX, limit + 1).await?;
        listed.extend(parked.into_iter().map(|parked| Listed { source: outbox.source().to_owned(), parked }));
    }
    let more = listed.len() > args.limit as usize;
    listed.truncate(args.limit as usize);
    args.options.answer(&listed, || text(&listed, more, args))?;
    Ok(ExitCode::SUCCESS)
}

fn text(listed: &[Listed], more: bool, args: &List) -> String {
    if listed.is_empty() {
        return "No parked events.".to_owned();
    }
    let several = listed.iter().any(|one| one.source != listed[0].source);
    let mut rows =
        table(["ID", "NAME", "KEY", "PARKED FOR", "CODE", "REASON", if several { "SOURCE" } else { "" }]);
    for Listed { parked, source } in listed {
        rows.add_row([
            parked.id.to_string(),
            line(&parked.name, NAME_CHARS_MAX),
            or_dash(parked.key.as_deref().map(|key| line(key, 40))),
            parked.parked_at.known().map_or_else(|| NOT_KNOWN.to_owned(), |at| age(seconds_since(at))),
            line(&parked.code, NAME_CHARS_MAX),
            line(&parked.reason, REASON_CHARS_MAX),
            if several { source.clone() } else { String::new() },
        ]);
    }
    let mut text = rows.trim_fmt();
    if more {
        text.push_str(&format!("\n\nThere are more: --limit is {}.", args.limit));
    }
    let id = listed[0].parked.id.to_string();
    text.push_str(&format!(
        "\n\nonce the cause is corrected: {}",
        args.options.command(["parked", "retry", &id])
    ));
    text.push_str(&format!("\nto give one up:           {}", args.options.command(["parked", "drop", &id])));
    text
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Retry,
    Drop,
}

/// The result; the names are stable.
#[derive(Debug, Default, Serialize)]
struct Changed {
    dry_run: bool,
    found: u64,
    changed: u64,
    /// Which of the given ids.
    not_parked: Vec<EventId>,
    /// Events with a key. They now come after later events with the same key.
    with_key: u64,
    /// Events that can't be retried, because only the beginnings of their texts are kept.
    cut: u64,
    interrupted: bool,
}

async fn change(args: &Change, kind: Kind) -> Result<ExitCode, Stopped> {
    let Change { ids, which, repair: args } = args;
    let command = if kind == Kind::Retry { "parked retry" } else { "parked drop" };
    let filter = args.some(which.filter(ids), command, "ids, --code or --event-name")?;
    let databases = args.options.outboxes().await?;
    filter::parked(&args.options, &outboxes(&databases), &filter).await?;
    let mut changed = Changed { dry_run: args.dry_run, not_parked: filter.ids.clone(), ..Changed::default() };
    if args.dry_run {
        each(None, kind, &filter, &databases, &mut changed).await?;
    } else {
        let asked = match kind == Kind::Drop && !args.consent.is_given() {
            true => Some(count(&filter, &databases).await?),
            false => None,
        };
        if kind == Kind::Drop {
            let events = asked.as_ref().map(|asked| asked.text("parked event", "parked"));
            let events = events.unwrap_or_else(|| "these events".to_owned());
            args.consent.ask(&format!("drops {events}: no subscriber will ever get them"))?;
        }
        let lines: Vec<PostgresOperator> = databases.iter().cloned().map(PostgresOperator::new).collect();
        let repair = repair::begin(&args.options.asked, &lines, kind == Kind::Retry).await?;
        let went = each(Some((&repair, asked.as_ref())), kind, &filter, &databases, &mut changed).await;
        repair::end(repair, &lines, &changed).await;
        went?;
    }
    args.options.answer(&changed, || said(&changed, kind))?;
    let all = !changed.interrupted && changed.not_parked.is_empty() && changed.cut == 0;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Without a repair it only counts them.
async fn each(
    repair: Option<(&Repair, Option<&Counted>)>,
    kind: Kind,
    filter: &ParkedFilter,
    databases: &[Database],
    changed: &mut Changed,
) -> Result<(), Stopped> {
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    let mut progress = Progress::new(if kind == Kind::Retry { "retried" } else { "dropped" }, None);
    'all: for outbox in outboxes(databases) {
        // An event that is refused again is parked again, and must not be retried for ever.
        let (mut after, newest) = (None, outbox.newest().await?);
        loop {
            let mut parked = tokio::select! {
                parked = outbox.parked(filter, after, newest, TOGETHER) => parked?,
                () = &mut interrupted => {
                    changed.interrupted = true;
                    break 'all;
                }
            };
            let Some(last) = parked.last() else { break };
            after = Some((last.seq, last.id));
            changed.not_parked.retain(|id| !parked.iter().any(|parked| parked.id == *id));
            if let Some((_, Some(asked))) = repair {
                parked.retain(|parked| asked.covers(parked.parked_at));
            }
            let (cut, parked): (Vec<_>, Vec<_>) =
                parked.into_iter().partition(|parked| kind == Kind::Retry && parked.cut);
            changed.cut += cut.len() as u64;
            changed.found += parked.len() as u64;
            changed.with_key += parked.iter().filter(|parked| parked.key.is_some()).count() as u64;
            changed.changed += match (kind, repair) {
                (_, None) => 0,
                (Kind::Retry, Some((repair, _))) => outbox.retry_parked(repair, &parked).await?,
                (Kind::Drop, Some((repair, _))) => outbox.drop_parked(repair, &parked).await?,
            };
            progress.add(parked.len());
        }
    }
    Ok(())
}

fn outboxes(databases: &[Database]) -> Vec<Outbox> {
    databases.iter().cloned().map(|database| Outbox::new(database, crate::terminal::say)).collect()
}

async fn count(filter: &ParkedFilter, databases: &[Database]) -> Result<Counted, Stopped> {
    let mut counted = Counted::default();
    for outbox in outboxes(databases) {
        let mut after = None;
        loop {
            let parked = outbox.parked(filter, after, i64::MAX, TOGETHER).await?;
            let Some(last) = parked.last() else { break };
            after = Some((last.seq, last.id));
            for Parked { id, name, code, reason, parked_at, .. } in &parked {
                counted.add(&format!("{name} with {code}"), *parked_at, || format!("event {id} ({reason})"));
            }
        }
    }
    Ok(counted)
}

fn said(changed: &Changed, kind: Kind) -> String {
    let events = |count: u64| counted(thousands(i64::try_from(count).unwrap_or(i64::MAX)), "parked event");
    let mut lines = vec![match (kind, changed.dry_run) {
        (Kind::Retry, true) => format!("would retry {}", events(changed.found)),
        (Kind::Drop, true) => format!("would drop {}", events(changed.found)),
        (Kind::Retry, false) => format!("retried {}", events(changed.changed)),
        (Kind::Drop, false) => format!("dropped {}", events(changed.changed)),
    }];
    if kind == Kind::Retry && changed.with_key > 0 {
        lines.push("  they come after what was published of their keys meanwhile".to_owned());
    }
    if changed.cut > 0 {
        lines.push(format!(
            "{} can't be retried: only the beginning of each is kept; publish it again, and drop it",
            changed.cut
        ));
    }
    lines.extend(changed.not_parked.iter().map(|id| format!("not parked: {id}")));
    if changed.interrupted {
        lines.push("interrupted: the rest is still parked; the same command goes on".to_owned());
    }
    lines.join("\n")
}

impl Which {
    fn filter(&self, ids: &[EventId]) -> ParkedFilter {
        ParkedFilter { ids: ids.to_vec(), code: self.code.clone(), event_name: self.event_name.clone() }
    }
}
