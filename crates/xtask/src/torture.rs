//! `cargo xtask torture`: a program of its own, because nothing else needs to compile it.

use std::ffi::OsString;
use std::process::{Command, ExitCode, ExitStatus};

use testkit::process::target;

use crate::programs::{build, run as run_program};

/// The whole workspace, so that its dependencies have the same features as in the tests' build.
const BUILD: [&str; 3] = ["--workspace", "--bin", "torture"];
/// The exit code without an emulator of AWS or Terraform.
const NO_CLOUD: i32 = 3;

pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    build(&BUILD)?;
    run_program(&target().join("debug").join("torture"), args)
}

/// Whether every promise was kept.
pub(crate) enum Outcome {
    Kept,
    /// The emulator of AWS or Terraform is missing.
    NoCloud,
}

/// Runs torture for so many seconds. An error is a broken promise, or the reason why the run was not possible.
pub(crate) fn torture(transport: &str, seconds: u64, seed: Option<u64>) -> Result<Outcome, String> {
    build(&BUILD)?;
    let mut torture = Command::new(target().join("debug").join("torture"));
    torture.args(["--transport", transport, "--seconds", &seconds.to_string()]);
    if let Some(seed) = seed {
        torture.args(["--seed", &seed.to_string()]);
    }
    let ended = torture.status().map_err(|error| format!("{:?}: {error}", torture.get_program()))?;
    outcome(ended)
}

fn outcome(ended: ExitStatus) -> Result<Outcome, String> {
    match ended.code() {
        Some(0) => Ok(Outcome::Kept),
        Some(NO_CLOUD) => Ok(Outcome::NoCloud),
        _ => Err("a promise was broken, or the run could not be made: see above".to_owned()),
    }
}
