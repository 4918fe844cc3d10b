//! Runs the tests, and those that failed once more, alone.
//!
//! A test may fail because the machine was too busy beside others. One that passes alone does not fail the run, but it is
//! reported: it has a fault, and should be mended. One that fails twice fails the run.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Instant;

use crate::programs::cargo;

/// More failures than this have a cause that is not the machine.
const AGAIN_MAX: usize = 3;

pub(super) fn run() -> Result<(), String> {
    println!("\n=== tests: cargo test --workspace");
    let began = Instant::now();
    // Most tests wait for most of their time, so one more than the cores can work on.
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1).to_string();
    let first = tests(&["--test-threads", &threads])?;
    if !first.passed {
        let failed: Vec<&str> = first.failed.iter().map(String::as_str).collect();
        if failed.is_empty() || failed.len() > AGAIN_MAX {
            return Err("tests: see above".to_owned());
        }
        println!("\n=== tests: once more, alone: {}", failed.join(", "));
        let mut args = vec!["--test-threads", "1", "--exact"];
        args.extend(&failed);
        let second = tests(&args)?;
        if !second.passed || second.ok < failed.len() {
            return Err(format!("tests: failed twice: {}: see above", failed.join(", ")));
        }
        println!("\n!!! FLAKY: failed beside other tests, and passed alone: {}", failed.join(", "));
    }
    println!("=== tests: ok in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

struct Ran {
    passed: bool,
    ok: usize,
    failed: Vec<String>,
}

/// Prints what the tests print.
fn tests(args: &[&str]) -> Result<Ran, String> {
    let mut child = cargo()
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("tests: {error}"))?;
    let mut ran = Ran { passed: false, ok: 0, failed: Vec::new() };
    let mut out = std::io::stdout();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n') {
        let line = line.map_err(|error| format!("tests: {error}"))?;
        let line = String::from_utf8_lossy(&line);
        let _ = writeln!(out, "{line}");
        match outcome(&line) {
            Some((_, true)) => ran.ok += 1,
            Some((name, false)) => ran.failed.push(name.to_owned()),
            None => {}
        }
    }
    ran.passed = child.wait().map_err(|error| format!("tests: {error}"))?.success();
    Ok(ran)
}

/// The name of a test and whether it passed, from a line of the test runner.
fn outcome(line: &str) -> Option<(&str, bool)> {
    let line = line.strip_prefix("test ")?;
    let ends = |end: &str| line.strip_suffix(end).map(|name| name.trim_end_matches(" - should panic"));
    ends(" ... ok").map(|name| (name, true)).or_else(|| ends(" ... FAILED").map(|name| (name, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a failed test is found by its name, and no other line is taken for a test.
    #[test]
    fn lines_of_the_runner_are_read() {
        assert_eq!(outcome("test seen::why ... ok"), Some(("seen::why", true)));
        assert_eq!(outcome("test a::b - should panic ... FAILED"), Some(("a::b", false)));
        assert_eq!(
            outcome("test crates/outbox/src/lib.rs - (line 9) ... FAILED"),
            Some(("crates/outbox/src/lib.rs - (line 9)", false))
        );
        for other in
            ["test result: FAILED. 1 passed", "test a has been running for over 60 seconds", "x ... ok"]
        {
            assert_eq!(outcome(other), None, "{other}");
        }
    }
}
