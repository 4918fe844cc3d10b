//! Publishes an event from the command line. Services publish with the library, or with `outbox.enqueue` in SQL.

use outbox_event::EventId;
use outbox_runtime::Chain;
use outbox_transport::operate::OperateError;
use uuid::Uuid;

use crate::{Source, within};

#[derive(Clone, Copy)]
pub struct NewEvent<'a> {
    pub name: &'a str,
    pub key: Option<&'a str>,
    pub payload: &'a str,
    /// A JSON object.
    pub headers: Option<&'a str>,
}

/// Publishes one event in a transaction of its own.
pub async fn publish(source: &Source, event: NewEvent<'_>) -> Result<EventId, OperateError> {
    let name = source.name();
    let unreachable = |error: &dyn std::fmt::Display| {
        let remedy =
            "start `outbox dev` in this folder, or see DATABASE_URL, and whether Postgres is up there";
        OperateError::unreachable(format!("{name}: can't publish in its database: {error}"), remedy)
    };
    let mut conn = source.connect("outbox send", &[]).await.map_err(|error| unreachable(&Chain(&error)))?;
    outbox_schema::check(&mut conn).await.map_err(|error| unreachable(&Chain(&error)))?;
    let enqueue = sqlx::query_scalar("select outbox.enqueue($1::text, $2::text, $3::text, $4::text)")
        .bind(event.name)
        .bind(event.payload)
        .bind(event.key)
        .bind(event.headers)
        .fetch_one(&mut conn);
    let id: Uuid = within(enqueue).await.map_err(|error| match error.as_database_error() {
        Some(refused) => OperateError::failed(
            format!("{name}: not published: {}", refused.message()),
            "`outbox.grant_to` allows a role to publish; `outbox doctor` shows what else is wrong",
        ),
        None => unreachable(&Chain(&error)),
    })?;
    Ok(id.into())
}

/// The name only: the rest may be secret.
impl std::fmt::Debug for NewEvent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewEvent").field("name", &self.name).finish_non_exhaustive()
    }
}
