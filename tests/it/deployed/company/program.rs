//! A running relay or worker. What it logged is shown if the test fails.

use testkit::process::Process;
use testkit::scrape;
use tokio::sync::mpsc::UnboundedReceiver;

use super::folder::Company;

const SHOWN_MAX: usize = 60;

pub(super) struct Program {
    process: Process,
    /// Where it serves its metrics.
    pub(super) metrics: String,
    log: Log,
}

struct Log {
    name: &'static str,
    lines: UnboundedReceiver<String>,
}

impl Program {
    /// Starts it, and waits until it serves its metrics.
    pub(super) async fn start(company: &Company, name: &'static str, line: &str) -> Self {
        let mut process = company.start(&[], line);
        let metrics = scrape::addr(&mut process).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let log = Log { name, lines: process.take_lines() };
        Self { process, metrics, log }
    }

    /// SIGTERM ends it well.
    pub(super) async fn stop(self) {
        let Self { process, mut log, .. } = self;
        let ended = process.stop().await.unwrap_or_else(|error| panic!("{}: {error}", log.name));
        assert!(ended.success(), "{} ended with {ended}", log.name);
        while let Ok(line) = log.lines.try_recv() {
            assert!(!line.contains("panicked"), "{}: {line}", log.name);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut lines = Vec::new();
        while let Ok(line) = self.lines.try_recv() {
            lines.push(line);
        }
        let last = lines.len().saturating_sub(SHOWN_MAX);
        eprintln!("the last lines of {}:\n{}", self.name, lines[last..].join("\n"));
    }
}
