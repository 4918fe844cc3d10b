//! One database: its connections, and the time limits of its statements.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_runtime::Chain;
use outbox_schema::SchemaError;
use outbox_transport::operate::OperateError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{FromRow, Postgres, query_as};

use crate::from_row::from_row;
use crate::{Connections, Source, within};

/// As for the other readers: the big tables are never analyzed, and the planner would guess. Each statement gets a new plan,
/// because most filters are usually absent. A lost commit is an action that was not done, and is repeated.
const SESSION: [(&str, &str); 7] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("plan_cache_mode", "force_custom_plan"),
    ("synchronous_commit", "off"),
    ("statement_timeout", "9500"),
    ("lock_timeout", "2000"),
];
const CONNECTIONS_MAX: u32 = 8;
/// For a statement that may scan a whole table.
const SCAN_WITHIN: Duration = Duration::from_secs(120);

/// What a role may do here.
#[derive(Debug, Clone)]
pub struct Role {
    pub name: String,
    pub repairs: bool,
    pub sees_payloads: bool,
}

from_row!(Role { name, repairs, sees_payloads });

#[derive(Debug, Clone)]
pub struct Database {
    name: String,
    connections: Connections,
}

impl Database {
    pub async fn open(source: &Source) -> Result<Self, OperateError> {
        let name = source.name().to_owned();
        let unreachable = |error: &sqlx::Error| {
            OperateError::unreachable(
                format!("{name}: can't connect to its database: {}", Chain(error)),
                "see DATABASE_URL, --database-url or --source, and whether Postgres is up there",
            )
        };
        let _place = source.place().await.map_err(|error| unreachable(&error))?;
        let mut conn =
            source.connect("outbox command", &SESSION).await.map_err(|error| unreachable(&error))?;
        match outbox_schema::check(&mut conn).await {
            Ok(()) => {}
            Err(SchemaError::Read(error)) => {
                return Err(denied(&name, &error).unwrap_or_else(|| unreachable(&error)));
            }
            Err(error) => {
                return Err(OperateError::unreachable(
                    format!("{name}: {}", Chain(&error)),
                    format!("is it the right database? `{name}` is what was given"),
                ));
            }
        }
        let connections = source.connections("outbox command", &SESSION, CONNECTIONS_MAX);
        Ok(Self { name, connections })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time by its clock.
    pub async fn now(&self) -> Result<Option<DateTime<Utc>>, OperateError> {
        let now = self.one(sqlx::query_as::<_, (DateTime<Utc>,)>("select clock_timestamp()")).await?;
        Ok(now.map(|(now,)| now))
    }

    pub async fn all<T>(&self, query: QueryAs<'_, Postgres, T, PgArguments>) -> Result<Vec<T>, OperateError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let answered = self.connections.run(async |conn| query.fetch_all(conn).await).await;
        answered.map_err(|error| self.trouble(&error))
    }

    pub async fn one<T>(
        &self,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<Option<T>, OperateError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        Ok(self.all(query).await?.into_iter().next())
    }

    /// A search for the value of a header finds nothing for a role that may not see values, and says so.
    pub(super) async fn sees_values_for(&self, is_searched: bool) -> Result<(), OperateError> {
        let sees = "select has_column_privilege('outbox.event'::regclass, 'headers', 'select')";
        if !is_searched || self.one(query_as(sees)).await?.is_none_or(|(sees,): (bool,)| sees) {
            return Ok(());
        }
        Err(OperateError::failed(
            format!("{}: this role may not see the values of headers, so it can't search for one", self.name),
            "search by --key or --name, or as a role that plays operator",
        ))
    }

    /// What this role may do: its name, whether it may repair, and whether it sees payloads.
    pub async fn role(&self) -> Result<Option<Role>, OperateError> {
        let role = "select current_user::text as name,
                           bool_and(has_function_privilege(p.oid, 'execute')) as repairs,
                           has_column_privilege('outbox.dead_letter'::regclass, 'body', 'select') as sees_payloads
                    from pg_proc as p
                    where p.pronamespace = 'outbox'::regnamespace
                      and p.proname in ('repair_begin', 'redrive', 'drop_dead_letters', 'retry_now', 'set_brake')";
        self.one(query_as(role)).await
    }

    /// Runs a statement that scans a whole table. Its connection is not used again.
    pub async fn scan<T>(&self, query: QueryAs<'_, Postgres, T, PgArguments>) -> Result<Vec<T>, OperateError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let scanned = async {
            let mut loan = self.connections.lend().await?;
            let settings = sqlx::query(
                "select set_config('enable_seqscan', 'on', false), set_config('statement_timeout', '115s', false)",
            );
            within(settings.execute(loan.conn())).await?;
            query.fetch_all(loan.conn()).await
        };
        match tokio::time::timeout(SCAN_WITHIN, scanned).await {
            Ok(rows) => rows.map_err(|error| self.trouble(&error)),
            Err(_) => Err(OperateError::unreachable(
                format!("{}: its database did not answer within two minutes", self.name),
                "try again when it is less busy",
            )),
        }
    }

    fn trouble(&self, error: &sqlx::Error) -> OperateError {
        denied(&self.name, error).or_else(|| refused(&self.name, error)).unwrap_or_else(|| {
            OperateError::unreachable(
                format!("{}: its database did not do what was asked: {}", self.name, Chain(error)),
                "try again; `outbox doctor` looks at the database",
            )
        })
    }
}

fn denied(name: &str, error: &sqlx::Error) -> Option<OperateError> {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    let database = error.as_database_error()?;
    (database.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE)).then(|| {
        OperateError::unreachable(
            format!("{name}: this role may not: {}", database.message()),
            "use a role that plays operator (select outbox.grant_to); `outbox doctor` says what is missing",
        )
    })
}

/// A value that the database never takes, such as a text with a NUL or a date of the year 300000. To ask again does not help.
fn refused(name: &str, error: &sqlx::Error) -> Option<OperateError> {
    const DATA_EXCEPTION: &str = "22";
    let is_refused = match error {
        sqlx::Error::Encode(_) => true,
        error => error.as_database_error()?.code().is_some_and(|code| code.starts_with(DATA_EXCEPTION)),
    };
    is_refused.then(|| {
        OperateError::failed(
            format!("{name}: its database refuses a value: {}", Chain(error)),
            "correct what was entered",
        )
    })
}
