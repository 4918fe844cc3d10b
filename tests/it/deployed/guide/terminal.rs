//! A command that goes on in a terminal of its own, and what has appeared there.

use std::path::PathBuf;

use testkit::process::Process;
use tokio::sync::mpsc::UnboundedReceiver;

use super::expected::Names;
use super::folder::Folder;
use crate::world::PATIENCE;

pub(super) struct Terminal {
    process: Process,
    lines: UnboundedReceiver<String>,
    appeared: Vec<String>,
    /// So many lines are above what the page has shown last.
    read: usize,
}

impl Terminal {
    pub(super) fn start(folder: &Folder, line: &str) -> Self {
        let script = folder.becoming(line);
        let mut process = Process::start(&PathBuf::from("sh"), ["-c", &script], &folder.env())
            .unwrap_or_else(|error| panic!("`{line}` does not start: {error}"));
        let lines = process.take_lines();
        Self { process, lines, appeared: Vec::new(), read: 0 }
    }

    /// Waits until the lines have appeared, in their order. There may be others between them.
    pub(super) async fn shows(&mut self, names: &mut Names, shown: &[String]) -> Result<(), String> {
        for line in shown.iter().filter(|line| !matches!(line.trim(), "" | "…")) {
            let found = tokio::time::timeout(PATIENCE, self.find(names, line)).await;
            if !matches!(found, Ok(true)) {
                return Err(format!("this has not appeared:\n{line}\n\nbut:\n{}", self.appeared.join("\n")));
            }
        }
        Ok(())
    }

    async fn find(&mut self, names: &mut Names, line: &str) -> bool {
        loop {
            while self.read < self.appeared.len() {
                self.read += 1;
                if names.learn_line(line, &self.appeared[self.read - 1]) {
                    return true;
                }
            }
            let Some(next) = self.lines.recv().await else { return false };
            self.appeared.push(next);
        }
    }

    /// As Ctrl-C does.
    pub(super) async fn interrupt(&mut self) -> Result<(), String> {
        self.process.signal("INT").map_err(|error| error.to_string())?;
        self.process.ended().await.map(|_| ()).map_err(|error| error.to_string())
    }
}
