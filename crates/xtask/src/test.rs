//! `cargo xtask test`: everything that CI runs, or its quick part.

mod again; // the tests, and those that failed once more
pub(crate) mod quick; // what `--quick` leaves out

use std::process::ExitCode;
use std::time::Instant;

use testkit::tools::{self, ToolError};
use testkit::{emulator, servers};

use crate::programs::cargo;
use crate::torture::{self, Outcome};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Only format, unit tests and quick tests against a throwaway Postgres. They take a few minutes after the build. The
    /// list below shows what is left out; CI runs everything.
    #[arg(long)]
    pub(crate) quick: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let began = Instant::now();
    if let Err(problem) = if options.quick { quick() } else { whole() } {
        eprintln!("\n=== FAILED: {problem}");
        return ExitCode::FAILURE;
    }
    let all = if options.quick { "what is quick" } else { "all of it" };
    println!("\n{all} passed in {:.0} s", began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

const FORMAT: Step = Step { name: "format", args: "fmt --all --check", remedy: "run `cargo fmt --all`" };

/// The default members of the workspace, as a bare `cargo test` builds them.
fn quick() -> Result<(), String> {
    tools::postgres_bin().map_err(|error| error.to_string())?;
    FORMAT.run(&[], &[])?;
    Step { name: "build", args: "test --no-run --quiet", remedy: "see above" }.run(&[], &[])?;
    let mut args = vec!["--"];
    args.extend(quick::skips());
    // The other binaries run even if one fails.
    Step { name: "tests", args: "test --quiet --no-fail-fast", remedy: "see above" }.run(&args, &[])
}

fn whole() -> Result<(), String> {
    install().map_err(|error| error.to_string())?;
    FORMAT.run(&[], &[])?;
    Step { name: "lints", args: "clippy --workspace --all-targets -- -D warnings", remedy: "see above" }
        .run(&[], &[])?;
    Step { name: "docs", args: "doc --workspace --no-deps", remedy: "see above" }
        .run(&[], &[("RUSTDOCFLAGS", "-D warnings")])?;
    again::run()?;
    upgraded()?;
    for transport in ["postgres", "aws"] {
        tortured(transport).map_err(|problem| format!("torture: {problem}"))?;
    }
    Ok(())
}

/// From this source to itself with one migration more, and back.
fn upgraded() -> Result<(), String> {
    println!("\n=== upgrade: cargo xtask upgrade --next");
    let began = Instant::now();
    let options = crate::upgrade::Options { from: None, next: true, to: None };
    if crate::upgrade::run(&options) != ExitCode::SUCCESS {
        return Err("upgrade: see above".to_owned());
    }
    println!("=== upgrade: ok in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Without Terraform or its provider, the transport aws is left out with a report; in CI that is a failure.
fn tortured(transport: &str) -> Result<(), String> {
    let in_ci = std::env::var_os("CI").is_some();
    let seconds = if in_ci { 30 } else { 150 };
    // CI uses the same seed each time. Other runs differ, and the report of a failed run has the command to repeat it.
    let seed = in_ci.then_some(7);
    println!("\n=== torture: {transport}, {seconds} s");
    let began = Instant::now();
    match torture::torture(transport, seconds, seed)? {
        Outcome::Kept => println!("=== torture: ok in {:.0} s", began.elapsed().as_secs_f64()),
        Outcome::NoCloud if in_ci => return Err("AWS could not be tried: see above".to_owned()),
        Outcome::NoCloud => eprintln!("\n!!! NOT TORTURED: the AWS transport: see above\n"),
    }
    Ok(())
}

/// Installs what the tests start, because an installation is not part of a test's time.
fn install() -> Result<(), ToolError> {
    tools::postgres_bin()?;
    tools::debian("pgbouncer", "pgbouncer")?;
    tools::debian_unpacked("prometheus")?;
    tools::python_protobuf()?;
    tools::python_package(emulator::PACKAGE, "ministack")?;
    for version in servers::SUPPORTED.into_iter().chain([servers::TOO_OLD]) {
        if let Err(problem) = servers::unpacked(version) {
            if std::env::var_os("CI").is_some() {
                return Err(problem);
            }
            eprintln!("\n!!! NOT TESTED: PostgreSQL {version}, because {problem}\n");
        }
    }
    // Tests report a missing tool themselves; in CI they fail.
    let company = [tools::node_company(), tools::python_psycopg()];
    for tool in [
        tools::chromium(),
        tools::node_console(),
        tools::node_rpc(),
        tools::python_grpc(),
        tools::nginx(),
        tools::editors(),
        tools::kubernetes(),
    ]
    .into_iter()
    .chain(company)
    {
        if let Err(error) = tool {
            eprintln!("warning: {error}");
        }
    }
    Ok(())
}

/// One call of cargo.
struct Step {
    name: &'static str,
    args: &'static str,
    remedy: &'static str,
}

impl Step {
    fn run(&self, more: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
        let Self { name, args, remedy } = self;
        println!("\n=== {name}: cargo {args}");
        let began = Instant::now();
        let status = cargo().args(args.split(' ')).args(more).envs(env.iter().copied()).status();
        if !status.map_err(|error| format!("{name}: {error}"))?.success() {
            return Err(format!("{name}: {remedy}"));
        }
        println!("=== {name}: ok in {:.0} s", began.elapsed().as_secs_f64());
        Ok(())
    }
}
