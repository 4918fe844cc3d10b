//! Rings that can't turn: every slot is in use, and the current one grows without end.

use outbox_transport::operate::OperateError;
use serde::Serialize;
use sqlx::query_as;

use super::Outbox;
use crate::from_row::from_row;

const HOLDERS_MAX: i64 = 20;
/// A ring is emptied in rounds, which take seconds.
const ROUNDS_SECONDS: f64 = 60.0;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StuckRing {
    pub ring: String,
    /// How long its pointer has not moved.
    pub seconds: f64,
    pub holders: Vec<Holder>,
}

/// A session or prepared transaction that keeps a slot from being emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub slot: i16,
    pub pid: Option<i32>,
    pub prepared: Option<String>,
    pub role: Option<String>,
    pub application: Option<String>,
    /// Whether it has written to the slot; otherwise it reads, as a dump does.
    pub writes: bool,
}

from_row!(Holder { slot, pid, prepared, role, application, writes });

impl Outbox {
    /// A ring turns once a slot is empty and its pointer has not moved for the configured time. Only the relay has that option.
    /// It never turns sooner, so the shortest time between two turns shows the value.
    pub async fn stuck_rings(&self) -> Result<Vec<StuckRing>, OperateError> {
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

    /// Transactions that hold a lock on a slot other than the current one. Our own take milliseconds. A prepared transaction
    /// has no pid, and is recognized by the lock on its own id.
    async fn holders(&self, ring: &str) -> Result<Vec<Holder>, OperateError> {
        let holders = query_as(
            "select r.slot, l.pid, p.gid as prepared, coalesce(a.usename, p.owner)::text as role, a.application_name as application,
                    bool_or(l.mode <> 'AccessShareLock') as writes
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
        self.database.all(holders.bind(ring).bind(HOLDERS_MAX)).await
    }
}
