//! Reads what became visible since the cursor. No read walks over the rows of open transactions, or over events after the
//! window's end: the relay can't bound either.

use crate::within_time;
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt};
use uuid::Uuid;

use super::row::{self, flaws, readable};
use super::{Cursor, Entry, Outbox, Page, Window};
use crate::Lent;
use crate::bus::PostgresBus;

/// A thousand of the largest events are a quarter of a gigabyte, so a page is bounded in bytes, too. One more event may
/// begin below the bound. The relay counts, because the server would take more time to count than to read.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The bound for writes into this database, where each subscriber's copy counts.
const COPIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An event's columns and its flaw, then the statement's snapshot and the sequence's value.
type Row = (
    i64,
    Uuid,
    String,
    Option<String>,
    String,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<String>,
    String,
    i64,
);

/// The rows of one read. It ends with the last row, at the requested number, or when the page's bytes are used up.
struct Rows {
    rows: Vec<Row>,
    more: bool,
    /// Whether the bytes were used up.
    heavy: bool,
}

impl Outbox<'_> {
    pub async fn next_window(&mut self, cursor: &Cursor, page_max: usize) -> Result<Window, sqlx::Error> {
        self.window(cursor, page_max, false).await
    }

    /// Unlocks the doorbell and reads, in one statement: the relay wakes, and an event must not wait for two answers. What
    /// commits between the two notifies.
    pub async fn wake(&mut self, cursor: &Cursor, page_max: usize) -> Result<Window, sqlx::Error> {
        self.window(cursor, page_max, true).await
    }

    async fn window(&mut self, cursor: &Cursor, page_max: usize, wakes: bool) -> Result<Window, sqlx::Error> {
        let window = match &cursor.page {
            Some(page) => self.next_page(cursor, page, page_max).await,
            None => self.next_snapshot(cursor, page_max, wakes).await,
        };
        self.timed(window, page_max)
    }

    /// Visible now and not visible at the cursor: begun since (xid >= xmax), or in flight at the time (xip). Of the
    /// transactions that began since, the oldest hundred that are still running are left out by their xid. Each may have
    /// written millions of rows, and every read would walk over them. The ranges between are read.
    async fn next_snapshot(
        &mut self,
        cursor: &Cursor,
        page_max: usize,
        wakes: bool,
    ) -> Result<Window, sqlx::Error> {
        let rows_max = self.appetite.rows(page_max);
        let query = sqlx::query_as(concat!(
            "with now as materialized (
                 select pg_current_snapshot() as snapshot, $1::text::pg_snapshot as before,
                        case when $3 then pg_advisory_unlock(1869968994, 1) end as unlocked
             )
             select ",
            readable!(),
            ", (select snapshot::text from now), (select last_value from outbox.event_seq)
             from (
                 (select e.*
                  from (select edge.xid as after, lead(edge.xid) over (order by edge.xid) as upto
                        from (select (pg_snapshot_xmax(before)::text::bigint - 1)::text::xid8 as xid from now
                              union all
                              select * from (
                                  select running.xid from now, pg_snapshot_xip(now.snapshot) as running (xid)
                                  where running.xid >= pg_snapshot_xmax(now.before) order by running.xid limit 100) as oldest
                              union all
                              select pg_snapshot_xmax(snapshot) from now) as edge) as gap
                  cross join lateral (
                      select * from outbox.event as e where e.xid > gap.after and e.xid < gap.upto
                      order by e.xid, e.seq limit $2) as e
                  where gap.upto::text::bigint - gap.after::text::bigint > 1
                  limit $2)
                 union all
                 (select e.*
                  from now, pg_snapshot_xip(now.before) as flown (xid)
                  cross join lateral (
                      select * from outbox.event as e where e.xid = flown.xid order by e.xid, e.seq limit $2) as e
                  where pg_visible_in_snapshot(flown.xid, now.snapshot)
                  limit $2)
             ) as e ",
            flaws!(),
            " order by seq"
        ))
        .bind(&cursor.snapshot)
        .bind(rows_max as i64)
        .bind(wakes);
        let mut lent = self.session.lend().await?;
        let read = read(query.fetch(lent.conn().await?), self.routes, rows_max);
        let Rows { rows, more, heavy } = within_time(self.appetite.patience(), read).await?;
        give_back(lent, more);

        let Some(first) = rows.first() else {
            return Ok(Window {
                entries: Vec::new(),
                complete: true,
                reached: 0,
                end: cursor.snapshot.clone(),
                end_seq: 0,
                floor_seq: cursor.floor_seq,
                end_floor_seq: cursor.floor_seq,
            });
        };
        let (end, end_seq, end_floor_seq) = (first.8.clone(), first.9, self.seen_seq);
        self.saw(end_seq)?;
        if more || rows.len() >= rows_max {
            self.appetite.read(rows.len(), heavy);
            // There may be more than fits: fix the window's end here, and read pages in seq order. The sequence was read after
            // the snapshot was taken, so no row that is visible in it has a higher seq.
            let page = Page { snapshot: end, seq: i64::MIN, end_seq, floor_seq: end_floor_seq };
            let (cursor, page) = self.bounded(cursor, page).await?;
            return self.next_page(&cursor, &page, page_max).await;
        }
        // As for pages, because an unsettled rest is read in pages.
        let floor_seq = cursor.floor_seq.min(first.0 - 1);
        let end_seq = rows.last().map_or(end_seq, |last| end_seq.max(last.0));
        let entries = rows.into_iter().map(entry).collect();
        Ok(Window { entries, complete: true, reached: end_seq, end, end_seq, floor_seq, end_floor_seq })
    }

    /// The next page within a fixed end, in seq order. Above the floor it is read by seq. Below the floor only what was in
    /// flight at the cursor can be new, and is read by xid. Otherwise, after a long transaction, every page would walk over all
    /// rows that others wrote since it began.
    async fn next_page(
        &mut self,
        cursor: &Cursor,
        page: &Page,
        page_max: usize,
    ) -> Result<Window, sqlx::Error> {
        let rows_max = self.appetite.rows(page_max);
        let above = page.seq.max(cursor.floor_seq);
        let upto = above.saturating_add(self.appetite.seqs()).min(page.end_seq);
        let query = sqlx::query_as(concat!(
            "select ",
            readable!(),
            ", '' as snapshot, (select last_value from outbox.event_seq)
             from (
                 (select * from outbox.event
                  where seq > $3 and seq <= $6
                    and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot))
                    and not pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))
                  order by seq limit $4)
                 union all
                 (select late.*
                  from pg_snapshot_xip((select $1::text::pg_snapshot)) as flown (xid)
                  cross join lateral (
                      select * from outbox.event as e
                      where e.xid = flown.xid and e.seq > $5 and e.seq <= $3
                      order by e.xid, e.seq limit $4) as late
                  where pg_visible_in_snapshot(flown.xid, (select $2::text::pg_snapshot)))
                 order by seq limit $4
             ) as e ",
            flaws!(),
            " order by seq"
        ))
        .bind(&cursor.snapshot)
        .bind(&page.snapshot)
        .bind(above)
        .bind(rows_max as i64 + 1)
        .bind(page.seq)
        .bind(upto);
        let mut lent = self.session.lend().await?;
        let read = read(query.fetch(lent.conn().await?), self.routes, rows_max);
        let Rows { rows, more, heavy } = within_time(self.appetite.patience(), read).await?;
        give_back(lent, more);
        if let Some(first) = rows.first() {
            self.saw(first.9)?;
        }
        self.appetite.read(rows.len(), heavy);
        let reached = if more { rows.last().map_or(page.seq, |row| row.0) } else { upto.max(above) };
        Ok(Window {
            entries: rows.into_iter().map(entry).collect(),
            complete: !more && upto >= page.end_seq,
            reached,
            end: page.snapshot.clone(),
            end_seq: page.end_seq,
            floor_seq: cursor.floor_seq,
            end_floor_seq: page.floor_seq,
        })
    }

    /// Checks the bounds of a window in pages against its rows: the end, and the floor below which only rows in flight can be
    /// new. A sequence that was set back makes both wrong, even if it has advanced far since.
    ///
    /// The index holds xid and seq, so no row is read if the bounds are right.
    async fn bounded(&mut self, cursor: &Cursor, page: Page) -> Result<(Cursor, Page), sqlx::Error> {
        let query = sqlx::query_as(
            "with w as materialized (
                 select $1::text::pg_snapshot as before, $2::text::pg_snapshot as upto
             ), gap as materialized (
                 select edge.xid as after, lead(edge.xid) over (order by edge.xid) as upto
                 from (select (pg_snapshot_xmax(before)::text::bigint - 1)::text::xid8 as xid from w
                       union all
                       select running.xid from w, pg_snapshot_xip(upto) as running (xid) where running.xid >= pg_snapshot_xmax(before)
                       union all
                       select pg_snapshot_xmax(upto) from w) as edge
             )
             select least((select min(e.seq) - 1 from gap cross join lateral (
                               select e.seq from outbox.event as e
                               where e.xid > gap.after and e.xid < gap.upto and e.seq <= $3) as e),
                          $3),
                    greatest((select max(e.seq) from gap cross join lateral (
                                  select e.seq from outbox.event as e
                                  where e.xid > gap.after and e.xid < gap.upto and e.seq > $4) as e),
                             (select max(e.seq) from w, pg_snapshot_xip(before) as flown (xid) cross join lateral (
                                  select e.seq from outbox.event as e where e.xid = flown.xid and e.seq > $4) as e
                              where pg_visible_in_snapshot(flown.xid, upto)),
                             $4)",
        )
        .bind(&cursor.snapshot)
        .bind(&page.snapshot)
        .bind(cursor.floor_seq)
        .bind(page.end_seq);
        let mut lent = self.session.lend().await?;
        let bounds = within_time(self.appetite.patience(), query.fetch_one(lent.conn().await?));
        let (floor_seq, end_seq): (i64, i64) = bounds.await?;
        lent.give_back();
        Ok((Cursor { floor_seq, ..cursor.clone() }, Page { end_seq, ..page }))
    }

    /// Notes the sequence's value. If it was set back, the next term corrects it, because the order of keys depends on it.
    fn saw(&mut self, seq: i64) -> Result<(), sqlx::Error> {
        let before = std::mem::replace(&mut self.seen_seq, seq);
        match seq < before {
            true => Err(sqlx::Error::Protocol(format!(
                "the sequence outbox.event_seq was set back from {before} to {seq} while this relay led"
            ))),
            false => Ok(()),
        }
    }
}

fn give_back(lent: Lent, more: bool) {
    if more { lent.give_back_unread() } else { lent.give_back() }
}

/// Never ends between two rows with one seq, which a sequence that was set back could draw twice: the next page begins above
/// that seq.
async fn read(
    mut stream: impl Stream<Item = Result<Row, sqlx::Error>> + Unpin,
    routes: Option<&PostgresBus>,
    rows_max: usize,
) -> Result<Rows, sqlx::Error> {
    let mut rows: Vec<Row> = Vec::new();
    let (mut bytes, mut copied) = (0, 0);
    while let Some(row) = stream.try_next().await? {
        let heavy = bytes >= PAGE_BYTES_MAX || copied >= COPIES_BYTES_MAX;
        if (heavy || rows.len() >= rows_max) && rows.last().is_some_and(|last| last.0 != row.0) {
            return Ok(Rows { rows, more: true, heavy });
        }
        let beside: usize = [&row.3, &row.5].into_iter().flatten().map(String::len).sum();
        let texts = row.2.len() + row.4.len() + beside;
        bytes += texts;
        let copies = routes.map_or(0, |routes| routes.copies(&row.2));
        copied = copied.saturating_add(texts.saturating_mul(copies));
        rows.push(row);
    }
    Ok(Rows { rows, more: false, heavy: false })
}

fn entry((seq, id, name, key, payload, headers, occurred_at, flaw, ..): Row) -> Entry {
    row::entry((seq, id, name, key, payload, headers, occurred_at, flaw))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use outbox_event_router::Router;

    use super::*;

    /// Guards promises 6 and 7: a page is also bounded by its copies, one for each subscriber of an event.
    #[tokio::test]
    async fn a_page_is_bounded_by_its_copies() {
        let mut yaml = "event:\n  - name: event_many\n    subscriber:\n".to_owned();
        for n in 0..20 {
            yaml += &format!("      - {{ id: Test/Take{n} }}\n");
        }
        let bus = PostgresBus::new("test", Router::parse("test.yaml", &yaml).unwrap());
        let payload = "x".repeat(4_000_000);
        for (name, together) in [("event_many", 1), ("event_unrouted", 3)] {
            let rows = (0..10).map(|seq| {
                let row = (
                    seq,
                    Uuid::nil(),
                    name.to_owned(),
                    None,
                    payload.clone(),
                    None,
                    None,
                    None,
                    String::new(),
                    0,
                );
                Ok::<Row, sqlx::Error>(row)
            });
            let read = read(stream::iter(rows), Some(&bus), 1000).await.unwrap();
            assert_eq!((read.rows.len(), read.more, read.heavy), (together, true, true), "{name}");
        }
    }

    /// Guards promises 6 and 7: a page is bounded by all texts of its rows.
    #[tokio::test]
    async fn a_page_is_bounded_by_all_texts() {
        let heavy = "x".repeat(4_000_000);
        for column in 0..4 {
            let rows = (0..10).map(|seq| {
                let text = |of: usize| if of == column { heavy.clone() } else { String::new() };
                let (key, headers) = (Some(text(1)), Some(text(3)));
                let row = (seq, Uuid::nil(), text(0), key, text(2), headers, None, None, String::new(), 0);
                Ok::<Row, sqlx::Error>(row)
            });
            let read = read(stream::iter(rows), None, 1000).await.unwrap();
            assert_eq!((read.rows.len(), read.more, read.heavy), (3, true, true), "{column}");
        }
    }
}
