//! The `outbox` command as people and CI run it.

mod advice; // what is advised can be done
mod check; // every mistake, with its place and remedy
mod codegen; // events for other languages
mod documents; // snippets that newcomers copy
mod help; // the manual
mod routes; // pictures and tables
mod width; // narrow tables, and colours

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `outbox` in a directory.
fn outbox(dir: &Path, args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outbox"))
        .args(args.split_whitespace())
        .current_dir(dir)
        .env_remove("OUTBOX_ROUTER")
        .env_remove("OUTBOX_PROTO")
        .output()
        .unwrap()
}

/// What it printed, and its exit code.
fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!(
        "{out}{err}exit {}\n",
        output.status.code().map_or("by a signal".to_owned(), |code| code.to_string())
    )
}

/// The project's root: its own event_router.yaml and proto are the sample domain.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
