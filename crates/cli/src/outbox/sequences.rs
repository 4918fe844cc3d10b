//! Sequences that are behind their tables: what is numbered below a cursor or a head is never found again.

use serde::Serialize;
use sqlx::query_as;

use super::Outbox;
use crate::stopped::Stopped;

/// Sets right what [`Outbox::behind`] finds, as the relay does when it takes the lead.
pub(crate) const MEND: &str = "select outbox.check_sequences(true);";

/// A sequence that was left behind by logical replication, by a dump of data alone, or by a careless `setval`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Behind {
    pub(crate) sequence: String,
    pub(crate) stands_at: i64,
    /// The highest number that is used already; of a ring's pointer, the last slot there is.
    pub(crate) used: i64,
}

impl Behind {
    pub(crate) fn words(&self) -> String {
        let Self { sequence, stands_at, used } = self;
        match sequence.strip_suffix("_slot") {
            Some(ring) => format!(
                "the pointer of the {ring} ring points at slot {stands_at}, and the last one is {used}"
            ),
            None => format!(
                "the sequence {sequence} is behind its table: it stands at {stands_at}, and {used} is used"
            ),
        }
    }
}

impl Outbox {
    pub(crate) async fn behind(&self) -> Result<Vec<Behind>, Stopped> {
        let behind = query_as("select name, stands_at, used from outbox.check_sequences(false)");
        let rows: Vec<(String, i64, i64)> = self.database.all(behind).await?;
        let behind = rows.into_iter().map(|(sequence, stands_at, used)| Behind { sequence, stands_at, used });
        Ok(behind.collect())
    }
}
