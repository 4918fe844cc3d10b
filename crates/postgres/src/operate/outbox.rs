//! The outbox for an operator: the leader, the cursor, the waiting events, and the place of one event. On both transports it is
//! in Postgres.

mod backlog; // events that are not put yet
mod history; // published events
mod names; // names of events, known and unknown
mod parking; // events that the bus refused
mod putting; // when an event was put
mod rings; // transactions that keep rings from turning
mod sequences; // sequences that are behind their tables

pub use backlog::Backlog;
pub use history::{Span, Stored, time_of};
pub use names::UnknownEvent;
pub use parking::{Dropped, Parked, ParkedFilter};
pub use putting::Putting;
pub use rings::{Holder, StuckRing};
pub use sequences::Behind;

use outbox_transport::operate::{At, OperateError, Say};
use serde::Serialize;
use sqlx::query_as;

use crate::from_row::from_row;
use crate::operate::database::Database;

#[derive(Debug)]
pub struct Outbox {
    pub(super) database: Database,
    say: Say,
}

#[derive(Debug, Clone, Serialize)]
pub struct Leader {
    pub application: String,
    pub pid: i32,
    /// Unknown if this role may not see it, or over a socket.
    pub address: Option<String>,
    pub connected_at: Option<At>,
}

from_row!(Leader { application, pid, address, connected_at });

/// The relay's newest cursor.
#[derive(Debug, Clone)]
pub struct Cursor {
    snapshot: String,
    page_snapshot: Option<String>,
    page_seq: Option<i64>,
    page_end_seq: Option<i64>,
    floor_seq: i64,
    pub relay: String,
    pub at: At,
    /// Whether its transaction ids are this server's. If not, the outbox was restored, copied or replicated, and no relay has
    /// led since: the cursor says nothing of what was put.
    pub ours: bool,
}

from_row!(Cursor { snapshot, page_snapshot, page_seq, page_end_seq, floor_seq, relay, at, ours });

#[derive(Debug, Clone, Serialize)]
pub struct Transaction {
    pub pid: i32,
    pub application: String,
    pub user: Option<String>,
    pub state: Option<String>,
    pub began_at: Option<At>,
    pub age_seconds: Option<f64>,
    pub last_statement_at: Option<At>,
    /// Whether it has written; otherwise it only holds a snapshot.
    pub writes: bool,
}

from_row!(Transaction { pid, application, user, state, began_at, age_seconds, last_statement_at, writes });

impl Outbox {
    /// `say` reports slow steps to the operator.
    pub fn new(database: Database, say: Say) -> Self {
        Self { database, say }
    }

    pub fn source(&self) -> &str {
        self.database.name()
    }

    pub async fn leader(&self) -> Result<Option<Leader>, OperateError> {
        let leader = query_as(
            "select coalesce(a.application_name, '') as application, l.pid,
                    host(a.client_addr) || ':' || a.client_port as address, a.backend_start as connected_at
             from outbox.leader as l join pg_stat_activity as a using (pid)
             where a.datname = current_database() and a.application_name = 'outbox relay (leader)'",
        );
        self.database.one(leader).await
    }

    pub async fn cursor(&self) -> Result<Cursor, OperateError> {
        let cursor = query_as(
            "select snapshot, page_snapshot, page_seq, page_end_seq, floor_seq, relay, at, ours
             from outbox.newest_cursor",
        );
        self.database.one(cursor).await?.ok_or_else(|| {
            OperateError::unreachable(
                format!("{}: outbox.cursor is empty", self.source()),
                "it was truncated: restore it from a backup, or run `relay migrate` on an empty schema",
            )
        })
    }

    /// `None` if this role sees when the transactions of other roles began. Otherwise its own name, for a grant.
    pub async fn blind_role(&self) -> Result<Option<String>, OperateError> {
        let look = query_as("select current_user::text where not pg_has_role('pg_read_all_stats', 'usage')");
        Ok(self.database.one(look).await?.map(|(role,)| role))
    }

    /// Open transactions, oldest first: those that have written, and without `writing` also those that hold a snapshot. The
    /// command's own sessions are left out. So are those of relays and workers, which publish nothing, except without `writing`
    /// one that is open for a minute. Of other roles' sessions a role may see neither kind nor time.
    pub async fn transactions(&self, writing: bool, limit: i64) -> Result<Vec<Transaction>, OperateError> {
        let transactions = query_as(
            "select pid, coalesce(application_name, '') as application, usename::text as user, state, xact_start as began_at,
                    extract(epoch from clock_timestamp() - xact_start)::float8 as age_seconds,
                    query_start as last_statement_at, backend_xid is not null as writes
             from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and usename is not null
               and coalesce(backend_type, 'client backend') = 'client backend'
               and application_name <> 'outbox command'
               and (application_name !~ '^outbox (relay|worker|doctor|migrate)'
                    or not $1 and xact_start < clock_timestamp() - interval '1 minute')
               and (backend_xid is not null or backend_xmin is not null and not $1)
             order by xact_start nulls last, pid limit $2",
        );
        self.database.all(transactions.bind(writing).bind(limit)).await
    }

    /// The names of prepared transactions, and when they were prepared, newest first. No session shows them.
    pub async fn prepared(&self, limit: i64) -> Result<Vec<(String, At)>, OperateError> {
        let prepared = query_as(
            "select gid, prepared from pg_prepared_xacts where database = current_database()
             order by prepared desc limit $1",
        );
        self.database.all(prepared.bind(limit)).await
    }

    /// The size of the schema's tables with their indexes, on disk.
    pub async fn bytes(&self) -> Result<i64, OperateError> {
        let bytes = query_as(
            "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
             from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
             where n.nspname = 'outbox' and c.relkind = 'r'",
        );
        Ok(self.database.one(bytes).await?.map_or(0, |(bytes,)| bytes))
    }
}
