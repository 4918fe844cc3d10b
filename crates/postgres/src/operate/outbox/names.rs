use outbox_transport::operate::{At, OperateError};
use serde::Serialize;
use sqlx::query_as;

use crate::from_row::from_row;

/// A name that was put and that the leading relay does not know.
#[derive(Debug, Clone, Serialize)]
pub struct UnknownEvent {
    pub name: String,
    pub events: i64,
    pub first_at: At,
    pub last_at: At,
    pub last_event: String,
}

from_row!(UnknownEvent { name, events, first_at, last_at, last_event });

impl super::Outbox {
    /// The unknown names of the last day.
    pub async fn unknown_events(&self) -> Result<Vec<UnknownEvent>, OperateError> {
        let unknown = query_as(
            "select name, events, first_at, last_at, last_event::text as last_event from outbox.unknown_event
             where last_at > clock_timestamp() - interval '1 day' order by name",
        );
        self.database.all(unknown).await
    }

    /// The names in the event_router.yaml of the relay that leads, or led last.
    pub async fn known_events(&self) -> Result<Vec<String>, OperateError> {
        let known = query_as("select name from outbox.known_event order by name");
        let known: Vec<(String,)> = self.database.all(known).await?;
        Ok(known.into_iter().map(|(name,)| name).collect())
    }
}
