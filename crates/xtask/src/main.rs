//! The project's own tasks: `cargo xtask` lists them.

mod bench; // runs the crate `bench`
mod demo; // the whole line at work, told as a story
mod programs; // tasks that are programs of their own
mod test; // what CI runs, and the part of it for the desk
mod torture; // runs the crate `torture`

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Demo(demo::Options),
    /// Everything CI runs: format, lints, docs, all tests against a throwaway Postgres, and five minutes of torture. With
    /// `--quick`, what is quick of it, for the desk.
    #[command(after_help = test::quick::help())]
    Test(test::Options),
    /// Break everything for some minutes while services publish, and hold what arrived against what was committed: real
    /// processes are killed, stopped and cut off, the database crashes and is full of other people, queues repeat themselves,
    /// AWS has its bad days. `torture --help` lists the options.
    #[command(disable_help_flag = true)]
    Torture {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        args: Vec<OsString>,
    },
    /// How fast, beside what: builds for release and measures, on loopback, one thing beside another. `bench --help` lists
    /// them.
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "NAME or OPTION")]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Torture { args } => programs::or_failure(torture::run(&args)),
        Task::Bench { args } => programs::or_failure(bench::run(&args)),
    }
}
