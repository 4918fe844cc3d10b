//! `outbox`: what is wrong, and what goes where.

mod check;
mod routes;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks and shows what Outbox does with your events.
#[derive(Debug, Parser)]
#[command(
    name = "outbox",
    version,
    after_help = "Exit status: 0 all is well (there may be warnings); 1 there are errors; 2 unusable arguments."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Routes(routes::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Routes(args) => routes::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(unusable) => {
            eprintln!("error: {}\n  {}", unusable.problem, unusable.remedy);
            ExitCode::from(2)
        }
    }
}

/// Arguments with which nothing can be done, and what to pass instead.
#[derive(Debug)]
struct Unusable {
    problem: String,
    remedy: String,
}

impl Unusable {
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// Prints; `outbox … | head` is no reason to panic.
fn print(text: &str) -> Result<(), Unusable> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Unusable::new(format!("failed to print: {error}"), "see where standard output goes"))
        }
        _ => Ok(()),
    }
}
