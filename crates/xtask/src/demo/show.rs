//! What the demo looks like.

use std::io::IsTerminal;

use chrono::{DateTime, Local, Utc};

use super::summary::Summary;

pub(super) struct Show {
    color: bool,
}

impl Show {
    pub(super) fn new() -> Self {
        Self { color: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(super) fn step(&self, text: &str) {
        println!("{} {text}", self.paint("2", "·"));
    }

    pub(super) fn scene(&self, title: &str) {
        println!("\n{}", self.paint("1", title));
    }

    pub(super) fn note(&self, text: &str) {
        println!("  {text}");
    }

    pub(super) fn good(&self, text: &str) {
        println!("  {} {text}", self.paint("32", "✓"));
    }

    pub(super) fn bad(&self, text: &str) {
        println!("  {} {text}", self.paint("31", "✗"));
    }

    /// One event's way, in milliseconds after its commit.
    pub(super) fn way(
        &self,
        what: &str,
        committed: DateTime<Utc>,
        relayed: Option<DateTime<Utc>>,
        delivered: &[(String, DateTime<Utc>)],
    ) {
        let after = |at: DateTime<Utc>| format!("+{:.1} ms", ms_between(committed, at).max(0.0));
        let mut line = format!(
            "  {what:<24} committed {} → relayed {:<8}",
            committed.with_timezone(&Local).format("%H:%M:%S%.3f"),
            relayed.map_or_else(|| "?".to_owned(), after),
        );
        for (rpc, at) in delivered {
            let method = rpc.rsplit('/').next().unwrap_or(rpc);
            line.push_str(&format!(" → {} {:<9}", self.paint("36", method), after(*at)));
        }
        println!("{}", line.trim_end());
    }

    pub(super) fn summary(&self, summary: &Summary) {
        self.scene("Summary");
        let rows = [
            ("events committed", summary.events.to_string()),
            ("events rolled back, seen by nobody", summary.rolled_back.to_string()),
            ("deliveries due", summary.deliveries.to_string()),
            ("  delivered, each exactly once", summary.delivered.to_string()),
            ("  dead-lettered", summary.dead_lettered.to_string()),
            ("  lost", summary.lost.to_string()),
            ("calls repeated after success", summary.called_twice.to_string()),
            ("duplicates suppressed", summary.duplicates_suppressed.to_string()),
            ("failed attempts, retried", summary.retries.to_string()),
            (
                "commit → RPC, p50 / p99",
                format!("{:.1} / {:.1} ms", summary.latency_ms.p50, summary.latency_ms.p99),
            ),
        ];
        for (name, value) in rows {
            println!("  {name:<36} {value:>14}");
        }
        if summary.ok {
            self.good("every count is what it must be");
        }
        for problem in &summary.problems {
            self.bad(problem);
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

pub(super) fn ms_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_microseconds().unwrap_or(0) as f64 / 1000.0
}
