//! The rate of a repair in one database.

use outbox_transport::operate::{Asked, Change, OperateError, Paced, SILENT_AFTER};
use sqlx::query_as;
use uuid::Uuid;

use crate::interval;
use crate::operate::queues::PostgresOperator;

impl Paced for PostgresOperator {
    async fn pace(&self, id: Uuid, who: &str, change: Change) -> Result<Asked, OperateError> {
        let (rate, paused) = match change {
            Change::Rate(rate) => (Some(i32::try_from(rate).unwrap_or(i32::MAX)), None),
            Change::Pause => (None, Some(true)),
            Change::Resume => (None, Some(false)),
        };
        let pace = query_as("select outbox.repair_pace($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(who)
            .bind(rate)
            .bind(paused)
            .bind(interval(SILENT_AFTER));
        let said: Option<(Option<String>,)> = self.database.one(pace).await?;
        Ok(match said.and_then(|(said,)| said).as_deref() {
            Some("asked") => Asked::Asked,
            Some("silent") => Asked::Silent,
            Some(_) => Asked::Over,
            None => Asked::Unknown,
        })
    }
}
