//! `outbox dlq`: what no worker calls any more, and how it is called again.

mod list; // seen
mod moved; // redriven or dropped

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use event::EventId;
use event_router::Rpc;
use outbox_transport::operate::Filter;
use runtime::Transport;

use crate::options::{Format, Options};
use crate::repair::Consent;
use crate::stopped::Stopped;
use crate::transport::{self};

const EXIT_STATUS: &str = "Exit status: 0 done; 1 failed in part, interrupted, or no such dead letter: what was not moved is where it was; 2 unusable arguments; 3 a database or AWS can't be reached.";

/// Lists dead letters, delivers them again, or drops them.
///
/// A delivery is dead after an answer that no attempt can better, or after its last attempt; it stays 14 days.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Redrive(Redrive),
    Drop(Drop),
}

/// Lists dead letters, with the reason of each.
///
/// On SQS they can't be looked at without being received: each is hidden from others for a moment.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct List {
    #[command(flatten)]
    which: Which,

    /// How many at most.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    #[command(flatten)]
    print: Print,
}

/// Shows one dead letter; its payload only if asked.
///
/// Every database counts its own letters. Of several with the same number each is shown; in JSON they are several objects.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct Show {
    /// As `outbox dlq list` shows it.
    id: String,

    /// Where to look for it: on SQS that is quicker.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    rpc: Option<Rpc>,

    /// Print the payload, too. It may hold what is nobody's business.
    #[arg(long)]
    payload: bool,

    #[command(flatten)]
    print: Print,
}

/// Delivers dead letters again.
///
/// Each goes back into the queue of its RPC, with its attempts counted anew. What was done meanwhile is not done again: the
/// worker finds it in its record. Eight are moved at a time: on Postgres in one transaction, on SQS each by itself. If this
/// is interrupted, the rest stays, and the same command goes on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "After an outage: outbox dlq redrive --rpc NotificationService/NotifyHogeUpdated --code unavailable\n\nExit status: 0 all were moved; 1 not all, or interrupted; 2 unusable arguments; 3 a database or AWS can't be reached."
)]
struct Redrive {
    #[command(flatten)]
    which: Which,

    /// All of them.
    #[arg(long)]
    all: bool,

    /// How many per second. Higher is sooner done; lower is kinder to a service that has just come back.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// Only say how many.
    #[arg(long)]
    dry_run: bool,

    /// Forget first that it was done: the RPC runs again even if it had succeeded for the event.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    consent: Consent,

    #[command(flatten)]
    print: Print,
}

/// Drops dead letters for good.
///
/// The events stay in the outbox until retention, for `outbox replay`. Eight are dropped at a time: on Postgres in one
/// transaction, on SQS each by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct Drop {
    #[command(flatten)]
    which: Which,

    /// All of them.
    #[arg(long)]
    all: bool,

    /// Only say how many.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    consent: Consent,

    #[command(flatten)]
    print: Print,
}

/// Which dead letters: all that is given must fit.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
struct Which {
    /// Of this RPC, as event_router.yaml has it.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    rpc: Option<Rpc>,

    /// Of this event.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,

    /// With this code: invalid_argument, unavailable, malformed_message, redrive_policy …
    #[arg(long, value_name = "CODE")]
    code: Option<String>,

    /// Dead for longer than this: 1h, 2days.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    older_than: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct Print {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    match &args.command {
        Command::List(args) => on_line(&args.print.options, list::Listing(args)).await,
        Command::Show(args) => on_line(&args.print.options, list::Showing(args)).await,
        Command::Redrive(args) => {
            let which = some(&args.which, args.all, "dlq redrive")?;
            on_line(&args.print.options, moved::Move::redrive(args, which)).await
        }
        Command::Drop(args) => {
            let which = some(&args.which, args.all, "dlq drop")?;
            on_line(&args.print.options, moved::Move::drop(args, which)).await
        }
    }
}

async fn on_line(options: &Options, work: impl transport::Work) -> Result<ExitCode, Stopped> {
    // On AWS no database is needed, and one that is down must keep nobody from his dead letters.
    if options.transport == Transport::Aws {
        return transport::work(options, &[], work).await;
    }
    transport::work(options, &options.databases().await?, work).await
}

/// What changes something wants a filter, or a word for all.
fn some(which: &Which, all: bool, command: &str) -> Result<Filter, Stopped> {
    let filter = which.filter();
    let none = filter.rpc.is_none()
        && filter.event.is_none()
        && filter.code.is_none()
        && filter.older_than.is_none();
    match (none, all) {
        (true, false) => Err(Stopped::unusable(
            format!("`outbox {command}` wants to be told which"),
            "pass --rpc, --event, --code or --older-than (all that is given must fit), or --all; --dry-run counts",
        )),
        (false, true) => Err(Stopped::unusable("--all and a filter contradict each other", "leave one out")),
        _ => Ok(filter),
    }
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            rpc: self.rpc.clone(),
            event: self.event,
            code: self.code.clone(),
            older_than: self.older_than,
            id: None,
        }
    }
}

pub(crate) fn rpc(text: &str) -> Result<Rpc, String> {
    Rpc::new(text).ok_or_else(|| "write Service/Method, as in event_router.yaml".to_owned())
}
