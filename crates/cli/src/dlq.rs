//! `outbox dlq`: dead letters, and how they are delivered again.

mod list; // shown
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
/// A delivery is dead after an error that no retry can correct, or after its last attempt. It stays for 14 days.
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
/// On SQS a letter can only be read by receiving it, so each is hidden from others for a moment.
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

/// Shows one dead letter, with its payload only on request.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct Show {
    /// The id that `outbox dlq list` shows.
    id: String,

    /// The RPC of its queue. On SQS this makes the search quicker.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    rpc: Option<Rpc>,

    /// Print the payload, too. It may contain personal data or secrets.
    #[arg(long)]
    payload: bool,

    #[command(flatten)]
    print: Print,
}

/// Delivers dead letters again.
///
/// Each goes back into the queue of its RPC, with its attempts counted from the beginning. An RPC that succeeded meanwhile is
/// not called again, because the worker finds the record. Each letter is moved by itself. If this is interrupted, the rest
/// stays, and the same command goes on.
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

    /// How many per second. A higher value is sooner done. A lower one spares a service that has just come back.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// Only print how many.
    #[arg(long)]
    dry_run: bool,

    /// Forget a past success first: the RPC runs again even if it had succeeded for the event.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    consent: Consent,

    #[command(flatten)]
    print: Print,
}

/// Drops dead letters for good.
///
/// The events stay in the outbox until retention, for `outbox replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
struct Drop {
    #[command(flatten)]
    which: Which,

    /// All of them.
    #[arg(long)]
    all: bool,

    /// Only print how many.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    consent: Consent,

    #[command(flatten)]
    print: Print,
}

/// Which dead letters: every given condition must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
struct Which {
    /// Letters of this RPC, by its name in event_router.yaml.
    #[arg(long, value_parser = rpc, value_name = "SERVICE/METHOD")]
    rpc: Option<Rpc>,

    /// Letters of this event.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,

    /// Letters with this code: invalid_argument, unavailable, malformed_message, redrive_policy …
    #[arg(long, value_name = "CODE")]
    code: Option<String>,

    /// Letters that are dead for longer than this: 1h, 2days.
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
        Command::List(args) => on_transport(&args.print.options, list::Listing(args)).await,
        Command::Show(args) => on_transport(&args.print.options, list::Showing(args)).await,
        Command::Redrive(args) => {
            let which = some(&args.which, args.all, "dlq redrive")?;
            on_transport(&args.print.options, moved::Move::redrive(args, which)).await
        }
        Command::Drop(args) => {
            let which = some(&args.which, args.all, "dlq drop")?;
            on_transport(&args.print.options, moved::Move::drop(args, which)).await
        }
    }
}

async fn on_transport(options: &Options, work: impl transport::Work) -> Result<ExitCode, Stopped> {
    // AWS needs no database, and a database that is down must not block access to dead letters.
    if options.transport == Transport::Aws {
        return transport::work(options, &[], work).await;
    }
    transport::work(options, &options.databases().await?, work).await
}

/// A change needs a filter, or the flag for all.
fn some(which: &Which, all: bool, command: &str) -> Result<Filter, Stopped> {
    let filter = which.filter();
    let none = filter.rpc.is_none()
        && filter.event.is_none()
        && filter.code.is_none()
        && filter.older_than.is_none();
    match (none, all) {
        (true, false) => Err(Stopped::unusable(
            format!("`outbox {command}` needs a filter"),
            "pass --rpc, --event, --code or --older-than (every given condition must hold), or --all; --dry-run counts",
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
