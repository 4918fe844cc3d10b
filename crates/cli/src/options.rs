//! Which installation a command is about: the arguments that relay and worker have, too.

use std::path::{Path, PathBuf};

use event_router::{ReadError, Router};
use outbox_postgres::operate::Database;
use outbox_postgres::{Databases, Source};
use runtime::Transport;

use crate::safe::word;
use crate::stopped::Stopped;

const ROUTER: &str = "event_router.yaml";

/// The same arguments as those of relay and worker, with the same environment variables.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which installation (as for relay and worker)")]
pub(crate) struct Options {
    #[command(flatten)]
    databases: Databases,

    /// What carries the events: the database's own queues, or EventBridge, SQS and DynamoDB.
    #[arg(long, value_enum, default_value_t = Transport::Postgres, env = "OUTBOX_TRANSPORT")]
    pub(crate) transport: Transport,

    /// Which event runs which RPC [default: event_router.yaml, if there is one]
    #[arg(long, env = "OUTBOX_ROUTER", value_name = "FILE")]
    router: Option<PathBuf>,

    /// What the names of queues begin with, on the transport aws.
    #[arg(long, default_value = "outbox-", env = "OUTBOX_QUEUE_PREFIX", value_name = "PREFIX", value_parser = event_router::names::prefix)]
    pub(crate) queue_prefix: String,

    /// The DynamoDB table of the dedup record, on the transport aws.
    #[arg(long, default_value = "outbox-dedup", env = "OUTBOX_DEDUP_TABLE", value_name = "NAME")]
    pub(crate) dedup_table: String,

    /// The EventBridge bus, on the transport aws.
    #[arg(long, default_value = "outbox", env = "OUTBOX_BUS", value_name = "NAME")]
    pub(crate) bus: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For scripts: one JSON value, whose names are stable.
    Json,
}

impl Options {
    /// Every given database. On the transport aws there may be none, because many commands need none.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, Stopped> {
        if self.transport == Transport::Aws && !self.databases.is_given() {
            return Ok(Vec::new());
        }
        self.databases.list().map_err(|(problem, remedy)| Stopped::unusable(problem, remedy))
    }

    /// Every given database, connected.
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
        let file = self.router.as_deref().unwrap_or(Path::new(ROUTER));
        match Router::read(file) {
            Ok(router) => Ok(Some(router)),
            Err(ReadError::Io { source, .. })
                if self.router.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(ReadError::Io { file, source }) => Err(Stopped::unusable(
                format!("failed to read {file}: {source}"),
                "pass --router FILE: the event_router.yaml that relay and worker have",
            )),
            Err(ReadError::Findings(report)) => {
                let file = file.display();
                crate::say(&format!("{report}\n"));
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
                format!("there is no {ROUTER} here, and {what_for}"),
                "pass --router FILE: the event_router.yaml that relay and worker have",
            )
        })
    }

    pub(crate) fn router_file(&self) -> &Path {
        self.router.as_deref().unwrap_or(Path::new(ROUTER))
    }

    /// A command for the same installation, ready to be pasted: each word is quoted as one word. Options from the environment
    /// are left out. So are addresses, which may hold a password.
    pub(crate) fn command<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> String {
        let mut text = String::from("outbox");
        for one in words {
            text.push(' ');
            text.push_str(&word(one.as_ref()));
        }
        let mut add = |flag: &str, variable: &str, value: &str, default: &str| {
            if value != default && std::env::var(variable).as_deref() != Ok(value) {
                text.push_str(&format!(" {flag} {}", as_word(value)));
            }
        };
        if self.databases.is_given()
            && std::env::var_os("DATABASE_URL").is_none()
            && std::env::var_os("OUTBOX_SOURCES").is_none()
        {
            add("--database-url", "", "$DATABASE_URL", "");
        }
        let transport = if self.transport == Transport::Aws { "aws" } else { "postgres" };
        add("--transport", "OUTBOX_TRANSPORT", transport, "postgres");
        add("--router", "OUTBOX_ROUTER", &self.router_file().to_string_lossy(), ROUTER);
        add("--queue-prefix", "OUTBOX_QUEUE_PREFIX", &self.queue_prefix, "outbox-");
        add("--dedup-table", "OUTBOX_DEDUP_TABLE", &self.dedup_table, "outbox-dedup");
        add("--bus", "OUTBOX_BUS", &self.bus, "outbox");
        text
    }
}

/// A variable of the shell is still expanded.
fn as_word(value: &str) -> String {
    if value == "$DATABASE_URL" { format!("\"{value}\"") } else { word(value) }
}
