//! Sequences that are behind their tables. A row with a number below a cursor or a head is never found.

use outbox_transport::operate::OperateError;
use serde::Serialize;
use sqlx::query_as;

use super::Outbox;

/// It was left behind by logical replication, by a dump of data alone, or by a careless `setval`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Behind {
    pub sequence: String,
    pub stands_at: i64,
    /// The highest number in use; for a ring's pointer, the last slot.
    pub used: i64,
}

impl Outbox {
    pub async fn behind(&self) -> Result<Vec<Behind>, OperateError> {
        let behind = query_as("select name, stands_at, used from outbox.check_sequences(false)");
        let rows: Vec<(String, i64, i64)> = self.database.all(behind).await?;
        let behind = rows.into_iter().map(|(sequence, stands_at, used)| Behind { sequence, stands_at, used });
        Ok(behind.collect())
    }
}
