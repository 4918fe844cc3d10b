//! The demo's output.

use std::io::IsTerminal;

use chrono::{DateTime, Local, Utc};

pub(crate) struct Show {
    color: bool,
}

impl Show {
    pub(crate) fn new() -> Self {
        Self { color: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(crate) fn step(&self, text: &str) {
        println!("{} {text}", self.paint("2", "·"));
    }

    pub(crate) fn scene(&self, title: &str) {
        println!("\n{}", self.paint("1", title));
    }

    pub(crate) fn note(&self, text: &str) {
        println!("  {text}");
    }

    pub(crate) fn good(&self, text: &str) {
        println!("  {} {text}", self.paint("32", "✓"));
    }

    pub(crate) fn bad(&self, text: &str) {
        println!("  {} {text}", self.paint("31", "✗"));
    }

    /// One event's way, in milliseconds after its commit.
    pub(crate) fn way(
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

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

pub(crate) fn ms_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_microseconds().unwrap_or(0) as f64 / 1000.0
}
