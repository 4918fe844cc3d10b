use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::demo::{self, Options};

/// The project's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the whole line at work: a throwaway Postgres, relay, worker and sample services as real processes, and
    /// events that go wrong in every way they can. DATABASE_URL, if set, names a server to use instead.
    Demo(Options),
    /// Everything CI runs: format, lints, docs, and all tests against a throwaway Postgres.
    Test,
}

fn main() -> ExitCode {
    match Cli::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test => xtask::test::run(),
    }
}
