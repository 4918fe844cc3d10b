//! Events that the bus refused for good.

use outbox_event::EventId;
use outbox_transport::operate::{At, COUNT_LIMIT, Count, OperateError, Repair};
use serde::Serialize;
use sqlx::query_as;
use uuid::Uuid;

use super::Outbox;

/// A filter for parked events; every given condition must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParkedFilter {
    pub ids: Vec<EventId>,
    pub code: Option<String>,
    pub event_name: Option<String>,
}

/// A parked event, without its payload.
#[derive(Debug, Clone, Serialize)]
pub struct Parked {
    #[serde(skip)]
    pub seq: i64,
    pub id: EventId,
    pub name: String,
    pub key: Option<String>,
    pub code: String,
    pub reason: String,
    /// Only the beginnings of its texts are kept, so it can't be retried.
    pub cut: bool,
    pub occurred_at: At,
    pub parked_at: At,
}

/// A parked event that an operator dropped.
#[derive(Debug, Clone, Serialize)]
pub struct Dropped {
    pub at: At,
    pub by: String,
}

impl Outbox {
    pub async fn dropped(&self, id: EventId) -> Result<Option<Dropped>, OperateError> {
        let dropped = query_as(
            "select d.at, a.who from outbox.dropped as d join outbox.audit as a on a.id = d.repair
             where d.event_id = $1 and d.queue is null order by d.at desc limit 1",
        );
        let dropped: Option<(At, String)> = self.database.one(dropped.bind(id.as_uuid())).await?;
        Ok(dropped.map(|(at, by)| Dropped { at, by }))
    }

    pub async fn parked_count(&self) -> Result<Count, OperateError> {
        let count = query_as("select count(*) from (select from outbox.parked limit $1) as p");
        let count = self.database.one(count.bind(COUNT_LIMIT)).await?;
        Ok(Count::new(count.map_or(0, |(count,)| count)))
    }

    /// The newest seq. A retried event comes after it, unless the sequence is behind.
    pub async fn newest(&self) -> Result<i64, OperateError> {
        let newest =
            "select greatest(last_value, (select max(seq) from outbox.parked)) from outbox.event_seq";
        Ok(self.database.one(query_as(newest)).await?.map_or(i64::MAX, |(newest,)| newest))
    }

    /// Parked events in the order of publishing, after `after` and up to `newest`. (A sequence that was set back draws a seq
    /// twice, so only the id distinguishes two events.) The table holds only what an operator must still decide, so reading it
    /// whole costs little.
    pub async fn parked(
        &self,
        filter: &ParkedFilter,
        after: Option<(i64, EventId)>,
        newest: i64,
        limit: i64,
    ) -> Result<Vec<Parked>, OperateError> {
        type Row = (i64, Uuid, String, Option<String>, String, String, bool, At, At);
        let rows: Vec<Row> = self
            .database
            .all(
                query_as(
                    "select seq, id, left(name, 128), left(key, 512), code, reason, cut, occurred_at, parked_at from outbox.parked
                     where ($1::bigint is null or (seq, id) > ($1, $8)) and seq <= $7 and ($2 or id = any ($3::uuid[])) and ($4::text is null or code = $4)
                       and ($5::text is null or name = $5)
                     order by seq, id limit $6",
                )
                .bind(after.map(|(seq, _)| seq))
                .bind(filter.ids.is_empty())
                .bind(filter.ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
                .bind(&filter.code)
                .bind(&filter.event_name)
                .bind(limit)
                .bind(newest)
                .bind(after.map(|(_, id)| id.as_uuid())),
            )
            .await?;
        let parked =
            rows.into_iter().map(|(seq, id, name, key, code, reason, cut, occurred_at, parked_at)| Parked {
                seq,
                id: id.into(),
                name,
                key,
                code,
                reason,
                cut,
                occurred_at,
                parked_at,
            });
        Ok(parked.collect())
    }

    /// Publishes parked events again, unchanged, except those that were cut. One that was parked for its time gets a new time.
    /// Returns how many it published.
    pub async fn retry_parked(&self, repair: &Repair, parked: &[Parked]) -> Result<u64, OperateError> {
        self.change("select outbox.retry_parked($1, $2, $3)", repair, parked).await
    }

    pub async fn drop_parked(&self, repair: &Repair, parked: &[Parked]) -> Result<u64, OperateError> {
        self.change("select outbox.drop_parked($1, $2, $3)", repair, parked).await
    }

    async fn change(
        &self,
        change: &'static str,
        repair: &Repair,
        parked: &[Parked],
    ) -> Result<u64, OperateError> {
        let (seqs, ids): (Vec<i64>, Vec<Uuid>) =
            parked.iter().map(|parked| (parked.seq, parked.id.as_uuid())).unzip();
        let change = query_as(change).bind(repair.id).bind(seqs).bind(ids);
        Ok(self.database.one(change).await?.map_or(0, |(changed,): (i64,)| changed.unsigned_abs()))
    }
}
