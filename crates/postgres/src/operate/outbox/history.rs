//! Published events, put or not: found by id, and read again for a replay.

use chrono::{DateTime, TimeDelta, Utc};
use outbox_event::EventId;
use outbox_transport::Entry;
use outbox_transport::operate::{At, OperateError};
use serde::Serialize;
use sqlx::query_as;
use uuid::Uuid;

use super::{Cursor, Outbox};
use crate::from_row::from_row;
use crate::operate::search::{Seqs, known, narrow};
use crate::outbox::row::{self, flaws, readable};

/// How much the clock that made an id may differ from the database's. The values are tried in order.
const CLOCKS_DIFFER: [TimeDelta; 2] = [TimeDelta::seconds(10), TimeDelta::minutes(10)];
/// `occurred_at` follows seq except for concurrent transactions.
const NEIGHBOURS: TimeDelta = TimeDelta::seconds(60);
const PER_PAGE: i64 = 100;

/// An event's row, without its payload.
#[derive(Debug, Clone, Serialize)]
pub struct Stored {
    #[serde(skip)]
    pub(super) xid: String,
    /// The transaction that wrote the row here. It differs from `xid` if the row was copied from another server.
    #[serde(skip)]
    pub(super) came: String,
    pub name: String,
    pub key: Option<String>,
    pub payload_bytes: i32,
    pub occurred_at: At,
    pub seq: i64,
}

from_row!(Stored { seq, xid, came, name, key, payload_bytes, occurred_at });

/// A selection of past events.
#[derive(Debug, Clone)]
pub struct Span {
    pub seqs: Seqs,
    /// Of the first seq, only ids above this one, because a sequence that was set back draws a seq twice.
    pub after: Option<Uuid>,
    pub id: Option<EventId>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub name: Option<String>,
}

impl Span {
    pub fn one(seq: i64, id: EventId) -> Self {
        Self {
            seqs: Seqs { first: seq, last: seq },
            after: None,
            id: Some(id),
            since: None,
            until: None,
            name: None,
        }
    }
}

/// The name of events: how many are put, not put yet, and parked.
type Tally = (String, i64, i64, i64);

impl Outbox {
    /// Finds an event by its id. An index on ids would cost every publisher. The id contains its time, and seqs follow time. A
    /// parked event that was retried is there twice; the last one counts.
    pub async fn find(&self, id: EventId) -> Result<Option<Stored>, OperateError> {
        let Some(all) = self.ends().await? else { return Ok(None) };
        if let Some(made_at) = time_of(id) {
            for tolerance in CLOCKS_DIFFER {
                let seqs =
                    narrow(all, made_at - tolerance, made_at + tolerance, |seqs| self.times(seqs)).await?;
                let found = self.scan(seqs, id, false).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            if all.last - all.first > 100_000 {
                (self.say)(&format!(
                    "{}: no such event within 10 minutes of the time in its id: looking through all of the outbox",
                    self.source()
                ));
            }
        } else {
            (self.say)(&format!(
                "{}: {id} is no version 7 UUID and carries no time: looking through all of the outbox",
                self.source()
            ));
        }
        self.scan(all, id, true).await
    }

    async fn scan(&self, seqs: Seqs, id: EventId, all: bool) -> Result<Option<Stored>, OperateError> {
        let scan = query_as(
            "select e.seq, e.xid::text as xid,
                    case when e.written_by = e.xid::text::bigint % 4294967296 then e.xid::text
                         else (m.current - (m.current - e.written_by) % 4294967296)::text end as came,
                    left(e.name, 128) as name, left(e.key, 512) as key, e.payload_bytes, e.occurred_at
             from outbox.event_shown as e, (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as current) as m
             where e.seq between $1 and $2 and e.id = $3 order by e.seq desc limit 1",
        );
        let scan = scan.bind(seqs.first).bind(seqs.last).bind(id.as_uuid());
        let found = if all { self.database.scan(scan).await? } else { self.database.all(scan).await? };
        Ok(found.into_iter().next())
    }

    async fn ends(&self) -> Result<Option<Seqs>, OperateError> {
        let ends: Option<(Option<i64>, Option<i64>)> = self
            .database
            .one(query_as(
                "select (select seq from outbox.event order by seq limit 1),
                        (select seq from outbox.event order by seq desc limit 1)",
            ))
            .await?;
        Ok(ends.and_then(|(first, last)| Some(Seqs { first: first?, last: last? })))
    }

    async fn times(&self, seqs: Vec<i64>) -> Result<Vec<(i64, DateTime<Utc>)>, OperateError> {
        let times = query_as(
            "select e.seq, e.occurred_at from unnest($1::bigint[]) with ordinality as k (seq, n)
             cross join lateral (
                 select e.seq, e.occurred_at from outbox.event as e where e.seq >= k.seq order by e.seq limit 1) as e
             order by k.n",
        );
        Ok(known(self.database.all(times.bind(seqs)).await?))
    }

    /// The time of the oldest event; `None` without an event or a valid time.
    pub async fn oldest(&self) -> Result<Option<DateTime<Utc>>, OperateError> {
        let oldest = query_as("select occurred_at from outbox.event order by seq limit 1");
        Ok(self.database.one(oldest).await?.and_then(|(at,): (At,)| at.known()))
    }

    /// The seqs of a time's events; `None` if there are no events at all.
    pub async fn span(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        name: Option<String>,
    ) -> Result<Option<Span>, OperateError> {
        let Some(all) = self.ends().await? else { return Ok(None) };
        let seqs = narrow(all, since - NEIGHBOURS, until + NEIGHBOURS, |seqs| self.times(seqs)).await?;
        Ok(Some(Span { seqs, after: None, id: None, since: Some(since), until: Some(until), name }))
    }

    /// The events of each name in one piece of a span: put, not put yet, parked.
    pub async fn tally(&self, cursor: &Cursor, span: &Span) -> Result<Vec<Tally>, OperateError> {
        let tally = query_as(
            "select left(e.name, 128),
                    count(*) filter (where e.put and not e.parked), count(*) filter (where not e.put),
                    count(*) filter (where e.put and e.parked)
             from (
                 select name,
                        pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))
                        or coalesce(seq <= $3 and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot)), false) as put,
                        exists (select from outbox.parked as p where p.seq = event.seq and p.id = event.id) as parked
                 from outbox.event as event
                 where seq between $4 and $5 and ($6::timestamptz is null or occurred_at >= $6)
                   and ($7::timestamptz is null or occurred_at < $7) and ($8::text is null or name = $8)
                   and ($9::uuid is null or id = $9)
             ) as e group by 1 order by 1",
        );
        let tally = tally
            .bind(&cursor.snapshot)
            .bind(&cursor.page_snapshot)
            .bind(cursor.page_seq)
            .bind(span.seqs.first)
            .bind(span.seqs.last)
            .bind(span.since)
            .bind(span.until)
            .bind(&span.name)
            .bind(span.id.map(EventId::as_uuid));
        self.database.all(tally).await
    }

    /// The next events of a span that were put, and were not parked.
    pub async fn page(&self, cursor: &Cursor, span: &Span) -> Result<Vec<Entry>, OperateError> {
        let page = query_as(concat!(
            "select ",
            readable!(),
            " from (
                 select * from outbox.event as event
                 where seq between $4 and $5 and ($6::timestamptz is null or occurred_at >= $6)
                   and ($7::timestamptz is null or occurred_at < $7) and ($8::text is null or name = $8)
                   and ($9::uuid is null or id = $9)
                   and (pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))
                        or coalesce(seq <= $3 and pg_visible_in_snapshot(xid, (select $2::text::pg_snapshot)), false))
                   and not exists (select from outbox.parked as p where p.seq = event.seq and p.id = event.id)
                   and (seq > $4 or $11::uuid is null or id > $11)
                 order by seq, id limit $10) as e ",
            flaws!(),
            " order by e.seq, e.id"
        ));
        let page = page
            .bind(&cursor.snapshot)
            .bind(&cursor.page_snapshot)
            .bind(cursor.page_seq)
            .bind(span.seqs.first)
            .bind(span.seqs.last)
            .bind(span.since)
            .bind(span.until)
            .bind(&span.name)
            .bind(span.id.map(EventId::as_uuid))
            .bind(PER_PAGE)
            .bind(span.after);
        let rows: Vec<row::Columns> = self.database.all(page).await?;
        Ok(rows.into_iter().map(row::entry).collect())
    }
}

/// The time in a version 7 UUID.
pub fn time_of(id: EventId) -> Option<DateTime<Utc>> {
    let id = id.as_uuid();
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
