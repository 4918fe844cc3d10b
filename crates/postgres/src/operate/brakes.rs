//! Pauses and limits, for an operator.

use std::time::Duration;

use outbox_event_router::Rpc;
use outbox_transport::operate::{At, OperateError, Repair, SetBrake, SetBrakes};
use outbox_transport::{Brake, BrakeKind};
use sqlx::query_as;

use super::queues::PostgresOperator;
use crate::interval;

impl SetBrakes for PostgresOperator {
    async fn brakes(&self) -> Result<Vec<SetBrake>, OperateError> {
        type Row = (String, String, Option<i32>, Option<i32>, At, At, String, String);
        let look = query_as(
            "select rpc, kind, concurrency, rate_per_second, since, until, who, why
             from outbox.brake where until > clock_timestamp() order by rpc, kind desc",
        );
        let rows: Vec<Row> = self.database.all(look).await?;
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        let set = rows.into_iter().filter_map(|(rpc, kind, concurrency, rate, since, until, who, why)| {
            let brake = Brake::parse(&kind, number(concurrency), number(rate))?;
            Some(SetBrake { rpc, brake, since, until, who, why })
        });
        Ok(set.collect())
    }

    async fn brake(
        &self,
        repair: &Repair,
        rpc: &Rpc,
        brake: Brake,
        time: Duration,
        why: &str,
    ) -> Result<(), OperateError> {
        let (concurrency, rate) = brake.limits();
        let number = |value: Option<u32>| value.map(|value| i32::try_from(value).unwrap_or(i32::MAX));
        let set = query_as("select outbox.set_brake($1, $2, $3, $4, $5, $6, $7)")
            .bind(repair.id)
            .bind(rpc.as_str())
            .bind(brake.kind().as_str())
            .bind(number(concurrency))
            .bind(number(rate))
            .bind(interval(time))
            .bind(why);
        self.database.one::<((),)>(set).await.map(|_| ())
    }

    async fn lift(&self, repair: &Repair, rpc: &Rpc, kind: BrakeKind) -> Result<bool, OperateError> {
        let lift = query_as("select outbox.lift_brake($1, $2, $3)");
        let lift = lift.bind(repair.id).bind(rpc.as_str()).bind(kind.as_str());
        Ok(self.database.one(lift).await?.is_some_and(|(lifted,)| lifted))
    }
}
