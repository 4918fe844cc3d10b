//! `outbox`: finds mistakes in files, shows routes, finds what is stuck and why, and repairs it.

mod about; // events by key, name or header
mod ago;
mod asked; // by a terminal or a page
mod audit;
mod brakes; // pauses and limits that are set
mod check;
mod codegen; // events for other languages
mod colour;
#[cfg(feature = "console")]
mod console;
mod counted; // what an irreversible command would change
#[cfg(feature = "dev")]
mod dev;
mod dev_file; // the database of the `outbox dev` of this folder
mod dlq;
mod doctor;
mod filter; // mistyped filters
mod find;
mod limit;
mod manual; // help, completions, manual pages
mod mask; // alike reasons
mod options;
mod pace;
mod parked;
mod pause;
mod poison;
mod proto; // the options' file
mod queue;
mod repair;
mod repairs; // redrives, drops and replays
mod replay;
mod routes;
mod running; // relays and workers, by their reports
mod safe;
mod send;
mod show;
mod status;
mod stopped;
mod stuck;
mod table; // laid out for the terminal
mod terminal;
mod transport;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use colour::Colour;
use stopped::Stopped;
use terminal::{When, say};

/// Checks the configuration of Outbox, shows what it does with your events, and repairs what is stuck.
#[derive(Debug, Parser)]
#[command(
    name = "outbox",
    version = outbox_revision::VERSION,
    max_term_width = 100,
    after_help = "Exit status: 0 all is well (there may be warnings); 1 something is wrong, or failed in part; 2 unusable arguments; 3 something it needs can't be reached."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Colours in the output.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    color: When,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    #[cfg(feature = "console")]
    Console(console::Args),
    #[cfg(feature = "dev")]
    Dev(dev::Args),
    Send(send::Args),
    Routes(routes::Args),
    Proto(proto::Args),
    Codegen(codegen::Args),
    Status(status::Args),
    Why(why::Args),
    Find(find::Args),
    Queue(queue::Args),
    Dlq(dlq::Args),
    Parked(parked::Args),
    Pause(pause::Args),
    Resume(pause::ResumeArgs),
    Limit(limit::Args),
    Poison(poison::Args),
    Replay(replay::Args),
    Repair(repairs::Args),
    Audit(audit::Args),
    Doctor(doctor::Args),
    #[cfg(feature = "console")]
    #[command(hide = true)]
    Role(console::RoleArgs),
    #[cfg(feature = "console")]
    #[command(hide = true)]
    Refused(console::RefusedArgs),
    Completions(manual::Completions),
    Man(manual::Man),
}

fn main() -> ExitCode {
    let command = manual::short(Cli::command());
    let cli = Cli::from_arg_matches(&command.clone().get_matches()).unwrap_or_else(|error| error.exit());
    cli.color.apply();
    match cli.command {
        Command::Check(args) => ended(check::run(&args)),
        #[cfg(feature = "console")]
        Command::Console(args) => operate(console::run(&args, for_page)),
        #[cfg(feature = "dev")]
        Command::Dev(args) => operate(dev::run(&args, for_page)),
        Command::Send(args) => operate(send::run(&args)),
        Command::Routes(args) => ended(routes::run(&args)),
        Command::Proto(args) => ended(proto::run(&args)),
        Command::Codegen(args) => ended(codegen::run(&args)),
        Command::Status(args) => operate(status::run(&args)),
        Command::Why(args) => operate(why::run(&args)),
        Command::Find(args) => operate(find::run(&args)),
        Command::Queue(args) => operate(queue::run(&args)),
        Command::Dlq(args) => operate(dlq::run(&args)),
        Command::Parked(args) => operate(parked::run(&args)),
        Command::Pause(args) => operate(pause::run(&args)),
        Command::Resume(args) => operate(pause::resume(&args)),
        Command::Limit(args) => operate(limit::run(&args)),
        Command::Poison(args) => operate(poison::run(&args)),
        Command::Replay(args) => operate(replay::run(&args)),
        Command::Repair(args) => operate(repair_of_many(&args)),
        Command::Audit(args) => operate(audit::run(&args)),
        Command::Doctor(args) => operate(doctor::run(&args)),
        #[cfg(feature = "console")]
        Command::Role(args) => operate(console::role(&args)),
        #[cfg(feature = "console")]
        Command::Refused(args) => operate(console::refused(&args)),
        Command::Completions(args) => ended(args.run(command)),
        Command::Man(args) => ended(args.run(command)),
    }
}

/// A repair is continued by its own command.
async fn repair_of_many(args: &repairs::Args) -> Result<ExitCode, Stopped> {
    match repairs::run(args).await? {
        repairs::Next::Ended(code) => Ok(code),
        repairs::Next::Run(words) => again(parsed(words)?).await,
    }
}

fn parsed(words: Vec<String>) -> Result<Command, Stopped> {
    let by_this_version = |error: clap::Error| {
        Stopped::unusable(
            format!("its command can't be run again by this version: {}", error.kind()),
            "see `outbox audit`, and run it anew",
        )
    };
    Ok(Cli::try_parse_from(words).map_err(by_this_version)?.command)
}

async fn again(command: Command) -> Result<ExitCode, Stopped> {
    match command {
        Command::Dlq(args) => dlq::run(&args).await,
        Command::Replay(args) => replay::run(&args).await,
        _ => Err(Stopped::failed("it was no redrive, drop or replay", "see `outbox audit`")),
    }
}

/// A question of a page is a command, and is parsed as one.
#[cfg(feature = "console")]
async fn for_page(words: Vec<String>, asked: asked::Asked) -> Result<ExitCode, Stopped> {
    let mut command = Cli::try_parse_from(words).map_err(|error| Stopped::entered(&error))?.command;
    command.is_asked_by(asked.clone());
    match command {
        Command::Routes(args) => routes::run(&args),
        Command::Status(args) => status::run(&args).await,
        Command::Why(args) => why::run(&args).await,
        Command::Find(args) => find::run(&args).await,
        Command::Queue(args) => queue::run(&args).await,
        Command::Dlq(args) => dlq::run(&args).await,
        Command::Parked(args) => parked::run(&args).await,
        Command::Pause(args) => pause::run(&args).await,
        Command::Resume(args) => pause::resume(&args).await,
        Command::Limit(args) => limit::run(&args).await,
        Command::Replay(args) => replay::run(&args).await,
        Command::Repair(args) => match repairs::run(&args).await? {
            repairs::Next::Ended(code) => Ok(code),
            repairs::Next::Run(words) => {
                let mut command = parsed(words)?;
                command.is_asked_by(asked);
                again(command).await
            }
        },
        Command::Audit(args) => audit::run(&args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Role(args) => console::role(&args).await,
        Command::Refused(args) => console::refused(&args).await,
        _ => Err(Stopped::unusable("no page has this command", "run it in a terminal")),
    }
}

#[cfg(feature = "console")]
impl Command {
    fn is_asked_by(&mut self, asked: asked::Asked) {
        let options = match self {
            Self::Routes(args) => {
                args.asked = asked;
                return;
            }
            Self::Status(args) => &mut args.options,
            Self::Why(args) => &mut args.options,
            Self::Find(args) => &mut args.options,
            Self::Queue(args) => args.options(),
            Self::Dlq(args) => args.options(),
            Self::Parked(args) => args.options(),
            Self::Pause(args) => &mut args.options,
            Self::Resume(args) => &mut args.options,
            Self::Limit(args) => &mut args.options,
            Self::Replay(args) => &mut args.options,
            Self::Repair(args) => args.options(),
            Self::Audit(args) => &mut args.options,
            Self::Doctor(args) => &mut args.options,
            Self::Role(args) => &mut args.options,
            Self::Refused(args) => &mut args.options,
            _ => return,
        };
        options.asked = asked;
    }
}

/// For commands that ask servers. Commands that only read files need no runtime, and are quicker without.
fn operate(command: impl Future<Output = Result<ExitCode, Stopped>>) -> ExitCode {
    outbox_runtime::block_on(async { ended(command.await) })
}

fn ended(done: Result<ExitCode, Stopped>) -> ExitCode {
    done.unwrap_or_else(|stopped| {
        let error = Colour::paint(Some(Colour::Problem), "error:");
        say(&format!("{error} {}\n  {}", stopped.problem, stopped.remedy));
        ExitCode::from(stopped.code())
    })
}
