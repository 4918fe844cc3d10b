use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, Row};
use tokio::sync::OwnedSemaphorePermit;

use crate::Budget;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No statement of ours takes nearly this long. A half-open connection would never answer.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Our sessions must not depend on the settings of a role or database.
const EVERY_SESSION: [(&str, &str); 17] = [
    // Not a setting of Postgres. If it arrives, no pooler has dropped the others.
    ("outbox.session", "direct"),
    // A function or operator of another schema might match better than the intended one, and would run as our role.
    ("search_path", "pg_catalog"),
    // A statement that waited for a lock must see what others committed meanwhile.
    ("default_transaction_isolation", "read committed"),
    // Our own limits end slow statements, and then ask for less. After another limit, the same statement would be repeated.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // Sequential scans are forbidden by a prohibitive cost. Where one is unavoidable, that cost would make Postgres compile a
    // statement of microseconds for a second.
    ("jit", "off"),
    // The plans that our statements are written for.
    ("enable_indexscan", "on"),
    ("enable_nestloop", "on"),
    ("enable_partition_pruning", "on"),
    ("max_parallel_workers_per_gather", "0"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("default_table_access_method", "heap"),
    // A session that is cut off or frozen must not hold its locks until TCP gives up.
    ("tcp_user_timeout", "10000"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
];

/// As [`EVERY_SESSION`], for settings that some servers don't have: an unknown one in a connection's options is an error.
/// `client_connection_check_interval` ends a long statement on the server after we gave it up.
const WHERE_KNOWN: &str = "select pg_catalog.set_config(s.name, w.value, false)
     from pg_catalog.pg_settings as s
     join (values ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('client_connection_check_interval', '5s'))
         as w (name, value) on s.name operator(pg_catalog.=) w.name
     where s.name operator(pg_catalog.<>) 'client_connection_check_interval'
        or pg_catalog.version() operator(pg_catalog.~) 'linux'";

pub fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// Gives up a statement without an answer. Its connection must not be used again.
pub async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    within_time(STATEMENT_TIMEOUT, statement).await
}

/// As [`within`], with another limit.
pub async fn within_time<T>(
    patience: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, statement)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Whether a statement was given up for its time.
pub fn timed_out(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

/// A pooler may send each message to another server. A simple query is one message; a prepared statement is several, and
/// another server does not have it, or has another one of that name.
async fn settle(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let direct = "select coalesce(pg_catalog.current_setting('outbox.session', true), '')";
    let direct: String = sqlx::raw_sql(direct).fetch_one(&mut *conn).await?.try_get(0)?;
    if direct != "direct" {
        return Err(sqlx::Error::Configuration(outbox_schema::SchemaError::Pooler.into()));
    }
    sqlx::query(WHERE_KNOWN).execute(conn).await?;
    Ok(())
}

/// A database with an outbox. Its name appears in events, metrics and logs. Its address may hold a password and appears
/// nowhere.
#[derive(Clone)]
pub struct Source {
    name: String,
    options: PgConnectOptions,
    budget: Budget,
}

impl Source {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection that shows up in `pg_stat_activity` as `application`, with session settings of its own.
    pub async fn connect(
        &self,
        application: &str,
        settings: &[(&str, &str)],
    ) -> Result<PgConnection, sqlx::Error> {
        let (options, place) = (self.options(application, settings), self.limited());
        self.budget.admits(&place)?;
        let connecting = async {
            let mut conn = options.connect().await?;
            settle(&mut conn).await?;
            Ok(conn)
        };
        match within_time(CONNECT_TIMEOUT, connecting).await {
            Err(sqlx::Error::Database(error))
                if ["unsupported startup parameter", "support command-line options"]
                    .iter()
                    .any(|refusal| error.message().contains(refusal)) =>
            {
                Err(sqlx::Error::Configuration(
                    "a pooler answered, and locks and notifications belong to sessions: connect to Postgres directly".into(),
                ))
            }
            connected => {
                self.budget.heard(&place, &self.name, connected.as_ref().err());
                connected
            }
        }
    }

    /// The same database, whose connections count in this budget.
    #[must_use]
    pub fn within(self, budget: &Budget) -> Self {
        Self { budget: budget.clone(), ..self }
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A place in the budget, for a connection of [`Source::connect`] that lasts for a few statements.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        self.budget.place().await
    }

    /// What a limit of connections may be for: a server, a database of it, or a role. It holds no password.
    pub(crate) fn limited(&self) -> String {
        let (host, port, role) =
            (self.options.get_host(), self.options.get_port(), self.options.get_username());
        format!("{host}:{port}/{} as {role}", self.options.get_database().unwrap_or(role))
    }

    /// A pool of one such connection, as sqlx's listener requires.
    pub(crate) fn pool_of_one(&self, application: &str, settings: &[(&str, &str)]) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(|conn, _| Box::pin(settle(conn)))
            .connect_lazy_with(self.options(application, settings))
    }

    fn options(&self, application: &str, settings: &[(&str, &str)]) -> PgConnectOptions {
        self.options
            .clone()
            .application_name(application)
            .options(EVERY_SESSION)
            .options(settings.iter().copied())
    }
}

impl FromStr for Source {
    type Err = SourceError;

    /// Reads `postgres://…` or `name=postgres://…`. Without a name it is the database's.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if !name.contains([':', '/', '?']) => (Some(name), url),
            _ => (None, text),
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(SourceError::NotPostgres);
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| SourceError::Malformed)?;
        let name = name.or(options.get_database()).unwrap_or("postgres").to_owned();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(SourceError::Name { name });
        }
        // sqlx logs every statement at debug level. Ours hold no payload, but they are many.
        Ok(Self { name, options: options.disable_statement_logging(), budget: Budget::unlimited() })
    }
}

/// The name only: the rest may hold a password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// Why a text is not the address of a database. No message repeats the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("it does not begin with postgres:// (or NAME=postgres://)")]
    NotPostgres,
    #[error(
        "it is not a valid postgres:// address; a password with special characters must be percent-encoded"
    )]
    Malformed,
    #[error(
        "`{name}` can't name a source: letters, digits, dash, underscore and dot can; write NAME=postgres://…"
    )]
    Name { name: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an address is parsed with and without a name, and its password never comes out again.
    #[test]
    fn sources_parse_and_keep_their_secrets() {
        let plain: Source = "postgres://me:hunter2@localhost:5433/cards?sslmode=disable".parse().unwrap();
        assert_eq!(plain.name(), "cards");
        assert!(!format!("{plain:?}").contains("hunter2"));
        let named: Source = "card-service=postgresql://localhost/cards".parse().unwrap();
        assert_eq!(named.name(), "card-service");

        for (text, expected) in [
            ("mysql://me:hunter2@localhost/cards", "does not begin with postgres://"),
            ("postgres://me:hunter2@localhost:port/cards", "not a valid postgres:// address"),
            ("card service=postgres://localhost/cards", "can't name a source"),
        ] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
