//! Goes through a page: writes its files, types its commands, and compares what they say with what the page shows.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use testkit::cluster::Cluster;

use super::expected::Names;
use super::folder::{Folder, Said};
use super::page::{Command, Page, Step, Typed};
use super::terminal::Terminal;
use crate::world::PATIENCE;

/// The port of the reader's own Postgres, on every page.
const POSTGRES: &str = "5432";
/// Other ports that the pages choose. Each stands for a free one.
const PORTS: [&str; 5] = ["8080", "8081", "8082", "9464", "9465"];

pub(super) struct Reader {
    /// Ended before the folder is removed.
    terminals: BTreeMap<String, Terminal>,
    names: Names,
    folder: Folder,
    /// The reader's own. Its roles are of no concern to other tests.
    _postgres: Cluster,
}

impl Reader {
    pub(super) fn new() -> Self {
        let postgres = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
        let ports = PORTS.map(str::to_owned).into_iter().zip(free_ports(PORTS.len()));
        let chosen = ports.chain([(POSTGRES.to_owned(), postgres.port().to_string())]).collect();
        Self {
            terminals: BTreeMap::new(),
            names: Names::new(chosen),
            folder: Folder::new(),
            _postgres: postgres,
        }
    }

    /// As after the first page.
    pub(super) fn install(&mut self) {
        self.folder.install();
    }

    /// Writes the files of a page, and types nothing.
    pub(super) fn take_files_of(&mut self, page: &Page) {
        for step in &page.steps {
            if let Step::File(file) = step {
                self.folder.write(file, &self.names.typed(&file.text));
            }
        }
    }

    pub(super) async fn follow(&mut self, page: &Page) {
        for step in &page.steps {
            match step {
                Step::File(file) => self.folder.write(file, &self.names.typed(&file.text)),
                Step::Command(command) => {
                    let done = self.types(command).await;
                    done.unwrap_or_else(|problem| {
                        panic!("docs/guide/{}:{}: {problem}", page.name, command.line)
                    });
                }
            }
        }
    }

    async fn types(&mut self, command: &Command) -> Result<(), String> {
        match &command.typed {
            Typed::Here { command: line, code } => self.says(line, *code, &command.shown).await,
            Typed::Stays { terminal, command: line } => {
                let started = Terminal::start(&self.folder, &self.names.typed(line));
                if self.terminals.insert(terminal.clone(), started).is_some() {
                    return Err(format!("in the terminal `{terminal}` another command runs"));
                }
                self.shows(terminal, &command.shown).await
            }
            Typed::Appears { terminal } => self.shows(terminal, &command.shown).await,
            Typed::Ends { terminal } => {
                let found = self.terminals.get_mut(terminal);
                found.ok_or_else(|| format!("there is no terminal `{terminal}`"))?.interrupt().await?;
                self.shows(terminal, &command.shown).await?;
                self.terminals.remove(terminal);
                Ok(())
            }
        }
    }

    /// Types a command until it says what is shown, because it may come a little later.
    async fn says(&mut self, line: &str, code: i32, shown: &[String]) -> Result<(), String> {
        let line = self.names.typed(line);
        let began = Instant::now();
        let mut first: Option<String> = None;
        loop {
            let Said { text, code: ended } = self.folder.run(&line).await;
            if ended == code && (shown.is_empty() || self.names.learn_all(shown, &text)) {
                return Ok(());
            }
            let said = format!("exit code {ended}\n{text}");
            let first = first.get_or_insert_with(|| said.clone());
            if began.elapsed() > PATIENCE {
                let at_first = if *first == said { String::new() } else { format!("\n\nat first:\n{first}") };
                let shown = shown.join("\n");
                return Err(format!(
                    "`{line}` says:\n{said}\n\nthe page shows:\nexit code {code}\n{shown}{at_first}"
                ));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn shows(&mut self, terminal: &str, shown: &[String]) -> Result<(), String> {
        let found = self.terminals.get_mut(terminal);
        let found = found.ok_or_else(|| format!("there is no terminal `{terminal}`"))?;
        let done = found.shows(&mut self.names, shown).await;
        done.map_err(|problem| format!("in the terminal `{terminal}` {problem}"))
    }

    /// Ends what still runs. If a page fails before, everything is killed.
    pub(super) async fn end(mut self) {
        for (name, terminal) in &mut self.terminals {
            terminal.interrupt().await.unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
    }
}

/// They are all held before the first is given up, so they differ.
fn free_ports(count: usize) -> Vec<String> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port().to_string()).collect()
}
