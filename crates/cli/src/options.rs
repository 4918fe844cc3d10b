//! Which line a command is about: the arguments that relay and worker have, too.

use std::path::Path;

use outbox_event_router::{ReadError, Router};
use outbox_postgres::operate::Database;
use outbox_postgres::{Source, databases};
use outbox_transport::args::{BusArgs, QueueArgs, Transport, TransportArgs};

use crate::safe::word;
use crate::stopped::Stopped;

/// As relay and worker have them; what they have in the environment serves here, too.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which line (as relay and worker are told)")]
pub(crate) struct Options {
    #[command(flatten)]
    on: TransportArgs,

    #[command(flatten)]
    pub(crate) queues: QueueArgs,

    #[command(flatten)]
    pub(crate) bus: BusArgs,
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For scripts: one value, whose names stay.
    Json,
}

impl Options {
    pub(crate) fn transport(&self) -> Transport {
        self.on.transport
    }

    /// Every database named; none is no mistake on the transport aws, where much needs none.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, Stopped> {
        if self.transport() == Transport::Aws && !self.on.databases.is_given() {
            return Ok(Vec::new());
        }
        databases(&self.on.databases).map_err(|(problem, remedy)| Stopped::unusable(problem, remedy))
    }

    /// Every database named, reached.
    pub(crate) async fn databases(&self) -> Result<Vec<Database>, Stopped> {
        let mut databases = Vec::new();
        for source in self.sources()? {
            databases.push(Database::open(&source).await?);
        }
        Ok(databases)
    }

    /// As [`Options::databases`], for what lies in the outbox on either transport.
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

    /// The routes, if there are any: who does not name the file need not have it.
    pub(crate) fn router(&self) -> Result<Option<Router>, Stopped> {
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
                crate::terminal::say(&format!("{report}\n"));
                Err(Stopped::unusable(
                    format!("{file} has mistakes"),
                    format!("mend them; `outbox check --router {file}` knows more"),
                ))
            }
        }
    }

    /// As [`Options::router`], where it must be there.
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

    /// A command of ours with the same line, as somebody can paste it: each word is one word, whatever is in it. What the
    /// environment says needs no saying; an address is not repeated, it may hold a password.
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

/// A variable of the shell's stays one.
fn as_word(value: &str) -> String {
    if value == "$DATABASE_URL" { format!("\"{value}\"") } else { word(value) }
}
