//! `outbox queue`: what is in the queues, and what an operator does with it.

mod args;
mod change; // tried at once, or given up
mod gather; // looks through queues
mod groups; // counted by reason, name, key or header
mod list;
mod moving; // to the queue of another RPC
mod removing; // a queue without a route

use std::process::ExitCode;

use clap::Subcommand;

#[cfg(feature = "console")]
use crate::options::Options;
use crate::stopped::Stopped;
use crate::transport::work_on_queues;
use args::{EXIT_STATUS, GiveUp, List, Remove, Rename, Retry};

/// Lists what is in a queue, tries it again at once, gives it up, or moves it.
///
/// SQS can't list or change what is in a queue: there each command says what to use instead.
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
    GiveUp(GiveUp),
    Move(Rename),
    Drop(Remove),
}

#[cfg(feature = "console")]
impl Args {
    pub(crate) fn options(&mut self) -> &mut Options {
        match &mut self.command {
            Command::List(args) => &mut args.options,
            Command::Retry(args) => &mut args.repair.options,
            Command::GiveUp(args) => &mut args.repair.options,
            Command::Move(args) => &mut args.options,
            Command::Drop(args) => &mut args.options,
        }
    }
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    match &args.command {
        Command::List(args) => work_on_queues(&args.options, list::Listing(args)).await,
        Command::Retry(args) => work_on_queues(&args.repair.options, change::Change::retry(args)?).await,
        Command::GiveUp(args) => work_on_queues(&args.repair.options, change::Change::give_up(args)?).await,
        Command::Move(args) => work_on_queues(&args.options, moving::Moving(args)).await,
        Command::Drop(args) => work_on_queues(&args.options, removing::Removing(args)).await,
    }
}
