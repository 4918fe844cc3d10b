//! `outbox dlq`: dead letters, and how they are delivered again.

mod args;
mod list; // shown
mod moved; // redriven or dropped

use std::process::ExitCode;

use clap::Subcommand;
use outbox_transport::args::Transport;
use outbox_transport::operate::Filter;

use crate::options::Options;
use crate::stopped::Stopped;
use crate::transport;
pub(crate) use args::rpc;
use args::{Drop, EXIT_STATUS, List, Redrive, Show, Which};

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
    if options.transport() == Transport::Aws {
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
