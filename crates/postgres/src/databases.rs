use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::{Source, SourceError};

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

impl Databases {
    pub fn is_given(&self) -> bool {
        !self.sources.is_empty() || self.database_url.is_some()
    }

    /// Every database to work on; `--source` wins over `--database-url`. An error has the problem and the remedy, and never the
    /// address itself.
    pub fn list(&self) -> Result<Vec<Source>, (String, &'static str)> {
        let parse = |argument: &str, address: &Address| {
            address.0.parse().map_err(|error: SourceError| {
                (
                    format!("{argument} names no database: {error}"),
                    "write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
                )
            })
        };
        if !self.sources.is_empty() {
            return self.sources.iter().map(|address| parse("--source (OUTBOX_SOURCES)", address)).collect();
        }
        match &self.database_url {
            Some(address) => Ok(vec![parse("--database-url (DATABASE_URL)", address)?]),
            None => Err((
                "no database given".to_owned(),
                "set DATABASE_URL, or pass --database-url postgres://… (or --source, once per database)",
            )),
        }
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
