//! Queues of RPCs that got another name or were taken away.

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{Carried, OperateError, Part, Repair, Retire};
use sqlx::query_as;
use uuid::Uuid;

use super::queues::PostgresOperator;

const MOVED_TOGETHER: i32 = 500;
/// The slots of the dedup record.
const SLOTS: i16 = 5;

impl Retire for PostgresOperator {
    /// A call that moves fewer than it may has moved all that was there.
    async fn move_some(
        &self,
        repair: &Repair,
        from: &Rpc,
        to: &Rpc,
        part: Part,
    ) -> Result<(u64, bool), OperateError> {
        let step = match part {
            Part::Live => "select outbox.move_waiting($1, $2, $3, $4)",
            Part::Dead => "select outbox.move_dead($1, $2, $3, $4)",
        };
        let step = query_as(step).bind(repair.id).bind(from.as_str()).bind(to.as_str()).bind(MOVED_TOGETHER);
        let moved = self.database.one(step).await?.map_or(0, |(moved,): (i64,)| moved);
        Ok((moved.unsigned_abs(), moved >= i64::from(MOVED_TOGETHER)))
    }

    async fn carry(
        &self,
        repair: &Repair,
        from: &Rpc,
        to: &Rpc,
        after: Carried,
    ) -> Result<(u64, Option<Carried>), OperateError> {
        let step = query_as("select upto, carried from outbox.carry_records($1, $2, $3, $4, $5)")
            .bind(repair.id)
            .bind(from.as_str())
            .bind(to.as_str())
            .bind(after.slot)
            .bind(after.after.map(EventId::as_uuid));
        let step: Option<(Option<Uuid>, i64)> = self.database.one(step).await?;
        let (upto, carried) = step.unwrap_or_default();
        let next = match upto {
            Some(upto) => Some(Carried { slot: after.slot, after: Some(upto.into()) }),
            None => Some(Carried { slot: after.slot + 1, after: None }),
        };
        Ok((carried.unsigned_abs(), next.filter(|next| next.slot < SLOTS)))
    }

    async fn drop_some(&self, repair: &Repair, rpc: &Rpc) -> Result<u64, OperateError> {
        let step = query_as("select outbox.drop_waiting($1, $2)").bind(repair.id).bind(rpc.as_str());
        Ok(self.database.one(step).await?.map_or(0, |(dropped,): (i64,)| dropped.unsigned_abs()))
    }

    async fn remove(&self, repair: &Repair, rpc: &Rpc) -> Result<bool, OperateError> {
        let step = query_as("select outbox.remove_queue($1, $2)").bind(repair.id).bind(rpc.as_str());
        Ok(self.database.one(step).await?.is_some_and(|(removed,)| removed))
    }
}
