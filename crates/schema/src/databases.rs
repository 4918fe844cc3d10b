use crate::Source;

/// Which databases.
#[derive(Debug, clap::Args)]
pub struct Databases {
    /// A database with an outbox: postgres://…, or NAME=postgres://… (the name stands in metrics and logs; without
    /// it, the database's). Repeat for several; in the environment, separate them by spaces. Connect directly, not
    /// through a pooler: locks and notifications belong to sessions.
    #[arg(long = "source", global = true, env = "OUTBOX_SOURCES", hide_env_values = true, value_delimiter = ' ', value_name = "[NAME=]URL")]
    pub sources: Vec<Source>,

    /// The database, if there is only one.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Source>,
}

impl Databases {
    /// Every database to work on; `--source` wins over `--database-url`.
    pub fn list(&self) -> Vec<Source> {
        if self.sources.is_empty() { self.database_url.clone().into_iter().collect() } else { self.sources.clone() }
    }
}
