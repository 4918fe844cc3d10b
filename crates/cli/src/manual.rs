//! The command's help, its completions in a shell, and its manual pages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::options::INSTALLATION;
use crate::stopped::Stopped;
use crate::terminal::{print, write};

/// What `-h` says instead of the flags that every command shares.
const MORE: &str =
    "The flags for databases, transport and routes are those of relay and worker: --help shows them.";

/// Prints the script with which a shell completes commands and flags.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "bash: outbox completions bash > /etc/bash_completion.d/outbox\nzsh: outbox completions zsh > \"${fpath[1]}/_outbox\"\nfish: outbox completions fish > ~/.config/fish/completions/outbox.fish\n\nExit status: 0 printed; 2 unusable arguments."
)]
pub(crate) struct Completions {
    /// The shell that reads the script.
    #[arg(value_enum)]
    shell: Shell,
    /// The program whose commands and flags are completed.
    #[arg(long, value_enum, default_value_t = Program::Outbox)]
    program: Program,
}

/// The programs that are released together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Program {
    Outbox,
    #[cfg(feature = "dev")]
    Relay,
    Worker,
}

/// Writes a manual page for each command into a directory, and those of relay and worker.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For man: outbox man /usr/local/share/man/man1\n\nExit status: 0 written; 2 unusable arguments."
)]
pub(crate) struct Man {
    /// The directory, which must exist.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Completions {
    pub(crate) fn run(&self, command: Command) -> Result<ExitCode, Stopped> {
        let mut command = match self.program {
            Program::Outbox => command,
            #[cfg(feature = "dev")]
            Program::Relay => outbox_relay::config::Cli::command(),
            Program::Worker => outbox_worker::config::Cli::command(),
        };
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        write(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    pub(crate) fn run(&self, command: Command) -> Result<ExitCode, Stopped> {
        let dir = self.dir.display();
        let programs = [
            command,
            #[cfg(feature = "dev")]
            outbox_relay::config::Cli::command(),
            outbox_worker::config::Cli::command(),
        ];
        for program in programs {
            clap_mangen::generate_to(program, &self.dir).map_err(|error| {
                Stopped::unusable(
                    format!("failed to write manual pages to {dir}: {error}"),
                    "pass a directory that exists and may be written to",
                )
            })?;
        }
        print(&format!("manual pages are in {dir}: see `man outbox-status`"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Hides the shared flags in `-h` of each command, which then fits a screen. A flag that hides itself there stays hidden.
pub(crate) fn short(command: Command) -> Command {
    let is_shared = |arg: &clap::Arg| arg.get_help_heading() == Some(INSTALLATION);
    let command = command.mut_subcommands(short).mut_args(|arg| {
        let is_hidden = arg.is_hide_short_help_set() || is_shared(&arg);
        arg.hide_short_help(is_hidden)
    });
    if !command.get_arguments().any(is_shared) {
        return command;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let before = if after.is_empty() { "" } else { "\n\n" };
    command.after_help(format!("{MORE}{before}{after}")).after_long_help(after)
}
