//! The privileges of the given role, compared with those that relay, worker, operator and viewer need.

mod needs; // the needs of each

use outbox_postgres::within;
use sqlx::{PgConnection, query_as, query_scalar};

use crate::doctor::diagnosis::Diagnosis;
use crate::safe::{identifier, line};
use crate::show::NAME_CHARS_MAX;
use needs::{Needs, OPERATOR, RELAY, VIEWER, WORKER};

/// A role that has enough for one of them is meant for that one.
pub(super) async fn look(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
    let role: String = within(query_scalar("select current_user::text").fetch_one(&mut *conn)).await?;
    let (relay, worker) = (missing(conn, &role, &RELAY).await?, missing(conn, &role, &WORKER).await?);
    let operator = missing(conn, &role, &OPERATOR).await?;
    let shown = line(&role, NAME_CHARS_MAX);
    let viewer = missing(conn, &role, &VIEWER).await?;
    let hands = [(&OPERATOR, &operator), (&VIEWER, &viewer)];
    let hand = hands.into_iter().find(|(_, missing)| missing.is_empty()).map(|(needs, _)| needs.program);
    if let (Some(program), false, false) = (hand, relay.is_empty(), worker.is_empty()) {
        return Ok(vec![
            Diagnosis::ok(name, format!("{shown} may do what {program} does")),
            Diagnosis::skipped(
                name,
                "the roles of relay and worker are not looked at",
                "run this as each of them: DATABASE_URL as relay and worker have it",
            ),
        ]);
    }
    let of = |needs: &Needs, missing: &[String], other: &[String]| {
        let program = needs.program;
        match (missing.is_empty(), other.is_empty()) {
            (true, _) => Diagnosis::ok(name, format!("{shown} may do what {program} does")),
            (false, true) => Diagnosis::warning(
                name,
                format!("{shown} can't be the role of {program}"),
                format!("unless that has another:\n{}", missing.join("\n")),
            ),
            (false, false) => {
                Diagnosis::error(name, format!("{shown} can't be the role of {program}"), missing.join("\n"))
            }
        }
    };
    Ok(vec![of(&RELAY, &relay, &worker), of(&WORKER, &worker, &relay)])
}

/// Whether the remaining checks are possible: a worker may not read the outbox.
pub(super) async fn reads_the_outbox(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    within(
        query_scalar(
            "select has_schema_privilege(n.oid, 'usage') and bool_and(has_any_column_privilege(c.oid, 'select'))
             from pg_namespace as n join pg_class as c on c.relnamespace = n.oid
             where n.nspname = 'outbox' and c.relname in ('event', 'cursor', 'newest_cursor', 'leader', 'ring', 'parked', 'event_seq')
             group by n.oid",
        )
        .fetch_one(conn),
    )
    .await
}

async fn missing(conn: &mut PgConnection, role: &str, needs: &Needs) -> Result<Vec<String>, sqlx::Error> {
    let to = identifier(role);
    let usage: bool =
        within(query_scalar("select has_schema_privilege('outbox', 'usage')").fetch_one(&mut *conn)).await?;
    let mut grants = Vec::new();
    if !usage {
        grants.push(format!("grant usage on schema outbox to {to};"));
    }
    let (patterns, columns, privileges) = needs.tables();
    let tables: Vec<(String, String)> = within(
        query_as(
            "select k.privilege || k.columns, string_agg('outbox.' || c.relname, ', ' order by c.relname)
             from unnest($1::text[], $2::text[], $3::text[]) as k (pattern, columns, privilege)
             join pg_class as c on c.relname ~ ('^(' || k.pattern || ')$') and c.relkind in ('r', 'p', 'v')
             join pg_namespace as n on n.oid = c.relnamespace and n.nspname = 'outbox'
             where not case k.columns
                 when '' then has_table_privilege(c.oid, k.privilege)
                 else (select bool_and(has_column_privilege(c.oid, m[1], k.privilege))
                       from regexp_matches(k.columns, '[a-z_]+', 'g') as m) end
             group by 1 order by 1",
        )
        .bind(patterns)
        .bind(columns)
        .bind(privileges)
        .fetch_all(&mut *conn),
    )
    .await?;
    grants.extend(
        tables.into_iter().map(|(privilege, tables)| format!("grant {privilege} on {tables} to {to};")),
    );
    let (patterns, privileges) = needs.sequences();
    let sequences: Vec<(String, String)> = within(
        query_as(
            "select k.privilege, string_agg('outbox.' || c.relname, ', ' order by c.relname)
             from unnest($1::text[], $2::text[]) as k (pattern, privilege)
             join pg_class as c on c.relname ~ ('^(' || k.pattern || ')$') and c.relkind = 'S'
             join pg_namespace as n on n.oid = c.relnamespace and n.nspname = 'outbox'
             where not has_sequence_privilege(c.oid, k.privilege)
             group by k.privilege order by k.privilege",
        )
        .bind(patterns)
        .bind(privileges)
        .fetch_all(&mut *conn),
    )
    .await?;
    grants.extend(
        sequences
            .into_iter()
            .map(|(privilege, names)| format!("grant {privilege} on sequence {names} to {to};")),
    );
    let functions: Option<String> = within(
        query_scalar(
            "select string_agg('outbox.' || p.proname, ', ' order by p.proname)
             from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
             where n.nspname = 'outbox' and p.proname = any ($1) and not has_function_privilege(p.oid, 'execute')",
        )
        .bind(needs.functions())
        .fetch_one(conn),
    )
    .await?;
    grants.extend(functions.map(|names| format!("grant execute on function {names} to {to};")));
    Ok(grants)
}
