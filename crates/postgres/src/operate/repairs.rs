//! Repairs of many things in one database: seen, stopped and taken back.

use chrono::{DateTime, Utc};
use outbox_event_router::Rpc;
use outbox_transport::operate::{
    Asked, Audit, Clocked, Fates, Heard, Job, OperateError, Reached, Repair, Repairs, SILENT_AFTER, Started,
};
use sqlx::query_as;
use uuid::Uuid;

use crate::interval;
use crate::operate::audit::speed;
use crate::operate::queues::{AGE_MAX, PostgresOperator};

/// So many are taken back in one transaction.
const TAKEN_TOGETHER: i32 = 500;

impl Clocked for PostgresOperator {
    async fn now(&self) -> Result<DateTime<Utc>, OperateError> {
        Ok(self.database.now().await?.unwrap_or_else(Utc::now))
    }
}

impl Repairs for PostgresOperator {
    async fn start(&self, repair: &Repair, job: &Job, _: bool) -> Result<Started, OperateError> {
        let plan = serde_json::Value::from(job.plan.clone()).to_string();
        let start = query_as(
            "select other, moved_until
             from outbox.repair_start($1, $2, $3, $4, $5, $6::json, $7, $8, $9, $10, $11, $12)",
        )
        .bind(repair.id)
        .bind(&repair.who)
        .bind(&repair.command)
        .bind(job.kind.as_str())
        .bind(job.rpc.as_ref().map(Rpc::as_str))
        .bind(plan)
        .bind(job.older_than.map(|age| interval(age.min(AGE_MAX))))
        .bind(job.bound)
        .bind(job.also)
        .bind(interval(SILENT_AFTER))
        .bind(job.continues)
        .bind(job.rate.and_then(|rate| i32::try_from(rate).ok()));
        let answer: Option<(Option<Uuid>, Option<DateTime<Utc>>)> = self.database.one(start).await?;
        let (other, bound) = answer.unwrap_or_default();
        let Some(other) = other else { return Ok(Started::Begun { bound: bound.unwrap_or_else(Utc::now) }) };
        match self.find(other).await? {
            Some(kept) => Ok(Started::InTheWay(Box::new(kept))),
            None => Err(OperateError::failed("another repair has just ended", "run it again")),
        }
    }

    async fn beat(&self, repair: &Repair, reached: &Reached) -> Result<Heard, OperateError> {
        type Row = (Option<String>, Option<i64>, Option<i64>, Option<i32>, Option<String>, Option<String>);
        let beat = query_as(
            "select stopped_by, waiting, dead, kept_rate, changed_by, held_by
             from outbox.repair_progress($1, $2, $3, $4, $5)",
        )
        .bind(repair.id)
        .bind(reached.total)
        .bind(reached.reached)
        .bind(&reached.place)
        .bind(reached.fates);
        let answer: Option<Row> = self.database.one(beat).await?;
        let (stop_by, waiting, dead, rate, rate_by, paused_by) = answer.unwrap_or_default();
        let fates = waiting.zip(dead).map(|(waiting, dead)| Fates { waiting, dead });
        Ok(Heard { stop_by, speed: speed(rate, rate_by, paused_by), fates })
    }

    async fn stop(&self, id: Uuid, who: &str) -> Result<Asked, OperateError> {
        let stop = query_as("select outbox.repair_stop($1, $2, $3)").bind(id).bind(who);
        let said: Option<(Option<String>,)> = self.database.one(stop.bind(interval(SILENT_AFTER))).await?;
        Ok(match said.and_then(|(said,)| said).as_deref() {
            Some("asked") => Asked::Asked,
            Some("ended") => Asked::Ended,
            Some(_) => Asked::Over,
            None => Asked::Unknown,
        })
    }

    async fn take_back(&self, repair: &Repair, of: Uuid) -> Result<Option<i64>, OperateError> {
        let undo = query_as("select outbox.undo($1, $2, $3)").bind(repair.id).bind(of).bind(TAKEN_TOGETHER);
        let taken: Option<(i64,)> = self.database.one(undo).await?;
        Ok(Some(taken.map_or(0, |(taken,)| taken)))
    }
}
