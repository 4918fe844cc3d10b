//! Events by key, name or header, in the outbox and among the parked ones.

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_transport::operate::{About, At, OperateError};
use sqlx::query_as;
use uuid::Uuid;

use super::{Outbox, Span};
use crate::operate::search::Seqs;

/// So many rows are read by one statement.
const PIECE: i64 = 20_000;

/// An event without its payload.
#[derive(Debug, Clone)]
pub struct Found {
    pub id: EventId,
    pub name: String,
    pub key: Option<String>,
    pub occurred_at: At,
}

type Row = (Uuid, String, Option<String>, At);

impl Outbox {
    /// The newest events of a span, newest first. Each statement reads one piece of it, and there is no index on these columns.
    /// Returns them, and the part of the span that is not searched yet.
    pub async fn found(
        &self,
        span: &Span,
        about: &About,
        limit: i64,
    ) -> Result<(Vec<Found>, Option<Span>), OperateError> {
        let first = span.seqs.first.max(span.seqs.last.saturating_sub(PIECE - 1));
        let header = about.header.as_ref();
        self.database.sees_values_for(header.is_some()).await?;
        let read = query_as(
            "select id, left(name, 128), left(key, 512), occurred_at from outbox.event_shown
             where seq between $1 and $2 and ($3::timestamptz is null or occurred_at >= $3)
               and ($4::timestamptz is null or occurred_at < $4)
               and ($5::text is null or name = $5) and ($6::text is null or key = $6)
               and ($8::text is null or outbox.body_field('{\"event\":{\"headers\":' || headers || '}}', 'header', $7) = $8)
             order by seq desc, id limit $9",
        );
        let read = read
            .bind(first)
            .bind(span.seqs.last)
            .bind(span.since)
            .bind(span.until)
            .bind(&about.name)
            .bind(&about.key)
            .bind(header.map(|(name, _)| name))
            .bind(header.map(|(_, value)| value))
            .bind(limit);
        let rows: Vec<Row> = self.database.all(read).await?;
        let seqs = Seqs { first: span.seqs.first, last: first - 1 };
        let rest = (first > span.seqs.first).then(|| Span { seqs, ..span.clone() });
        Ok((rows.into_iter().map(found).collect(), rest))
    }

    /// Parked events, newest first. They are few.
    pub async fn found_parked(
        &self,
        about: &About,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<Found>, OperateError> {
        let header = about.header.as_ref();
        self.database.sees_values_for(header.is_some()).await?;
        let read = query_as(
            "select id, left(name, 128), left(key, 512), occurred_at from outbox.parked_shown
             where occurred_at >= $1 and occurred_at < $2 and ($3::text is null or name = $3) and ($4::text is null or key = $4)
               and ($6::text is null or outbox.body_field('{\"event\":{\"headers\":' || headers || '}}', 'header', $5) = $6)
             order by seq desc, id limit $7",
        );
        let read = read
            .bind(since)
            .bind(until)
            .bind(&about.name)
            .bind(&about.key)
            .bind(header.map(|(name, _)| name))
            .bind(header.map(|(_, value)| value))
            .bind(limit);
        let rows: Vec<Row> = self.database.all(read).await?;
        Ok(rows.into_iter().map(found).collect())
    }
}

fn found((id, name, key, occurred_at): Row) -> Found {
    Found { id: id.into(), name, key, occurred_at }
}
