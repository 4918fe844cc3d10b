//! What the relay has not put yet: its next window, read by the same indexes and counted.

use outbox_event::EventId;
use outbox_transport::operate::{COUNT_LIMIT, Count, OperateError};
use sqlx::query_as;
use uuid::Uuid;

use super::{Cursor, Outbox};

#[derive(Debug, Clone)]
pub struct Backlog {
    pub events: Count,
    pub lag_seconds: f64,
    pub oldest: Option<EventId>,
}

/// A row may hold any time.
macro_rules! counted {
    ($($from:tt)+) => {
        concat!(
            "select count(*), (array_agg(id order by seq))[1],
                    coalesce(extract(epoch from clock_timestamp() - outbox.sane_time(min(occurred_at)
                        filter (where occurred_at between '0001-01-01 00:00:00+00' and '9999-12-31 00:00:00+00'))), 0)::float8
             from (",
            $($from)+,
            ") as fresh"
        )
    };
}

/// Visible now and not visible in a snapshot: begun since, or in flight at the time. As in the relay's window, the oldest
/// hundred running transactions that began since are left out: each may have written millions of rows.
macro_rules! since {
    ($snapshot:literal) => {
        concat!(
            "(select e.id, e.seq, e.occurred_at
              from (select edge.xid as after, lead(edge.xid) over (order by edge.xid) as upto
                    from (select (pg_snapshot_xmax(",
            $snapshot,
            "::text::pg_snapshot)::text::bigint - 1)::text::xid8 as xid
                          union all
                          select * from (
                              select running.xid from pg_snapshot_xip(pg_current_snapshot()) as running (xid)
                              where running.xid >= pg_snapshot_xmax(",
            $snapshot,
            "::text::pg_snapshot) order by running.xid limit 100) as oldest
                          union all
                          select pg_snapshot_xmax(pg_current_snapshot())) as edge) as gap
              cross join lateral (
                  select e.id, e.seq, e.occurred_at from outbox.event as e
                  where e.xid > gap.after and e.xid < gap.upto and e.seq < $2 order by e.xid, e.seq limit $3) as e
              where gap.upto::text::bigint - gap.after::text::bigint > 1
              limit $3)
             union all
             (select e.id, e.seq, e.occurred_at
              from pg_snapshot_xip(",
            $snapshot,
            "::text::pg_snapshot) as flown (xid)
              cross join lateral (
                  select e.id, e.seq, e.occurred_at from outbox.event as e
                  where e.xid = flown.xid and e.seq < $2 order by e.xid, e.seq limit $3) as e
              where pg_visible_in_snapshot(flown.xid, pg_current_snapshot())
              limit $3)"
        )
    };
}

impl Outbox {
    /// Counts by xid. While a large window is put page by page, it counts by seq up to the window's end, and by xid after that.
    /// `before` counts only events below that seq. `None` for the cursor of another server, which says nothing of the events
    /// here.
    pub async fn backlog(
        &self,
        cursor: &Cursor,
        before: Option<i64>,
    ) -> Result<Option<Backlog>, OperateError> {
        if !cursor.ours {
            return Ok(None);
        }
        let statement = match &cursor.page_snapshot {
            None => query_as(counted!(since!("$1"))),
            Some(_) => query_as(counted!(concat!(
                "(select id, seq, occurred_at from outbox.event
                  where seq > greatest($5, $6) and seq <= $7 and seq < $2
                    and pg_visible_in_snapshot(xid, (select $4::text::pg_snapshot))
                    and not pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))
                  order by seq limit $3)
                 union all
                 (select late.id, late.seq, late.occurred_at
                  from pg_snapshot_xip((select $1::text::pg_snapshot)) as flown (xid)
                  cross join lateral (
                      select e.id, e.seq, e.occurred_at from outbox.event as e
                      where e.xid = flown.xid and e.seq > $5 and e.seq <= $6 and e.seq < $2
                      order by e.xid, e.seq limit $3) as late
                  where pg_visible_in_snapshot(flown.xid, (select $4::text::pg_snapshot))
                  limit $3)
                 union all ",
                since!("$4")
            ))),
        };
        let mut statement =
            statement.bind(&cursor.snapshot).bind(before.unwrap_or(i64::MAX)).bind(COUNT_LIMIT);
        if cursor.page_snapshot.is_some() {
            statement = statement
                .bind(&cursor.page_snapshot)
                .bind(cursor.page_seq)
                .bind(cursor.floor_seq)
                .bind(cursor.page_end_seq.unwrap_or(i64::MAX));
        }
        let (events, oldest, lag_seconds): (i64, Option<Uuid>, f64) =
            self.database.one(statement).await?.unwrap_or_default();
        Ok(Some(Backlog {
            events: Count::new(events),
            lag_seconds: lag_seconds.max(0.0),
            oldest: oldest.map(EventId::from),
        }))
    }
}
