//! `cargo xtask bench`: a program of its own, because benchmarks are built for release and the tasks are not.

use std::ffi::OsString;
use std::process::ExitCode;

use testkit::process::target;

use crate::programs::{build, run as run_program};

/// The programs that the benchmarks start, and the benchmarks.
const BUILD: [&str; 8] = [
    "--release",
    "--bins",
    "--package",
    "outbox-bus-relay",
    "--package",
    "outbox-worker",
    "--package",
    "bench",
];

pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    build(&BUILD)?;
    run_program(&target().join("release").join("bench"), args)
}
