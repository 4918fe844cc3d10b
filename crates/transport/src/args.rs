//! The arguments that relay, worker and the command `outbox` share.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const ROUTER: &str = "event_router.yaml";
const QUEUE_PREFIX: &str = "outbox-";
const DEDUP_TABLE: &str = "outbox-dedup";
const BUS: &str = "outbox";

/// The way from the relay to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// The database itself.
    Postgres,
    /// EventBridge, SQS and DynamoDB.
    Aws,
}

/// Which databases, which transport, which routes.
#[derive(Debug, clap::Args)]
pub struct TransportArgs {
    #[command(flatten)]
    pub databases: Databases,

    /// What carries the events: the database's own queues; or EventBridge, SQS and DynamoDB, with region, credentials and
    /// endpoints from AWS's standard environment.
    #[arg(long, value_enum, default_value_t = Transport::Postgres, env = "OUTBOX_TRANSPORT")]
    pub transport: Transport,

    /// Which event runs which RPC, and with what timeout, concurrency and backoff [default: event_router.yaml]
    #[arg(long, env = "OUTBOX_ROUTER", value_name = "FILE")]
    router: Option<PathBuf>,
}

/// For what puts events on AWS, or looks at them there.
#[derive(Debug, clap::Args)]
pub struct BusArgs {
    /// The EventBridge bus, on the transport aws.
    #[arg(long, default_value = BUS, env = "OUTBOX_BUS", value_name = "NAME")]
    pub bus: String,
}

/// For what receives events on AWS, or looks at them there.
#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    /// What the names of queues begin with, on the transport aws.
    #[arg(long, default_value = QUEUE_PREFIX, env = "OUTBOX_QUEUE_PREFIX", value_name = "PREFIX", value_parser = outbox_event_router::names::prefix)]
    pub queue_prefix: String,

    /// The DynamoDB table of the dedup record, on the transport aws.
    #[arg(long, default_value = DEDUP_TABLE, env = "OUTBOX_DEDUP_TABLE", value_name = "NAME")]
    pub dedup_table: String,
}

#[derive(Debug, clap::Args)]
pub struct Databases {
    /// A database with an outbox: postgres://…, or NAME=postgres://… (the name stands in metrics and logs; without
    /// it, the database's). Repeat for several; in the environment, separate them by spaces. Connect directly, not
    /// through a pooler: locks and notifications belong to sessions.
    #[arg(
        long = "source",
        global = true,
        env = "OUTBOX_SOURCES",
        hide_env_values = true,
        value_delimiter = ' ',
        value_name = "[NAME=]URL"
    )]
    sources: Vec<Address>,

    /// The database, if there is only one.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<Address>,
}

impl TransportArgs {
    /// The event_router.yaml that was named, if one was.
    pub fn named_router(&self) -> Option<&Path> {
        self.router.as_deref()
    }

    /// `event_router.yaml`, unless another file is named.
    pub fn router(&self) -> &Path {
        self.router.as_deref().unwrap_or(Path::new(ROUTER))
    }

    /// A file that is named must exist.
    pub fn names_router(&self) -> bool {
        self.router.is_some()
    }

    /// The flags that name the same transport in another command. An address is a variable: it may hold a password.
    pub fn flags(&self) -> Vec<Flag> {
        let in_environment = |variable| std::env::var_os(variable).is_some();
        let addressed =
            self.databases.is_given() && !in_environment("DATABASE_URL") && !in_environment("OUTBOX_SOURCES");
        let address = addressed.then(|| ("--database-url", "$DATABASE_URL".to_owned()));
        let transport = if self.transport == Transport::Aws { "aws" } else { "postgres" };
        let transport = flag("--transport", "OUTBOX_TRANSPORT", transport, "postgres");
        let router = flag("--router", "OUTBOX_ROUTER", &self.router().to_string_lossy(), ROUTER);
        address.into_iter().chain(transport).chain(router).collect()
    }
}

impl BusArgs {
    /// As [`TransportArgs::flags`].
    pub fn flags(&self) -> Option<Flag> {
        flag("--bus", "OUTBOX_BUS", &self.bus, BUS)
    }
}

impl QueueArgs {
    /// As [`TransportArgs::flags`].
    pub fn flags(&self) -> impl Iterator<Item = Flag> {
        let prefix = flag("--queue-prefix", "OUTBOX_QUEUE_PREFIX", &self.queue_prefix, QUEUE_PREFIX);
        let table = flag("--dedup-table", "OUTBOX_DEDUP_TABLE", &self.dedup_table, DEDUP_TABLE);
        prefix.into_iter().chain(table)
    }
}

/// A flag and its value.
pub type Flag = (&'static str, String);

/// `None` if the other command takes the value by default or from the environment.
fn flag(flag: &'static str, variable: &str, value: &str, default: &str) -> Option<Flag> {
    let is_known = value == default || std::env::var(variable).as_deref() == Ok(value);
    (!is_known).then(|| (flag, value.to_owned()))
}

impl Databases {
    pub fn is_given(&self) -> bool {
        !self.sources.is_empty() || self.database_url.is_some()
    }

    /// The addresses, and the argument that has them: `--source` wins over `--database-url`.
    pub fn given(&self) -> (&'static str, Vec<&str>) {
        if self.sources.is_empty() {
            let address = self.database_url.iter().map(|address| address.0.as_str());
            return ("--database-url (DATABASE_URL)", address.collect());
        }
        ("--source (OUTBOX_SOURCES)", self.sources.iter().map(|address| address.0.as_str()).collect())
    }
}

/// An address as it was given. It is parsed later, because clap repeats an invalid value, and this may hold a password.
#[derive(Clone)]
struct Address(String);

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}
