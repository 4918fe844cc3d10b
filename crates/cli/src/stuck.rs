//! Texts about what blocks the tables and sequences of the outbox.

use outbox_postgres::operate::{Behind, Holder, StuckRing};

use crate::safe::literal;
use crate::show::name_or;

/// Corrects sequences, as the relay does when it takes the lead.
pub(crate) const MEND: &str = "select outbox.check_sequences(true);";

pub(crate) fn holder(holder: &Holder) -> String {
    match (&holder.prepared, holder.pid) {
        (Some(gid), _) => format!("the prepared transaction {}", literal(gid)),
        (None, pid) => {
            let (role, application) = (holder.role.as_deref(), holder.application.as_deref());
            let does = if holder.writes { "writes" } else { "reads" };
            format!("{}, which {does}", session(pid.unwrap_or_default(), role, application))
        }
    }
}

pub(crate) fn session(pid: i32, role: Option<&str>, application: Option<&str>) -> String {
    let role = name_or(role, "role not visible");
    format!("pid {pid} ({role}, {})", name_or(application, "no application name"))
}

pub(crate) fn ends(holder: &Holder) -> String {
    match (&holder.prepared, holder.pid) {
        (Some(gid), _) => ends_prepared(gid),
        (None, pid) => {
            let pid = pid.unwrap_or_default();
            format!("end it in its application, or:\nselect pg_terminate_backend({pid});")
        }
    }
}

/// Both ways to end a prepared transaction, one a line.
pub(crate) fn ends_prepared(gid: &str) -> String {
    let gid = literal(gid);
    format!("end it, one way or the other:\ncommit prepared {gid};\nrollback prepared {gid};")
}

/// What keeps a ring's slots in use, if no transaction does.
pub(crate) fn otherwise(ring: &StuckRing) -> &'static str {
    match ring.ring.as_str() {
        "event" => {
            "its slots hold events that are not put, or younger than --retention of relay: does a relay lead?"
        }
        _ => "its slots hold deliveries that no worker has settled: see the queues that wait",
    }
}

pub(crate) fn behind(Behind { sequence, stands_at, used }: &Behind) -> String {
    match sequence.strip_suffix("_slot") {
        Some(ring) => {
            format!("the pointer of the {ring} ring points at slot {stands_at}, and the last one is {used}")
        }
        None => {
            format!(
                "the sequence {sequence} is behind its table: it stands at {stands_at}, and {used} is used"
            )
        }
    }
}
