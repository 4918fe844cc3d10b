//! The outbox as the leader sees it: the window reader and the cursor.

mod advance;

use chrono::{DateTime, Utc};
use event::EventId;
use futures_util::{Stream, TryStreamExt};
use outbox_schema::within;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::bus::{Bus, Deliveries};
use crate::settle::Settled;
use advance::{Advance, park};

/// A thousand of the largest payloads are a quarter of a gigabyte: so a page is bounded in bytes, too. One more payload
/// may begin below the bound. Counted here and not by the server, which would take more time for it than for the reading.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What comes after a page's last byte was sent in vain. A relay that gives up on that over a slow line, and connects again,
/// must not ask for as much at once.
const ROWS_AT_FIRST: usize = 100;

/// The planner has no statistics of tables that are truncated all the time, and once guessed its way from 650,000
/// rows a second to 4,000: so leave it no choice. Commits need no flush: a cursor lost in a crash means that a
/// window is put again, and deliveries are lost with the cursor that covers them.
pub(crate) const SESSION: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("synchronous_commit", "off"),
];

/// One event as it stands in the outbox.
#[derive(Clone)]
pub struct Entry {
    pub seq: i64,
    pub id: EventId,
    pub name: String,
    pub key: Option<String>,
    pub payload: String,
    pub headers: Option<String>,
    pub occurred_at: DateTime<Utc>,
}

impl Entry {
    /// No bus needs more bytes for it: the envelope's own are fewer than 256, and its name stands beside it once more.
    pub(crate) fn bytes_max(&self) -> usize {
        // JSON may double a key's characters; payload and headers are JSON already.
        self.payload.len()
            + self.headers.as_ref().map_or(0, String::len)
            + 2 * self.key.as_ref().map_or(0, String::len)
            + 2 * self.name.len()
            + 256
    }
}

/// Shows neither payload nor headers.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("seq", &self.seq)
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How far the relay has come. Everything visible in `snapshot` has been put; while a large window is put page by
/// page, so has everything up to `page.seq` that is visible in `page.snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) snapshot: String,
    pub(crate) page: Option<Page>,
    pub(crate) last_seq: i64,
    /// Below every seq of every transaction whose xid is not below `snapshot`'s xmax.
    pub(crate) floor_seq: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) snapshot: String,
    pub(crate) seq: i64,
    /// The cursor's `floor_seq` once the window is through.
    pub(crate) floor_seq: i64,
}

/// What was not visible at the cursor and is visible now, in seq order: all of it, or one page.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) entries: Vec<Entry>,
    /// Nothing comes after these entries before `end`.
    pub(crate) complete: bool,
    /// The snapshot that bounds the window, and its floor.
    pub(crate) end: String,
    pub(crate) end_floor_seq: i64,
}

pub(crate) struct Outbox {
    conn: PgConnection,
    relay: String,
    system_identifier: i64,
    /// The sequence's value as the last reads saw it: a floor for the next snapshot. What was read, a page ahead too, is
    /// followed by an `advance`, which draws an xid after that reading and completes before the next snapshot; so that
    /// snapshot's xmax is above it, and whoever has an xid from xmax on got it, and then his seq, later still.
    /// (Without the advance in between this would not hold: xmax alone does not say who has begun.)
    seen_seq: i64,
    /// Fewer than asked for at first, and while payloads are large.
    rows_max: usize,
}

/// An event's columns, then the statement's snapshot and the sequence's value.
type Row = (i64, Uuid, String, Option<String>, String, Option<String>, DateTime<Utc>, String, i64);

/// Rows, until there are no more or the page's bytes are used up.
struct Rows {
    rows: Vec<Row>,
    cut: bool,
}

impl Outbox {
    /// Reads the cursor from its table, where a crash or failover left it: memory may be ahead of the database.
    pub(crate) async fn open(mut conn: PgConnection, relay: &str) -> Result<(Self, Cursor), sqlx::Error> {
        type Saved = (String, Option<String>, Option<i64>, i64, i64, i64, i64);
        let (snapshot, page_snapshot, page_seq, last_seq, floor_seq, saved_on, here): Saved = within(
            sqlx::query_as(
                "select c.snapshot, c.page_snapshot, c.page_seq, c.last_seq, c.floor_seq, c.system_identifier,
                        s.system_identifier
                 from outbox.cursor_now() as c, pg_control_system() as s",
            )
            .fetch_one(&mut conn),
        )
        .await?;
        let page = page_snapshot.zip(page_seq).map(|(snapshot, seq)| Page { snapshot, seq, floor_seq });
        let mut outbox = Self {
            conn,
            relay: relay.to_owned(),
            system_identifier: here,
            seen_seq: floor_seq,
            rows_max: ROWS_AT_FIRST,
        };
        let mut cursor = Cursor { snapshot, page, last_seq, floor_seq };
        if saved_on != here {
            tracing::warn!(
                saved_on,
                here,
                last_seq,
                "this outbox was restored into another cluster, where transaction ids mean something else: \
                 re-seeding the cursor by seq"
            );
            cursor = outbox.reseed(&cursor).await?;
        }
        Ok((outbox, cursor))
    }

    pub(crate) async fn next_window(
        &mut self,
        cursor: &Cursor,
        page_max: usize,
    ) -> Result<Window, sqlx::Error> {
        if let Some(page) = &cursor.page {
            return self.next_page(cursor, page, page_max).await;
        }
        let rows_max = page_max.min(self.rows_max);
        // Visible now and not visible then: begun since (xid >= xmax), or in flight at the time (xip).
        let query = sqlx::query_as(
            "select seq, id, name, key, payload, headers, occurred_at,
                    (select pg_current_snapshot()::text) as snapshot,
                    (select last_value from outbox.event_seq) as sequence
             from (
                 (select * from outbox.event
                  where xid >= (select pg_snapshot_xmax($1::text::pg_snapshot))
                  order by xid, seq limit $2)
                 union all
                 (select * from outbox.event
                  where xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot)))
                  limit $2)
             ) as fresh
             order by seq",
        )
        .bind(&cursor.snapshot)
        .bind(rows_max as i64);
        let Rows { rows, cut } = within(read(query.fetch(&mut self.conn))).await?;

        let Some(first) = rows.first() else {
            let (end, end_floor_seq) = (cursor.snapshot.clone(), cursor.floor_seq);
            return Ok(Window { entries: Vec::new(), complete: true, end, end_floor_seq });
        };
        let (end, end_floor_seq) = (first.7.clone(), self.seen_seq);
        self.seen_seq = first.8;
        if cut || rows.len() >= rows_max {
            self.fits(rows.len(), cut);
            // There may be more than fits: fix its end here and go through it in pages, in seq order.
            let page = Page { snapshot: end, seq: 0, floor_seq: end_floor_seq };
            return self.next_page(cursor, &page, page_max).await;
        }
        Ok(Window { entries: rows.into_iter().map(entry).collect(), complete: true, end, end_floor_seq })
    }

    /// The next page within a fixed end, in seq order. Above the floor by seq; below it only what was in flight at the
    /// cursor can be new, and is looked up by xid: a transaction that was open for long must not make every page walk
    /// over all that others wrote since it began.
    async fn next_page(
        &mut self,
        cursor: &Cursor,
        page: &Page,
        page_max: usize,
    ) -> Result<Window, sqlx::Error> {
        let rows_max = page_max.min(self.rows_max);
        let query = sqlx::query_as(
            "select seq, id, name, key, payload, headers, occurred_at, '' as snapshot,
                    (select last_value from outbox.event_seq) as sequence
             from (
                 (select * from outbox.event
                  where seq > greatest($3, $5)
                    and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot))
                    and not pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))
                  order by seq limit $4)
                 union all
                 (select late.* from (select pg_snapshot_xip($1::text::pg_snapshot) as xid) as flying
                  cross join lateral (
                      select * from outbox.event as e
                      where e.xid = flying.xid and e.seq > $3 and e.seq <= $5
                        and pg_visible_in_snapshot(e.xid, (select $2::text::pg_snapshot))
                      order by e.xid, e.seq limit $4) as late)
                 order by seq limit $4
             ) as page
             order by seq",
        )
        .bind(&cursor.snapshot)
        .bind(&page.snapshot)
        .bind(page.seq)
        .bind(rows_max as i64)
        .bind(cursor.floor_seq);
        let Rows { rows, cut } = within(read(query.fetch(&mut self.conn))).await?;
        if let Some(first) = rows.first() {
            self.seen_seq = first.8;
        }
        let complete = !cut && rows.len() < rows_max;
        self.fits(rows.len(), cut);
        let (end, end_floor_seq) = (page.snapshot.clone(), page.floor_seq);
        Ok(Window { entries: rows.into_iter().map(entry).collect(), complete, end, end_floor_seq })
    }

    /// How many rows to ask for next: as many as fit this time, and soon more again.
    fn fits(&mut self, rows: usize, cut: bool) {
        self.rows_max = if cut { rows.max(1) } else { self.rows_max.saturating_mul(2) };
    }

    /// Makes what was settled durable, in order: the cursor, the parked, and what the bus keeps in this database,
    /// in one transaction.
    pub(crate) async fn advance<B: Bus>(
        &mut self,
        bus: &B,
        window: &Window,
        settled: &Settled,
    ) -> Result<(), sqlx::Error> {
        let acked: Vec<&Entry> = settled.acked.iter().map(|&at| &window.entries[at]).collect();
        let deliveries = bus.deliveries(&acked);
        let cursor = Advance {
            cursor: &settled.cursor,
            system_identifier: self.system_identifier,
            relay: &self.relay,
        };
        within(async {
            if settled.parked.is_empty() {
                // One statement is a transaction, and one round trip.
                return cursor.append(&mut self.conn, &deliveries).await;
            }
            let mut tx = self.conn.begin().await?;
            for (at, code, reason) in &settled.parked {
                park(&mut tx, &window.entries[*at], code, reason).await?;
            }
            cursor.append(&mut tx, &deliveries).await?;
            tx.commit().await
        })
        .await
    }

    /// Gives up the lead at once instead of when the connection is noticed to be gone.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        within(self.conn.close()).await
    }

    /// In another cluster xids start anew, so neither the cursor's snapshot nor the rows' xids can be compared with
    /// what comes. Seq can: a row above `last_seq` was never put, whoever wrote it; one below was restored, and the
    /// old snapshot still says whether it had been put. Give the former the xid of this transaction, which the new
    /// cursor has not seen, and the latter one that every snapshot has.
    async fn reseed(&mut self, cursor: &Cursor) -> Result<Cursor, sqlx::Error> {
        let mut tx = self.conn.begin().await?;
        // Taken before this transaction has an xid: its own must not count as seen.
        let snapshot: String =
            sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&mut *tx).await?;
        let page = cursor.page.as_ref();
        sqlx::query(
            "update outbox.event
             set xid = case
                 when seq <= $4 and (pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
                     or coalesce(seq <= $3 and pg_visible_in_snapshot(xid, $2::text::pg_snapshot), false))
                 then '3'::xid8 else pg_current_xact_id() end",
        )
        .bind(&cursor.snapshot)
        .bind(page.map(|page| &page.snapshot))
        .bind(page.map(|page| page.seq))
        .bind(cursor.last_seq)
        .execute(&mut *tx)
        .await?;
        let seeded = Cursor { snapshot, page: None, last_seq: cursor.last_seq, floor_seq: 0 };
        let advance =
            Advance { cursor: &seeded, system_identifier: self.system_identifier, relay: &self.relay };
        advance.append(&mut tx, &Deliveries::default()).await?;
        tx.commit().await?;
        self.seen_seq = 0;
        Ok(seeded)
    }
}

async fn read(mut stream: impl Stream<Item = Result<Row, sqlx::Error>> + Unpin) -> Result<Rows, sqlx::Error> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = stream.try_next().await? {
        if bytes >= PAGE_BYTES_MAX {
            return Ok(Rows { rows, cut: true });
        }
        bytes += row.4.len();
        rows.push(row);
    }
    Ok(Rows { rows, cut: false })
}

fn entry((seq, id, name, key, payload, headers, occurred_at, ..): Row) -> Entry {
    Entry { seq, id: id.into(), name, key, payload, headers, occurred_at }
}
