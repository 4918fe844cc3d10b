//! How full a queue is, and whether `outbox poison` was used on it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_transport::{DedupError, Depth, Depths, Poison, QueueError};

use super::PostgresQueue;

/// Counting further would cost more than it is worth.
const COUNTED_MAX: i64 = 10_000;
const LOOKED_WITHIN: Duration = Duration::from_secs(5);

impl Depths for PostgresQueue {
    async fn depth(&self) -> Result<Depth, QueueError> {
        if self.has_bell {
            // At the start the bell's first look answers for all queues that are empty.
            let _ = tokio::time::timeout(LOOKED_WITHIN, self.watched.looked()).await;
        }
        if self.stays_empty() {
            return Ok(Depth::default());
        }
        type Row = (i64, i64, i64, i64, Option<DateTime<Utc>>);
        let from = self.watched.from();
        // A claimed delivery counts as hidden. It may be settled already, which only its worker can tell. The time is a subquery,
        // because a volatile function would be no index condition.
        let look = sqlx::query_as(
            "with q as (
                 select queue as id, seq from outbox.queue_head where rpc = $1
             ), head as (
                 select coalesce((select seq from q), 0) as seq
             ), claimed as (
                 select count(*) filter (where until > clock_timestamp()) as live,
                        count(*) filter (where until <= clock_timestamp()) as ended
                 from (select c.until from outbox.claim as c
                       join outbox.delivery as d on d.queue = c.queue and d.seq between c.first_seq and c.last_seq
                       where c.queue = (select id from q) and c.id >= $4 and c.until is not null limit $2) as c
             ), later as (
                 select count(*) filter (where token is not null) as hidden, count(*) filter (where token is null) as retrying
                 from (select token from outbox.retry
                       where queue = (select id from q) and due_at > (select clock_timestamp()) order by due_at limit $2) as r
             )
             select (select count(*) from (
                         select from outbox.delivery where queue = (select id from q) and seq > head.seq limit $2) as log)
                    + claimed.ended
                    + (select count(*) from (
                         select from outbox.retry
                         where queue = (select id from q) and due_at >= coalesce($3, '-infinity')
                           and due_at <= (select clock_timestamp()) limit $2) as due),
                    claimed.live + later.hidden,
                    later.retrying,
                    (select count(*) from (select from outbox.dead_letter where queue = (select id from q) limit $2) as dead),
                    outbox.sane_time(least(
                        (select enqueued_at from outbox.delivery
                         where queue = (select id from q) and seq > head.seq order by seq limit 1),
                        (select min(enqueued_at) from (
                             select enqueued_at from outbox.retry
                             where queue = (select id from q) and due_at >= coalesce($3, '-infinity') limit $2) as r)))
             from head, claimed, later",
        )
        .bind(self.watched.rpc.as_str())
        .bind(COUNTED_MAX)
        .bind(from.due)
        .bind(from.claims);
        let found: Result<Row, sqlx::Error> =
            self.connections.run(async |conn| look.fetch_one(conn).await).await;
        let (waiting, hidden, retrying, dead, oldest) = found.map_err(QueueError::new)?;
        let is_empty = waiting + hidden + retrying + dead == 0 && oldest.is_none();
        self.measured_empty.store(is_empty, Ordering::Relaxed);
        Ok(Depth { waiting, hidden, retrying, dead, oldest })
    }

    async fn may_differ(&self) {
        loop {
            let changed = self.watched.changed();
            if !self.stays_empty() {
                return;
            }
            changed.await;
        }
    }
}

impl PostgresQueue {
    /// Dead letters, too, come only from deliveries: an empty queue stays as it was measured.
    fn stays_empty(&self) -> bool {
        let has_nothing = self.measured_empty.load(Ordering::Relaxed) || self.watched.was_without_dead();
        self.watched.was_empty() && has_nothing
    }
}

impl Poison for PostgresQueue {
    async fn poison_for(&self) -> Result<Option<Duration>, DedupError> {
        let ask = sqlx::query_scalar(
            "select extract(epoch from least(poison_until - clock_timestamp(), interval '1 year'))::float8
             from outbox.queue where rpc = $1 and poison_until > clock_timestamp()",
        )
        .bind(self.watched.rpc.as_str());
        let left: Option<f64> = self
            .connections
            .run(async |conn| ask.fetch_optional(conn).await)
            .await
            .map_err(DedupError::new)?;
        Ok(left.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))))
    }
}
