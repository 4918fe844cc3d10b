//! The project's own tasks: `cargo xtask` lists them.

mod bench; // runs the crate `bench`
mod demo; // all parts at work, step by step
mod dist; // the files of a release
mod programs; // tasks that are programs of their own
mod test; // what CI runs, and the quick part of it
mod torture; // runs the crate `torture`
mod upgrade; // from another commit's build to this one, and back

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
    /// Show all parts at work: a throwaway Postgres, relay, worker and sample services as real processes, with many kinds of
    /// failing events. DATABASE_URL, if set, names a server to use instead.
    Demo(demo::Options),
    /// Everything CI runs: format, lints, docs, all tests against a throwaway Postgres, and five minutes of torture.
    /// `--quick` runs the quick part.
    #[command(after_help = test::quick::help())]
    Test(test::Options),
    /// Make the files of a release for this machine's platform: archive, Debian package, container, components, packages for
    /// crates.io, and their checksums.
    #[command(after_help = dist::HELP)]
    Dist(dist::Options),
    /// Break everything for some minutes while services publish, and compare what arrived with what was committed. Real
    /// processes are killed, stopped and cut off, the database crashes and is used by others, queues deliver twice, and AWS
    /// fails. `torture --help` lists the options.
    #[command(disable_help_flag = true)]
    Torture {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        args: Vec<OsString>,
    },
    /// Upgrade from the build of another commit to this one and back, while events flow: schema, relay, worker, publishers. Exit
    /// 0 only if nothing is lost and nothing was called twice. `--from` takes some minutes. CI runs `--next`.
    Upgrade(upgrade::Options),
    /// Measure speed as ratios: builds for release, and measures one thing beside another on loopback. `bench --help` lists
    /// the benchmarks.
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
        Task::Dist(options) => programs::or_failure(dist::run(&options)),
        Task::Torture { args } => programs::or_failure(torture::run(&args)),
        Task::Upgrade(options) => upgrade::run(&options),
        Task::Bench { args } => programs::or_failure(bench::run(&args)),
    }
}
