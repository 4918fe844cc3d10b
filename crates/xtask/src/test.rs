//! `cargo xtask test`: everything that CI runs.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::process::root;
use crate::tools::{self, ToolError};

pub fn run() -> ExitCode {
    if let Err(error) = install() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let deny = [("RUSTDOCFLAGS", "-D warnings")];
    let steps: [(&str, &[&str], &[(&str, &str)]); 4] = [
        ("format", &["fmt", "--all", "--check"], &[]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
        ("docs", &["doc", "--workspace", "--no-deps"], &deny),
        ("tests", &["test", "--workspace"], &[]),
    ];
    let began = Instant::now();
    for (name, args, env) in steps {
        println!("\n=== {name}: cargo {}", args.join(" "));
        let step = Instant::now();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo).args(args).envs(env.iter().copied()).current_dir(root()).status();
        match status {
            Ok(status) if status.success() => println!("=== {name}: ok in {:.0} s", step.elapsed().as_secs_f64()),
            Ok(_) if name == "format" => return failed(name, "run `cargo fmt --all`"),
            Ok(_) => return failed(name, "see above"),
            Err(error) => return failed(name, &error.to_string()),
        }
    }
    println!("\nall of it passed in {:.0} s", began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// What the tests start, before they start it: an installation is not part of a test's time.
fn install() -> Result<(), ToolError> {
    tools::postgres_bin()?;
    tools::debian("pgbouncer", "pgbouncer")?;
    Ok(())
}

fn failed(step: &str, remedy: &str) -> ExitCode {
    eprintln!("\n=== {step}: FAILED: {remedy}");
    ExitCode::FAILURE
}
