//! `outbox dlq`: dead letters, and how they are delivered again.

mod args;
mod bound; // of the times at which letters died
mod counting; // before they are moved
mod hiding; // fields that are never shown
mod list; // shown
mod moved; // redriven or dropped
mod result; // of that
mod summary; // in groups

use std::process::ExitCode;

use clap::Subcommand;

#[cfg(feature = "console")]
use crate::options::Options;
use crate::stopped::Stopped;
use crate::transport::work_on_queues;
pub(crate) use args::rpc;
use args::{Drop, EXIT_STATUS, List, Redrive, Show, Summary};
pub(crate) use moved::FORGETS;

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
    Summary(Summary),
    List(List),
    Show(Show),
    Redrive(Redrive),
    Drop(Drop),
}

#[cfg(feature = "console")]
impl Args {
    pub(crate) fn options(&mut self) -> &mut Options {
        match &mut self.command {
            Command::Summary(args) => &mut args.options,
            Command::List(args) => &mut args.options,
            Command::Show(args) => &mut args.options,
            Command::Redrive(args) => &mut args.repair.options,
            Command::Drop(args) => &mut args.repair.options,
        }
    }
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    match &args.command {
        Command::Summary(args) => work_on_queues(&args.options, summary::Summing(args)).await,
        Command::List(args) => work_on_queues(&args.options, list::Listing(args)).await,
        Command::Show(args) => work_on_queues(&args.options, list::Showing::of(args)?).await,
        Command::Redrive(args) => work_on_queues(&args.repair.options, moved::Move::redrive(args)?).await,
        Command::Drop(args) => work_on_queues(&args.repair.options, moved::Move::drop(args)?).await,
    }
}
