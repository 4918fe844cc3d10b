//! Texts about what blocks the tables and sequences of the outbox.

use outbox_postgres::operate::{Behind, Holder, StuckRing};

use crate::safe::{identifier, literal};
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
    let role = holder.role.as_deref();
    match (&holder.prepared, holder.pid) {
        (Some(gid), _) => ends_prepared(gid, role),
        (None, pid) => {
            format!("end it in its application, or {}", ends_session(pid.unwrap_or_default(), role))
        }
    }
}

/// The statement that ends a session, and who may run it, because most roles may end only their own sessions.
pub(crate) fn ends_session(pid: i32, role: Option<&str>) -> String {
    let role = name_or(role, "its own role");
    format!(
        "as {role}, or as a role with pg_signal_backend (a superuser's session: as a superuser):\nselect pg_terminate_backend({pid});"
    )
}

/// Both ways to end a prepared transaction, one a line, and who may do it.
pub(crate) fn ends_prepared(gid: &str, owner: Option<&str>) -> String {
    let (gid, owner) = (literal(gid), name_or(owner, "its owner"));
    format!(
        "end it, one way or the other, as {owner} or a superuser:\ncommit prepared {gid};\nrollback prepared {gid};"
    )
}

/// What stands in place of what a role may not see.
pub(crate) fn not_visible(role: &str) -> String {
    format!("not visible to this role (grant pg_read_all_stats to {})", identifier(role))
}

/// What an open transaction delays. A reader delays nothing of ours: slots are truncated under an old snapshot.
pub(crate) fn delays(writes: bool) -> &'static str {
    if writes {
        "its own events wait until it ends, and so does a slot that it has written to"
    } else {
        "it only reads and holds nothing of the outbox up, but vacuum waits for it in your own tables"
    }
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
