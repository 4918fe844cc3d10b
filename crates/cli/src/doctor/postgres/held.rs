//! Locks and slots that others hold, and their effect on relay and publishers.

use outbox_postgres::operate::Outbox;
use outbox_postgres::within;
use sqlx::{PgConnection, query_as};

use crate::doctor::diagnosis::Diagnosis;
use crate::show::age;
use crate::stopped::Stopped;
use crate::stuck;

/// A transaction or lock that is held for longer than this is worth a line.
pub(super) const LONG_SECONDS: f64 = 60.0;
pub(super) const LISTED_MAX: i64 = 5;

/// Any role can take an advisory lock. The relay's session is recognized by its name and by its role's privileges, because any
/// session can have that name.
const HELD: &str = "select l.objid::bigint = 3, l.mode = 'ExclusiveLock', l.pid, a.usename::text, a.application_name
     from pg_locks as l
     left join pg_stat_activity as a on a.pid = l.pid
     left join pg_namespace as n on n.nspname = 'outbox'
     left join pg_class as c on c.relnamespace = n.oid and c.relname = 'leader'
     where l.locktype = 'advisory' and l.classid = 1869968994 and l.objsubid = 2 and l.granted and l.pid is not null
       and l.database = (select oid from pg_database where datname = current_database())
       and case
           when l.objid = 3 then
               a.application_name is distinct from 'outbox migrate'
               or n.oid is not null and not coalesce(pg_has_role(a.usesysid, n.nspowner, 'usage'), false)
           when l.objid = 1 and l.mode = 'ExclusiveLock' then
               coalesce(a.application_name, '') not in ('outbox relay (leader)', 'outbox relay (doorbell)')
               or not coalesce(has_table_privilege(a.usesysid, c.oid, 'update'), false)
           when l.objid = 1 then
               a.state = 'idle' or a.xact_start < clock_timestamp() - make_interval(secs => $1)
           end
     order by l.objid, l.pid limit $2";

/// Sessions that hold the doorbell's lock, or that of migrations, and should not. Publishers hold the doorbell's lock shared
/// until their transactions end.
pub(super) async fn locks(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
    let held: Vec<(bool, bool, i32, Option<String>, Option<String>)> =
        within(query_as(HELD).bind(LONG_SECONDS).bind(LISTED_MAX).fetch_all(conn)).await?;
    let findings = held.into_iter().map(|(migrations, exclusive, pid, role, application)| {
        let (lock, does) = match (migrations, exclusive) {
            (true, _) => (
                "the lock of migrations is held",
                "`relay migrate` waits for it, and gives up after a minute",
            ),
            (false, true) => (
                "the doorbell's lock is held",
                "publishers notify at each commit, and the relay never sleeps",
            ),
            (false, false) => ("the doorbell's lock is held, shared,", "the relay can't sleep, and polls"),
        };
        Diagnosis::warning(
            name,
            format!("{lock} by {}: {does}", stuck::session(pid, role.as_deref(), application.as_deref())),
            format!(
                "this session is not a relay's or a worker's, and its transaction is not short. End it in its application, or {}",
                stuck::ends_session(pid, role.as_deref())
            ),
        )
    });
    Ok(findings.collect())
}

/// Rings that can't turn, and the holders of their slots.
pub(super) async fn rings(outbox: &Outbox, name: &str) -> Result<Vec<Diagnosis>, Stopped> {
    let mut findings = Vec::new();
    for found in outbox.stuck_rings().await? {
        let ring = &found.ring;
        let hint = match found.holders.is_empty() {
            true => stuck::otherwise(&found),
            false => "end what holds its slots, as said below: the relay empties them within seconds",
        };
        findings.push(Diagnosis::warning(
            name,
            format!(
                "the {ring} ring can't turn: all of its slots are in use, the pointer stands where it is for {}, and the table grows",
                age(found.seconds)
            ),
            hint,
        ));
        findings.extend(found.holders.iter().map(|holder| {
            Diagnosis::warning(
                name,
                format!("slot {} of the {ring} ring is held by {}", holder.slot, stuck::holder(holder)),
                stuck::ends(holder),
            )
        }));
    }
    Ok(findings)
}
