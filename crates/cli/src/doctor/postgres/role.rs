//! What the role that was given may do, against what relay and worker do.

use outbox_schema::within;
use sqlx::{PgConnection, query_as, query_scalar};

use crate::doctor::Finding;

/// Privileges on tables, their partitions included; `%` stands for a slot.
const RELAY_TABLES: [(&str, &str); 14] = [
    ("migration", "select"),
    ("event", "select, insert, update"),
    ("event_%", "select, truncate"),
    ("cursor", "select, insert"),
    ("cursor_%", "select, truncate"),
    ("parked", "select, insert"),
    ("queue", "select, insert"),
    ("delivery", "select, insert"),
    ("delivery_%", "select, truncate"),
    ("claim", "select, insert, update, delete"),
    ("retry", "select, insert, delete"),
    ("dead_letter", "select, insert, delete"),
    ("dedup", "select, delete"),
    ("dedup_%", "select, truncate"),
];
const WORKER_TABLES: [(&str, &str); 7] = [
    ("migration", "select"),
    ("queue", "select, insert"),
    ("delivery", "select"),
    ("claim", "select, insert, update, delete"),
    ("retry", "select, insert, update, delete"),
    ("dead_letter", "select, insert"),
    ("dedup", "select, insert, update"),
];
const RELAY_SEQUENCES: [(&str, &str); 8] = [
    ("event_seq", "select"),
    ("event_slot", "select, update"),
    ("cursor_id", "usage"),
    ("cursor_slot", "select, update"),
    ("delivery_seq", "usage"),
    ("delivery_slot", "select, update"),
    ("claim_id", "usage"),
    ("heartbeat", "usage, select"),
];
const WORKER_SEQUENCES: [(&str, &str); 1] = [("claim_id", "usage")];
const RELAY_FUNCTIONS: [&str; 10] = [
    "cursor_now",
    "slot_in_use",
    "slot_is_empty",
    "truncate_slot",
    "truncate_dedup",
    "turn",
    "spill",
    "requeue",
    "recover",
    "token",
];
const WORKER_FUNCTIONS: [&str; 7] =
    ["receive", "receive_due", "requeue", "recover", "token", "complete", "dedup_slot"];

struct Needs {
    program: &'static str,
    tables: &'static [(&'static str, &'static str)],
    sequences: &'static [(&'static str, &'static str)],
    functions: &'static [&'static str],
}

const RELAY: Needs = Needs {
    program: "relay",
    tables: &RELAY_TABLES,
    sequences: &RELAY_SEQUENCES,
    functions: &RELAY_FUNCTIONS,
};
const WORKER: Needs = Needs {
    program: "worker",
    tables: &WORKER_TABLES,
    sequences: &WORKER_SEQUENCES,
    functions: &WORKER_FUNCTIONS,
};

/// A role that is enough for one of them is meant for that one.
pub(super) async fn look(conn: &mut PgConnection, name: &str) -> Result<Vec<Finding>, sqlx::Error> {
    let role: String = within(query_scalar("select current_user::text").fetch_one(&mut *conn)).await?;
    let (relay, worker) = (missing(conn, &role, &RELAY).await?, missing(conn, &role, &WORKER).await?);
    let of = |needs: &Needs, missing: &[String], other: &[String]| {
        let program = needs.program;
        match (missing.is_empty(), other.is_empty()) {
            (true, _) => Finding::ok(name, format!("{role} may do what {program} does")),
            (false, true) => Finding::warning(
                name,
                format!("{role} can't be the role of {program}"),
                format!("unless that has another: {}", missing.join(" ")),
            ),
            (false, false) => {
                Finding::error(name, format!("{role} can't be the role of {program}"), missing.join("\n"))
            }
        }
    };
    Ok(vec![of(&RELAY, &relay, &worker), of(&WORKER, &worker, &relay)])
}

/// The grants that are missing.
async fn missing(conn: &mut PgConnection, role: &str, needs: &Needs) -> Result<Vec<String>, sqlx::Error> {
    let usage: bool =
        within(query_scalar("select has_schema_privilege('outbox', 'usage')").fetch_one(&mut *conn)).await?;
    let mut grants = Vec::new();
    if !usage {
        grants.push(format!("grant usage on schema outbox to {role};"));
    }
    let (patterns, privileges) = columns(needs.tables);
    let tables: Vec<(String, String)> = within(
        query_as(
            "select p.privilege, string_agg('outbox.' || c.relname, ', ' order by c.relname)
             from unnest($1::text[], $2::text[]) as k (pattern, privilege)
             join pg_class as c on c.relname like k.pattern and c.relkind in ('r', 'p')
             join pg_namespace as n on n.oid = c.relnamespace and n.nspname = 'outbox'
             cross join lateral (select k.privilege) as p
             where not has_table_privilege(c.oid, p.privilege)
             group by p.privilege order by p.privilege",
        )
        .bind(patterns)
        .bind(privileges)
        .fetch_all(&mut *conn),
    )
    .await?;
    grants.extend(
        tables.into_iter().map(|(privilege, tables)| format!("grant {privilege} on {tables} to {role};")),
    );
    let (names, privileges) = columns(needs.sequences);
    let sequences: Vec<(String, String)> = within(
        query_as(
            "select k.privilege, string_agg('outbox.' || c.relname, ', ' order by c.relname)
             from unnest($1::text[], $2::text[]) as k (name, privilege)
             join pg_class as c on c.relname = k.name and c.relkind = 'S'
             join pg_namespace as n on n.oid = c.relnamespace and n.nspname = 'outbox'
             where not has_sequence_privilege(c.oid, k.privilege)
             group by k.privilege order by k.privilege",
        )
        .bind(names)
        .bind(privileges)
        .fetch_all(&mut *conn),
    )
    .await?;
    grants.extend(
        sequences
            .into_iter()
            .map(|(privilege, names)| format!("grant {privilege} on sequence {names} to {role};")),
    );
    let functions: Option<String> = within(
        query_scalar(
            "select string_agg('outbox.' || p.proname, ', ' order by p.proname)
             from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
             where n.nspname = 'outbox' and p.proname = any ($1) and not has_function_privilege(p.oid, 'execute')",
        )
        .bind(needs.functions)
        .fetch_one(conn),
    )
    .await?;
    grants.extend(functions.map(|names| format!("grant execute on function {names} to {role};")));
    Ok(grants)
}

/// One row for each name and privilege.
fn columns(needs: &[(&'static str, &'static str)]) -> (Vec<&'static str>, Vec<&'static str>) {
    needs
        .iter()
        .flat_map(|(name, privileges)| privileges.split(", ").map(move |privilege| (*name, privilege)))
        .unzip()
}
