//! `cargo xtask bench`: a program of its own, because what is measured is built for release and the tasks are not.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::process::root;

pub fn run(args: &[OsString]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The programs that it starts, and itself.
    let built = Command::new(&cargo)
        .args([
            "build",
            "--release",
            "--quiet",
            "--bins",
            "--package",
            "relay",
            "--package",
            "worker",
            "--package",
            "bench",
        ])
        .current_dir(root())
        .status();
    if !built.as_ref().is_ok_and(std::process::ExitStatus::success) {
        eprintln!("error: failed to build for release: {built:?}");
        return ExitCode::FAILURE;
    }
    let program = crate::process::target().join("release").join("bench");
    match Command::new(&program).args(args).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}
