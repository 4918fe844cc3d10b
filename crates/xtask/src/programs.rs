//! Tasks that are programs of the workspace: they are built, and run with their own arguments.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode};

use testkit::process::root;

pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Builds with these arguments of `cargo build`.
pub(crate) fn build(args: &[&str]) -> Result<(), String> {
    match cargo().args(["build", "--quiet"]).args(args).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("failed to build: cargo build {}: {other:?}", args.join(" "))),
    }
}

/// Runs a program. Returns its exit code.
pub(crate) fn run(program: &Path, args: &[impl AsRef<OsStr>]) -> Result<ExitCode, String> {
    match Command::new(program).args(args).status() {
        Ok(status) if status.success() => Ok(ExitCode::SUCCESS),
        Ok(status) => Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
        Err(error) => Err(format!("{}: {error}", program.display())),
    }
}

/// Prints an error, and returns the exit code of a failure.
pub(crate) fn or_failure(ended: Result<ExitCode, String>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
