//! Sequences that are behind their tables. A row with a number below a cursor or a head is never found.

use outbox_transport::operate::OperateError;
use serde::Serialize;
use sqlx::query_as;

use super::Outbox;
use crate::from_row::from_row;

/// It was left behind by logical replication, by a dump of data alone, or by a careless `setval`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Behind {
    pub sequence: String,
    pub stands_at: i64,
    /// The highest number in use; for a ring's pointer, the last slot.
    pub used: i64,
}

from_row!(Behind { sequence, stands_at, used });

impl Outbox {
    pub async fn behind(&self) -> Result<Vec<Behind>, OperateError> {
        let behind = query_as("select name as sequence, stands_at, used from outbox.check_sequences(false)");
        self.database.all(behind).await
    }
}
