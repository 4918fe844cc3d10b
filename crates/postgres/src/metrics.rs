//! The state of a database, as metrics. Every statement reads a bounded part of a table.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

const EVERY: Duration = Duration::from_secs(10);
const COUNTED_MAX: i64 = 10_000;
/// Of each queue, and each look reads so many rows of its index. More says nothing more: the age says how bad it is.
const QUEUED_MAX: i64 = 1000;
/// A snapshot this old blocks vacuum in the service's own tables.
const OLD: Duration = Duration::from_secs(60);
const SAID_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Observer {
    source: String,
    looked_at: Option<Instant>,
    /// The session whose old snapshot was logged, and when.
    said: Option<(i32, Instant)>,
    /// Whether the age of the oldest snapshot could be seen, at the last look.
    sees: Option<bool>,
}

impl Observer {
    pub(crate) fn new(source: &str) -> Self {
        Self { source: source.to_owned(), looked_at: None, said: None, sees: None }
    }

    /// Updates the metrics, if it is time to.
    pub(crate) async fn look(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.looked_at.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        self.looked_at = Some(Instant::now());
        let parked: i64 =
            sqlx::query_scalar("select count(*) from (select from outbox.parked limit $1) as parked")
                .bind(COUNTED_MAX)
                .fetch_one(&mut *conn)
                .await?;
        metrics::gauge!("outbox_relay_parked_events", "source" => self.source.clone()).set(parked as f64);
        self.sizes(conn).await?;
        self.rings(conn).await?;
        self.oldest_snapshot(conn).await?;
        self.queues(conn).await
    }

    /// Also of queues without a worker, which no worker measures. A silent worker does not count: see `Seen::is_silent`.
    async fn queues(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let queues: Vec<(String, i64, Option<f64>, i64)> = sqlx::query_as(
            "select q.rpc,
                    (select count(*) from (
                         select from outbox.delivery as d where d.queue = q.id and d.seq > head.seq limit $1) as log)
                    + (select count(*) from (
                         select from outbox.retry as r
                         where r.queue = q.id and r.due_at <= clock_timestamp() and r.token is null
                         order by r.due_at limit $1) as due),
                    extract(epoch from clock_timestamp() - outbox.sane_time(least(
                        (select d.enqueued_at from outbox.delivery as d
                         where d.queue = q.id and d.seq > head.seq order by d.seq limit 1),
                        (select r.due_at from outbox.retry as r
                         where r.queue = q.id and r.due_at <= clock_timestamp() and r.token is null
                         order by r.due_at limit 1))))::float8,
                    (select count(*) from outbox.process as p
                     where p.program = 'worker' and q.rpc = any (p.rpcs)
                       and p.seen_at > clock_timestamp() - least(2 * p.every_seconds, 3600) * interval '1 second')
             from outbox.queue as q join outbox.queue_head as head on head.queue = q.id",
        )
        .bind(QUEUED_MAX)
        .fetch_all(conn)
        .await?;
        for (rpc, messages, oldest, workers) in queues {
            let labels = [("source", self.source.clone()), ("rpc", rpc)];
            metrics::gauge!("outbox_queue_messages", &labels).set(messages as f64);
            metrics::gauge!("outbox_queue_oldest_seconds", &labels).set(oldest.unwrap_or_default().max(0.0));
            metrics::gauge!("outbox_queue_workers", &labels).set(workers as f64);
        }
        Ok(())
    }

    async fn sizes(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let sizes: Vec<(String, i64)> = sqlx::query_as(
            "select case when p.relname in ('event', 'delivery', 'cursor', 'dedup', 'history') then p.relname::text
                         when p.relname = 'receipt' then 'dedup' else 'other' end as name,
                    sum(pg_total_relation_size(c.oid))::bigint
             from pg_class as c
             join pg_namespace as n on n.oid = c.relnamespace
             left join pg_inherits as i on i.inhrelid = c.oid
             left join pg_class as p on p.oid = i.inhparent
             where n.nspname = 'outbox' and c.relkind = 'r'
             group by name",
        )
        .fetch_all(conn)
        .await?;
        for (table, bytes) in sizes {
            metrics::gauge!("outbox_relay_outbox_bytes", "source" => self.source.clone(), "table" => table)
                .set(bytes as f64);
        }
        Ok(())
    }

    /// A ring without an empty slot can't turn, and its newest slot grows.
    async fn rings(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let empty: Vec<(String, i64)> = sqlx::query_as(
            "select ring, count(*) filter (where outbox.slot_is_empty(ring, slot)) from outbox.ring group by ring",
        )
        .fetch_all(conn)
        .await?;
        for (ring, slots) in empty {
            metrics::gauge!("outbox_relay_ring_empty_slots", "source" => self.source.clone(), "ring" => ring)
                .set(slots as f64);
        }
        Ok(())
    }

    /// Without the role pg_read_all_stats only sessions of the relay's own role are visible. An age of zero would then be a
    /// claim, so there is none.
    async fn oldest_snapshot(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let (sees, role): (bool, String) =
            sqlx::query_as("select pg_has_role('pg_read_all_stats', 'usage'), quote_ident(current_user)")
                .fetch_one(&mut *conn)
                .await?;
        let saw = self.sees.replace(sees);
        if !sees && saw != Some(false) {
            tracing::warn!(
                source = self.source,
                "outbox_relay_oldest_snapshot_seconds is not exported: this role does not see the transactions of others; grant pg_read_all_stats to {role}"
            );
        }
        let oldest: Option<(i32, String, String, f64)> = sqlx::query_as(
            "select pid, coalesce(application_name, ''), coalesce(state, ''),
                    extract(epoch from clock_timestamp() - xact_start)::float8
             from pg_stat_activity
             where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
               and (backend_xmin is not null or backend_xid is not null) and xact_start is not null
             order by xact_start limit 1",
        )
        .fetch_optional(conn)
        .await?;
        // A gauge that was exported can't be taken back.
        if sees || saw == Some(true) {
            let age = oldest.as_ref().map_or(0.0, |oldest| oldest.3.max(0.0));
            metrics::gauge!("outbox_relay_oldest_snapshot_seconds", "source" => self.source.clone())
                .set(if sees { age } else { f64::NAN });
        }
        let Some((pid, application, state, age)) = oldest.filter(|old| old.3 >= OLD.as_secs_f64()) else {
            self.said = None;
            return Ok(());
        };
        if self.said.is_none_or(|(said, at)| said != pid || at.elapsed() >= SAID_EVERY) {
            self.said = Some((pid, Instant::now()));
            tracing::warn!(
                source = self.source,
                pid,
                application,
                state,
                age_seconds = age.round(),
                "a transaction has been open for long: vacuum waits for it, and its own events come only when it commits"
            );
        }
        Ok(())
    }
}
