//! Which installation a command is about: the arguments that relay and worker have, too.

use std::path::Path;

use outbox_event_router::{ReadError, Router};
use outbox_postgres::operate::Database;
use outbox_postgres::{Source, databases};
use outbox_transport::args::{BusArgs, QueueArgs, Transport, TransportArgs};
use serde::Serialize;

use crate::asked::Asked;
use crate::safe::word;
use crate::stopped::Stopped;
use crate::{dev_file, show, terminal};

pub(crate) const INSTALLATION: &str = "Which installation (as for relay and worker)";

/// How to print, and the same arguments as those of relay and worker, with the same environment variables.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = INSTALLATION)]
pub(crate) struct Options {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table, help_heading = None::<&'static str>)]
    pub(crate) format: Format,

    #[command(flatten)]
    on: TransportArgs,

    #[command(flatten)]
    pub(crate) queues: QueueArgs,

    #[command(flatten)]
    pub(crate) bus: BusArgs,

    /// Who asks.
    #[arg(skip)]
    pub(crate) asked: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For scripts: one JSON value, whose names are stable.
    Json,
}

impl Options {
    /// The one place where a command stops asking and begins to tell: a page of the console gets the result, and a terminal
    /// prints it. `text` makes the text for people.
    pub(crate) fn answer(
        &self,
        result: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Stopped> {
        if self.asked.keeps(result) {
            return Ok(());
        }
        match self.format {
            Format::Table => terminal::print(&text()),
            Format::Json => show::json(result),
        }
    }

    /// Whether [`Options::answer`] prints a text, and no page and no program reads the answer.
    pub(crate) fn prints_text(&self) -> bool {
        self.asked.who().is_none() && matches!(self.format, Format::Table)
    }

    pub(crate) fn transport(&self) -> Transport {
        self.on.transport
    }

    /// Every given database, or that of the `outbox dev` of this folder. On the transport aws there may be none, because many
    /// commands need none.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, Stopped> {
        let given = match self.asked.database() {
            Some(in_use) => vec![in_use.clone()],
            None => self.given()?,
        };
        Ok(match self.asked.connections() {
            Some(budget) => given.into_iter().map(|source| source.within(budget)).collect(),
            None => given,
        })
    }

    fn given(&self) -> Result<Vec<Source>, Stopped> {
        if self.transport() == Transport::Aws && !self.on.databases.is_given() {
            return Ok(Vec::new());
        }
        if !self.on.databases.is_given()
            && let Some(source) = dev_file::database().and_then(|address| address.parse().ok())
        {
            return Ok(vec![source]);
        }
        databases(&self.on.databases).map_err(|(problem, remedy)| Stopped::unusable(problem, remedy))
    }

    pub(crate) async fn databases(&self) -> Result<Vec<Database>, Stopped> {
        let mut databases = Vec::new();
        for source in self.sources()? {
            databases.push(Database::open(&source).await?);
        }
        Ok(databases)
    }

    /// As [`Options::databases`], for what is in the outbox on either transport.
    pub(crate) async fn outboxes(&self) -> Result<Vec<Database>, Stopped> {
        let databases = self.databases().await?;
        if databases.is_empty() {
            return Err(Stopped::unusable(
                "no database given, and the outbox lies in one on every transport",
                "set DATABASE_URL, or pass --database-url postgres://…",
            ));
        }
        Ok(databases)
    }

    /// The routes, if there are any: without --router, the file may be missing.
    pub(crate) fn router(&self) -> Result<Option<Router>, Stopped> {
        if let Some(in_use) = self.asked.routes() {
            return Ok(Some(in_use.clone()));
        }
        let file = self.router_file();
        match Router::read(file) {
            Ok(router) => Ok(Some(router)),
            Err(ReadError::Io { source, .. })
                if !self.on.names_router() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(ReadError::Io { file, source }) => Err(Stopped::unusable(
                format!("failed to read {file}: {source}"),
                "pass --router FILE: the event_router.yaml that relay and worker have",
            )),
            Err(ReadError::Findings(report)) => {
                let file = file.display();
                terminal::say(&format!("{report}\n"));
                Err(Stopped::unusable(
                    format!("{file} has mistakes"),
                    format!("correct them; `outbox check --router {file}` shows more"),
                ))
            }
        }
    }

    /// As [`Options::router`], but the file must exist.
    pub(crate) fn router_needed(&self, what_for: &str) -> Result<Router, Stopped> {
        self.router()?.ok_or_else(|| {
            Stopped::unusable(
                format!("there is no {} here, and {what_for}", self.router_file().display()),
                "pass --router FILE: the event_router.yaml that relay and worker have",
            )
        })
    }

    pub(crate) fn router_file(&self) -> &Path {
        self.on.router()
    }

    /// A command for the same installation, ready to be pasted: each word is quoted as one word. Options from the environment
    /// are left out. So are addresses, which may hold a password.
    pub(crate) fn command<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> String {
        let mut text = String::from("outbox");
        for one in words {
            text.push(' ');
            text.push_str(&word(one.as_ref()));
        }
        for (flag, value) in self.on.flags().into_iter().chain(self.queues.flags()).chain(self.bus.flags()) {
            text.push_str(&format!(" {flag} {}", as_word(&value)));
        }
        text
    }
}

/// A variable of the shell is still expanded.
fn as_word(value: &str) -> String {
    if value == "$DATABASE_URL" { format!("\"{value}\"") } else { word(value) }
}
