//! The outbox as an operator sees it: who leads, how far the relay is, what waits, and where one event is. On both
//! transports it lies in Postgres.

mod history;
mod parking;

pub(crate) use history::{Past, Span, Stored, time_of};
pub(crate) use parking::{Parked, ParkedFilter};

use chrono::{DateTime, Utc};
use event::EventId;
use serde::Serialize;
use sqlx::query_as;
use uuid::Uuid;

use crate::database::Database;
use crate::show::{COUNT_LIMIT, Count};
use crate::stopped::Stopped;

/// One database's outbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    database: Database,
}

/// The relay that leads.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Leader {
    pub(crate) application: String,
    pub(crate) pid: i32,
    /// Unknown where this role may not see it, or over a socket.
    pub(crate) address: Option<String>,
    pub(crate) connected_at: Option<DateTime<Utc>>,
}

/// How far the relay is: its newest cursor.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    snapshot: String,
    page_snapshot: Option<String>,
    page_seq: Option<i64>,
    floor_seq: i64,
    pub(crate) relay: String,
    pub(crate) at: DateTime<Utc>,
    /// It is of another cluster: this outbox was restored here, and the relay has not been up since.
    pub(crate) restored: bool,
}

/// What the relay has not put yet.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    pub(crate) events: Count,
    pub(crate) lag_seconds: f64,
    pub(crate) oldest: Option<EventId>,
}

/// A transaction that is open.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Transaction {
    pub(crate) pid: i32,
    pub(crate) application: String,
    pub(crate) user: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) began_at: Option<DateTime<Utc>>,
    pub(crate) age_seconds: Option<f64>,
    pub(crate) last_statement_at: Option<DateTime<Utc>>,
    /// It has written something; else it only holds a snapshot.
    pub(crate) writes: bool,
}

impl Outbox {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    pub(crate) fn source(&self) -> &str {
        self.database.name()
    }

    pub(crate) async fn leader(&self) -> Result<Option<Leader>, Stopped> {
        let row: Option<(Option<String>, i32, Option<String>, Option<DateTime<Utc>>)> = self
            .database
            .one(query_as(
                "select a.application_name, l.pid, host(a.client_addr) || ':' || a.client_port, a.backend_start
                 from outbox.leader as l join pg_stat_activity as a using (pid)
                 where a.datname = current_database() and a.application_name = 'outbox relay (leader)'",
            ))
            .await?;
        Ok(row.map(|(application, pid, address, connected_at)| Leader {
            application: application.unwrap_or_default(),
            pid,
            address,
            connected_at,
        }))
    }

    pub(crate) async fn cursor(&self) -> Result<Cursor, Stopped> {
        type Row = (String, Option<String>, Option<i64>, i64, String, DateTime<Utc>, bool);
        let row: Option<Row> = self
            .database
            .one(query_as(
                "select snapshot, page_snapshot, page_seq, floor_seq, relay, at, not ours
                 from outbox.newest_cursor",
            ))
            .await?;
        let (snapshot, page_snapshot, page_seq, floor_seq, relay, at, restored) = row.ok_or_else(|| {
            Stopped::unreachable(
                format!("{}: outbox.cursor is empty", self.source()),
                "somebody truncated it: restore it from a backup, or run `relay migrate` on an empty schema",
            )
        })?;
        Ok(Cursor { snapshot, page_snapshot, page_seq, floor_seq, relay, at, restored })
    }

    /// The window as the relay would read it next, by the same indexes: by xid, or, while a large window is put page by
    /// page, by seq from the page on. `before` counts only what stands before that seq.
    pub(crate) async fn backlog(&self, cursor: &Cursor, before: Option<i64>) -> Result<Backlog, Stopped> {
        let before = before.unwrap_or(i64::MAX);
        let statement = if cursor.page_snapshot.is_none() {
            query_as(
                "select count(*), (array_agg(id order by seq))[1],
                        coalesce(extract(epoch from clock_timestamp() - min(occurred_at)), 0)::float8
                 from (
                     (select id, seq, occurred_at from outbox.event
                      where xid >= (select pg_snapshot_xmax($1::text::pg_snapshot)) and seq < $2
                      order by xid, seq limit $3)
                     union all
                     (select id, seq, occurred_at from outbox.event
                      where xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot))) and seq < $2 limit $3)
                 ) as fresh",
            )
            .bind(&cursor.snapshot)
            .bind(before)
            .bind(COUNT_LIMIT)
        } else {
            query_as(
                "select count(*), (array_agg(id order by seq))[1],
                        coalesce(extract(epoch from clock_timestamp() - min(occurred_at)), 0)::float8
                 from (
                     (select id, seq, occurred_at from outbox.event
                      where seq > greatest($5, $6) and seq < $2
                        and not pg_visible_in_snapshot(xid, (select $1::text::pg_snapshot))
                      order by seq limit $3)
                     union all
                     (select late.id, late.seq, late.occurred_at
                      from (select pg_snapshot_xip($1::text::pg_snapshot) as xid) as flying
                      cross join lateral (
                          select * from outbox.event as e
                          where e.xid = flying.xid and e.seq > $5 and e.seq <= $6 and e.seq < $2
                          order by e.xid, e.seq limit $3) as late)
                     union all
                     (select late.id, late.seq, late.occurred_at
                      from (select pg_snapshot_xip($4::text::pg_snapshot) as xid) as flying
                      cross join lateral (
                          select * from outbox.event as e
                          where e.xid = flying.xid and e.seq <= $5 and e.seq < $2
                          order by e.xid, e.seq limit $3) as late)
                 ) as fresh",
            )
            .bind(&cursor.snapshot)
            .bind(before)
            .bind(COUNT_LIMIT)
            .bind(&cursor.page_snapshot)
            .bind(cursor.page_seq)
            .bind(cursor.floor_seq)
        };
        let (events, oldest, lag_seconds): (i64, Option<Uuid>, f64) =
            self.database.one(statement).await?.unwrap_or_default();
        Ok(Backlog {
            events: Count::new(events),
            lag_seconds: lag_seconds.max(0.0),
            oldest: oldest.map(EventId::from),
        })
    }

    /// Who has a transaction open that has written (`writing`), or that anything waits for; the oldest first. Our own
    /// commands look at several things at a time, and are not meant.
    pub(crate) async fn transactions(&self, writing: bool, limit: i64) -> Result<Vec<Transaction>, Stopped> {
        type Row = (
            i32,
            Option<String>,
            Option<String>,
            Option<String>,
            Option<DateTime<Utc>>,
            Option<f64>,
            Option<DateTime<Utc>>,
            bool,
        );
        let rows: Vec<Row> = self
            .database
            .all(
                query_as(
                    "select pid, application_name, usename::text, state, xact_start,
                            extract(epoch from clock_timestamp() - xact_start)::float8, query_start,
                            backend_xid is not null
                     from pg_stat_activity
                     where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
                       and application_name <> 'outbox command'
                       and (backend_xid is not null or backend_xmin is not null and not $1)
                     order by xact_start nulls last, pid limit $2",
                )
                .bind(writing)
                .bind(limit),
            )
            .await?;
        let transactions = rows.into_iter().map(
            |(pid, application, user, state, began_at, age_seconds, last_statement_at, writes)| Transaction {
                pid,
                application: application.unwrap_or_default(),
                user,
                state,
                began_at,
                age_seconds,
                last_statement_at,
                writes,
            },
        );
        Ok(transactions.collect())
    }

    /// All tables of the schema with their indexes, on disk.
    pub(crate) async fn bytes(&self) -> Result<i64, Stopped> {
        let row: Option<(i64,)> = self
            .database
            .one(query_as(
                "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
                 from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
                 where n.nspname = 'outbox' and c.relkind = 'r'",
            ))
            .await?;
        Ok(row.map_or(0, |(bytes,)| bytes))
    }
}
