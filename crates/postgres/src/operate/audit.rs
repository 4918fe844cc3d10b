//! The audit of one database.

use chrono::{DateTime, Utc};
use outbox_transport::operate::{At, Audit, Kept, Kind, OperateError, Progress, Repair, Speed};
use sqlx::query_as;
use uuid::Uuid;

use crate::from_row::from_row;
use crate::operate::queues::PostgresOperator;

struct Row {
    id: Uuid,
    at: At,
    who: String,
    role: String,
    command: String,
    result: Option<String>,
    ended: bool,
    kind: Option<String>,
    rpc: Option<String>,
    plan: Option<String>,
    bound: Option<DateTime<Utc>>,
    reached: i64,
    total: Option<i64>,
    place: Option<String>,
    ago: Option<f64>,
    stop_by: Option<String>,
    rate: Option<i32>,
    rate_by: Option<String>,
    paused_by: Option<String>,
    taken_back: i64,
}

from_row!(Row {
    id,
    at,
    who,
    role,
    command,
    result,
    ended,
    kind,
    rpc,
    plan,
    bound,
    reached,
    total,
    place,
    ago,
    stop_by,
    rate,
    rate_by,
    paused_by,
    taken_back
});

impl Audit for PostgresOperator {
    /// Without this row the repair functions change nothing.
    async fn begin(&self, repair: &Repair, _: bool) -> Result<(), OperateError> {
        let begin = query_as("select outbox.repair_begin($1, $2, $3)");
        let begin = begin.bind(repair.id).bind(&repair.who).bind(&repair.command);
        self.database.one::<((),)>(begin).await.map(|_| ())
    }

    async fn end(&self, repair: &Repair) -> Result<(), OperateError> {
        let end = query_as("select outbox.repair_end($1, $2::json)");
        self.database.one::<((),)>(end.bind(repair.id).bind(&repair.result)).await.map(|_| ())
    }

    async fn kept(&self, limit: u32) -> Result<Vec<Kept>, OperateError> {
        self.rows(None, i64::from(limit)).await
    }

    async fn find(&self, id: Uuid) -> Result<Option<Kept>, OperateError> {
        Ok(self.rows(Some(id), 1).await?.into_iter().next())
    }
}

impl PostgresOperator {
    /// For an interrupted repair, the number of changes is known.
    async fn rows(&self, id: Option<Uuid>, limit: i64) -> Result<Vec<Kept>, OperateError> {
        let read = query_as(
            "select id, at, who, role, command, coalesce(result, '{\"changed\":' || nullif(changed, 0) || '}') as result,
                    ended_at is not null as ended, kind, rpc, plan::text as plan,
                    case when isfinite(bound) then bound end as bound, reached, total, place,
                    extract(epoch from clock_timestamp() - outbox.sane_time(beat_at))::float8 as ago, stop_by,
                    rate, rate_by, paused_by, taken_back
             from outbox.audit_shown where $1::uuid is null or id = $1 order by at desc limit $2",
        );
        let rows: Vec<Row> = self.database.all(read.bind(id).bind(limit)).await?;
        Ok(rows.into_iter().map(|row| kept(self.database.name(), row)).collect())
    }
}

pub(super) fn speed(rate: Option<i32>, rate_by: Option<String>, paused_by: Option<String>) -> Speed {
    Speed { rate: rate.and_then(|rate| u32::try_from(rate).ok()), rate_by, paused_by }
}

fn kept(source: &str, row: Row) -> Kept {
    let progress = row.kind.as_deref().and_then(Kind::parse).map(|kind| Progress {
        kind,
        rpc: row.rpc,
        plan: row.plan.and_then(|plan| serde_json::from_str(&plan).ok()).unwrap_or_default(),
        bound: row.bound.map(At::from),
        reached: row.reached,
        total: row.total,
        place: row.place,
        beat_seconds_ago: row.ago.unwrap_or(f64::INFINITY),
        stop_by: row.stop_by,
        speed: speed(row.rate, row.rate_by, row.paused_by),
        taken_back: row.taken_back,
    });
    Kept {
        source: source.to_owned(),
        id: row.id,
        at: row.at,
        who: row.who,
        role: Some(row.role),
        command: row.command,
        result: row.result.and_then(|result| serde_json::from_str(&result).ok()),
        ended: row.ended,
        progress,
    }
}
