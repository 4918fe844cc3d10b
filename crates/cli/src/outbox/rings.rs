//! Rings that can't turn: every slot is in use, and the one that is written to grows without end.

use std::fmt;

use serde::Serialize;
use sqlx::query_as;

use super::Outbox;
use crate::safe::{line, literal};
use crate::show::NAME_CHARS_MAX;
use crate::stopped::Stopped;

const HOLDERS_MAX: i64 = 20;
/// A ring is emptied in rounds, which take seconds.
const ROUNDS_SECONDS: f64 = 60.0;

/// A ring that should have turned, and could not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StuckRing {
    pub(crate) ring: String,
    /// How long its pointer has stood where it is.
    pub(crate) seconds: f64,
    pub(crate) holders: Vec<Holder>,
}

/// Who keeps a slot from being emptied: a session, or a prepared transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    pub(crate) slot: i16,
    pub(crate) pid: Option<i32>,
    pub(crate) prepared: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) application: Option<String>,
    /// It has written to the slot; else it reads, as a dump does.
    pub(crate) writes: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.prepared, self.pid) {
            (Some(gid), _) => write!(f, "the prepared transaction {}", literal(gid)),
            (None, pid) => {
                let name = |name: &Option<String>, none| {
                    let name = name.as_deref().filter(|name| !name.is_empty());
                    name.map_or_else(|| String::from(none), |name| line(name, NAME_CHARS_MAX))
                };
                write!(
                    f,
                    "pid {} ({}, {}), which {}",
                    pid.unwrap_or_default(),
                    name(&self.role, "role not visible"),
                    name(&self.application, "no application name"),
                    if self.writes { "writes" } else { "reads" }
                )
            }
        }
    }
}

impl Holder {
    /// The statements that end it.
    pub(crate) fn remedy(&self) -> String {
        match (&self.prepared, self.pid) {
            (Some(gid), _) => ends_prepared(gid),
            (None, pid) => {
                format!(
                    "end it in its application, or:\nselect pg_terminate_backend({});",
                    pid.unwrap_or_default()
                )
            }
        }
    }
}

/// Both ways to end a prepared transaction, one a line.
pub(crate) fn ends_prepared(gid: &str) -> String {
    let gid = literal(gid);
    format!("end it, one way or the other:\ncommit prepared {gid};\nrollback prepared {gid};")
}

impl Outbox {
    /// A ring turns as soon as a slot is empty and its pointer has stood long enough. How long that is the relay was told;
    /// it never turned sooner than that, so the shortest time between two turns shows it.
    pub(crate) async fn stuck_rings(&self) -> Result<Vec<StuckRing>, Stopped> {
        let stuck = query_as(
            "select r.ring, extract(epoch from clock_timestamp() - max(r.entered))::float8
             from (select s.ring, s.used, s.entered, s.entered - lag(s.entered) over (partition by s.ring order by s.entered) as gap
                   from (select r.ring, outbox.sane_time(r.entered_at) as entered,
                                not outbox.slot_is_empty(r.ring, r.slot) as used
                         from outbox.ring as r where r.ring in ('event', 'delivery')) as s) as r
             group by r.ring
             having bool_and(r.used)
                and clock_timestamp() - max(r.entered) > coalesce(min(r.gap), interval '0') + make_interval(secs => $1)
             order by r.ring desc",
        );
        let rows: Vec<(String, f64)> = self.database.all(stuck.bind(ROUNDS_SECONDS)).await?;
        let mut stuck = Vec::new();
        for (ring, seconds) in rows {
            let holders = self.holders(&ring).await?;
            stuck.push(StuckRing { ring, seconds, holders });
        }
        Ok(stuck)
    }

    /// Transactions that hold a lock on a slot other than the one that is written to. Our own take milliseconds. A prepared one has
    /// no pid, and is known by the lock on its own id.
    async fn holders(&self, ring: &str) -> Result<Vec<Holder>, Stopped> {
        type Row = (i16, Option<i32>, Option<String>, Option<String>, Option<String>, bool);
        let holders = query_as(
            "select r.slot, l.pid, p.gid, coalesce(a.usename, p.owner)::text, a.application_name, bool_or(l.mode <> 'AccessShareLock')
             from outbox.ring as r
             join pg_namespace as n on n.nspname = 'outbox'
             join pg_class as c on c.relnamespace = n.oid and c.relname = r.ring || '_' || r.slot
             join pg_locks as l on l.locktype = 'relation' and l.relation = c.oid and l.granted
                  and l.database = (select oid from pg_database where datname = current_database())
             left join pg_stat_activity as a on a.pid = l.pid
             left join pg_locks as own on l.pid is null and own.pid is null and own.locktype = 'transactionid'
                  and own.virtualtransaction = l.virtualtransaction
             left join pg_prepared_xacts as p on p.transaction = own.transactionid
             where r.ring = $1 and l.pid is distinct from pg_backend_pid()
               and r.slot <> case r.ring when 'event' then (select last_value from outbox.event_slot)
                                         else (select last_value from outbox.delivery_slot) end
               and (a.pid is null or a.application_name not like 'outbox %' or a.xact_start < clock_timestamp() - interval '1 minute')
             group by r.slot, l.pid, p.gid, a.usename, p.owner, a.application_name
             order by r.slot, l.pid limit $2",
        );
        let rows: Vec<Row> = self.database.all(holders.bind(ring).bind(HOLDERS_MAX)).await?;
        let holders = rows.into_iter().map(|(slot, pid, prepared, role, application, writes)| Holder {
            slot,
            pid,
            prepared,
            role,
            application,
            writes,
        });
        Ok(holders.collect())
    }
}

impl StuckRing {
    /// What keeps its slots where no transaction does.
    pub(crate) fn otherwise(&self) -> &'static str {
        match self.ring.as_str() {
            "event" => {
                "its slots hold events that are not put, or younger than --retention of relay: does a relay lead?"
            }
            _ => "its slots hold deliveries that no worker has settled: see the queues that wait",
        }
    }
}
