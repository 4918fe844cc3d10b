//! A database as relay and worker will find it.

mod role; // what it may do

use chrono::{DateTime, Utc};
use outbox_schema::{SERVER_MIN, SchemaError, Source, within};
use runtime::Chain;
use sqlx::{PgConnection, query_as, query_scalar};

use super::Finding;
use crate::database::Database;
use crate::outbox::Outbox;
use crate::show::{age, moment};
use crate::stopped::Stopped;

const LONG_SECONDS: f64 = 60.0;
const LISTED_MAX: i64 = 5;

pub(super) async fn look(source: &Source) -> Vec<Finding> {
    let name = source.name();
    let mut conn = match source.connect("outbox doctor", &[]).await {
        Ok(conn) => conn,
        Err(error) => {
            let hint = "see DATABASE_URL, --database-url or --source; connect to Postgres directly, not through a pooler";
            return vec![Finding::error(name, format!("can't connect: {}", Chain(&error)), hint)];
        }
    };
    let mut findings = Vec::new();
    let answered = async {
        findings.extend(server(&mut conn, name).await?);
        let schema = schema(&mut conn, name).await;
        let usable = schema.as_ref().is_some_and(|schema| schema.severity == super::Severity::Ok);
        findings.extend(schema);
        // A role that may do nothing can't even read the version.
        if made(&mut conn).await? {
            findings.extend(role::look(&mut conn, name).await?);
        }
        findings.extend(visibility(&mut conn, name).await?);
        findings.extend(slots(&mut conn, name).await?);
        findings.extend(prepared(&mut conn, name).await?);
        Ok::<_, sqlx::Error>(usable)
    };
    match answered.await {
        Ok(true) => findings
            .extend(relaying(source).await.unwrap_or_else(|stopped| vec![Finding::stopped(name, &stopped)])),
        Ok(false) => {}
        Err(error) => {
            findings.push(Finding::error(name, format!("can't be asked: {}", Chain(&error)), "try again"));
        }
    }
    findings
}

async fn server(conn: &mut PgConnection, name: &str) -> Result<Vec<Finding>, sqlx::Error> {
    let (number, version, standby, read_only, autovacuum): (i32, String, bool, String, String) = within(
        query_as(
            "select current_setting('server_version_num')::integer, current_setting('server_version'),
                    pg_is_in_recovery(), current_setting('default_transaction_read_only'), current_setting('autovacuum')",
        )
        .fetch_one(conn),
    )
    .await?;
    let mut findings = vec![if number / 10_000 >= SERVER_MIN {
        Finding::ok(name, format!("PostgreSQL {version}"))
    } else {
        Finding::error(name, format!("PostgreSQL {version}"), format!("{SERVER_MIN} or newer is needed"))
    }];
    if standby {
        findings.push(Finding::error(
            name,
            "this is a standby: nothing can be written",
            "connect to the primary",
        ));
    } else if read_only == "on" {
        let hint = "alter database or role: set default_transaction_read_only = off";
        findings.push(Finding::error(name, "transactions are read-only by default", hint));
    }
    if autovacuum == "off" {
        let hint = "turn autovacuum on: claims and retries change rows, and rely on it";
        findings.push(Finding::warning(name, "autovacuum is off", hint));
    }
    Ok(findings)
}

async fn schema(conn: &mut PgConnection, name: &str) -> Option<Finding> {
    Some(match outbox_schema::check(conn).await {
        Ok(()) => {
            Finding::ok(name, format!("schema version {}, no pooler in between", outbox_schema::VERSION))
        }
        // `server` has said it.
        Err(SchemaError::Server { .. }) => return None,
        Err(error) => {
            let hint = match &error {
                SchemaError::Pooler => {
                    "LISTEN and session locks do not work through a pooler in transaction mode"
                }
                SchemaError::Missing => {
                    "it makes the schema `outbox`, and touches nothing else; is it the right database?"
                }
                SchemaError::Older { .. } | SchemaError::Newer { .. } => {
                    "relay, worker and this command must be of one version"
                }
                _ => "this role may not read outbox.migration: connect with the role of relay or worker",
            };
            Finding::error(name, Chain(&error).to_string(), hint)
        }
    })
}

async fn made(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let made = "select exists (select from pg_namespace where nspname = 'outbox')";
    within(query_scalar(made).fetch_one(conn)).await
}

/// Without it other roles' sessions have no age, no state, no address.
async fn visibility(conn: &mut PgConnection, name: &str) -> Result<Option<Finding>, sqlx::Error> {
    let sees: bool = within(
        query_scalar("select pg_has_role(current_user, 'pg_read_all_stats', 'usage')").fetch_one(&mut *conn),
    )
    .await?;
    let role: String = within(query_scalar("select current_user::text").fetch_one(conn)).await?;
    Ok((!sees).then(|| {
        Finding::warning(
            name,
            format!("{role} does not see how old other roles' transactions are"),
            format!("grant pg_read_all_stats to {role}; -- the relay's metric outbox_relay_oldest_snapshot_seconds needs it, too"),
        )
    }))
}

/// What a slot holds back is not vacuumed, however long nobody reads from it.
async fn slots(conn: &mut PgConnection, name: &str) -> Result<Vec<Finding>, sqlx::Error> {
    let slots: Vec<(String, bool, bool, Option<i64>)> = within(
        query_as(
            "select slot_name::text, active, xmin is not null,
                    case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint end
             from pg_replication_slots
             where (xmin is not null or not active) and (database is null or database = current_database())
             order by slot_name limit $1",
        )
        .bind(LISTED_MAX)
        .fetch_all(conn),
    )
    .await?;
    Ok(slots
        .into_iter()
        .map(|(slot, active, holds, wal)| {
            let reader = if active { "in use" } else { "nobody reads from it" };
            let wal =
                wal.map(|wal| format!(", keeps {} of WAL", crate::show::bytes(wal))).unwrap_or_default();
            let snapshot = if holds { ", holds an old snapshot: dead rows stay" } else { "" };
            Finding::warning(
                name,
                format!("replication slot {slot}: {reader}{wal}{snapshot}"),
                format!("if nobody needs it: select pg_drop_replication_slot('{slot}')"),
            )
        })
        .collect())
}

/// As an open transaction, but that no session shows it, and no restart ends it.
async fn prepared(conn: &mut PgConnection, name: &str) -> Result<Vec<Finding>, sqlx::Error> {
    let prepared: Vec<(String, String, DateTime<Utc>)> = within(
        query_as(
            "select gid, owner::text, prepared from pg_prepared_xacts
             where database = current_database() and prepared < clock_timestamp() - make_interval(secs => $1)
             order by prepared limit $2",
        )
        .bind(LONG_SECONDS)
        .bind(LISTED_MAX)
        .fetch_all(conn),
    )
    .await?;
    Ok(prepared
        .into_iter()
        .map(|(gid, owner, at)| {
            Finding::warning(
                name,
                format!(
                    "prepared transaction '{gid}' of {owner} is open since {}: its events wait",
                    moment(at)
                ),
                format!("commit prepared '{gid}'; or: rollback prepared '{gid}';"),
            )
        })
        .collect())
}

/// Whether somebody relays, and what holds him up.
async fn relaying(source: &Source) -> Result<Vec<Finding>, Stopped> {
    let outbox = Outbox::new(Database::open(source).await?);
    let (name, mut findings) = (source.name(), Vec::new());
    findings.push(match outbox.leader().await? {
        Some(leader) => Finding::ok(name, format!("{}, pid {}, relays", leader.application, leader.pid)),
        None => Finding::error(
            name,
            "nobody relays",
            "start `relay` for it; its log says what keeps it from leading",
        ),
    });
    if outbox.cursor().await?.restored {
        let message = "it was restored from another cluster, and no relay has been up since";
        findings.push(Finding::warning(name, message, "start `relay`: it finds its place by itself"));
    }
    for transaction in outbox.transactions(false, LISTED_MAX).await? {
        let Some(seconds) = transaction.age_seconds.filter(|seconds| *seconds > LONG_SECONDS) else {
            continue;
        };
        let wrote = if transaction.writes { "its own events wait" } else { "it only reads" };
        let application = Some(transaction.application).filter(|name| !name.is_empty());
        findings.push(Finding::warning(
            name,
            format!(
                "a transaction is open for {} (pid {}, {}, {}): {wrote}, and no slot it might still see is truncated",
                age(seconds),
                transaction.pid,
                application.as_deref().unwrap_or("no application name"),
                transaction.state.as_deref().unwrap_or("state not visible"),
            ),
            format!("end it in its application, or: select pg_terminate_backend({})", transaction.pid),
        ));
    }
    Ok(findings)
}
