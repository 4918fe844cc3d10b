//! What `cargo xtask test --quick` leaves out: tests that are slow, or need more than a throwaway Postgres.

/// By the beginning of the tests' names, with a description.
pub(crate) const LEFT_OUT: [(&str, &str); 27] = [
    ("aws::", "the transport aws, on an emulator"),
    (
        "deployed::",
        "other versions of Postgres, routes in Terraform, the steps for a new event, an outside company, a release",
    ),
    ("models::", "models of the protocols"),
    ("at_least_once::drill", "an outage of a minute"),
    ("at_least_once::faults", "processes that are killed and paused"),
    ("at_least_once::histories", "fifteen seconds of random transactions"),
    ("at_least_once::identity", "databases that are copied and restored"),
    ("at_least_once::sequences", "sequences that are set back"),
    ("at_least_once::stopping", "stops that wait for calls"),
    ("atomic::clients", "publishers with tools from npm and PyPI, and Go"),
    ("atomic::two_phase", "a server with prepared transactions"),
    ("bounded::open_transactions", "transactions that stay open"),
    ("bounded::retention::a_queue", "a queue without a worker"),
    ("calls::answers::real", "RPC servers from npm, PyPI and Debian"),
    ("guarded::names", "functions and operators of other schemas"),
    ("guarded::values", "a server that logs everything"),
    ("no_stall::evidence", "failures in every mixture"),
    ("no_stall::locks", "a hanging leader"),
    ("no_stall::own_trouble", "panics, and databases that can't be used"),
    ("no_stall::quiet", "rates on a quiet machine"),
    ("no_stall::settling", "rows that are refused"),
    ("no_stall::walked", "a million rows that no statement may walk over"),
    ("seen::browser", "the console in a browser"),
    ("seen::metrics", "metrics as documented"),
    ("seen::ops", "Prometheus"),
    ("seen::times", "times beyond the calendar"),
    ("seen::status::a_full_outbox", "an outbox with a million rows"),
];

/// The arguments of the test binaries.
pub(crate) fn skips() -> Vec<&'static str> {
    LEFT_OUT.iter().flat_map(|(tests, _)| ["--skip", tests]).collect()
}

/// For `--help`.
pub(crate) fn help() -> String {
    let tests: String = LEFT_OUT.iter().map(|(tests, what)| format!("  {tests:<28} {what}\n")).collect();
    format!(
        "`--quick` leaves out lints, docs, torture, the crates `bench` and `torture`, and these tests:\n{tests}"
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Guards: the tests that `--quick` leaves out exist. After a renaming they would run, or `--help` would be wrong.
    #[test]
    fn omitted_tests_exist() {
        let it = testkit::process::root().join("tests/it");
        for (tests, _) in LEFT_OUT {
            let mut path: Vec<&str> = tests.split("::").filter(|part| !part.is_empty()).collect();
            let file = |path: &[&str]| it.join(path.iter().collect::<PathBuf>()).with_extension("rs");
            if file(&path).is_file() {
                continue;
            }
            let test = path.pop().unwrap_or_default();
            let text = std::fs::read_to_string(file(&path)).unwrap_or_default();
            assert!(text.contains(&format!("fn {test}")), "{tests}");
        }
    }
}
