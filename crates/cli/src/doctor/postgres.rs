//! A database as relay and worker will find it.

mod held; // locks and slots that others hold
mod replication; // publications, subscriptions and slots
mod role; // the role's privileges

use chrono::{DateTime, Utc};
use outbox_postgres::operate::{Database, Outbox};
use outbox_postgres::{Source, within};
use outbox_runtime::Chain;
use outbox_schema::{SERVER_MIN, SchemaError};
use outbox_transport::operate::At;
use sqlx::{PgConnection, query_as, query_scalar};

use super::diagnosis::Diagnosis;
use crate::safe::{identifier, line, literal};
use crate::show::{NAME_CHARS_MAX, age, moment_of};
use crate::stopped::Stopped;
use crate::stuck::{self, MEND, ends_prepared};
use held::{LISTED_MAX, LONG_SECONDS};

pub(super) async fn look(source: &Source) -> Vec<Diagnosis> {
    let name = source.name();
    let connecting = async {
        let place = source.place().await?;
        Ok::<_, sqlx::Error>((source.connect("outbox doctor", &[]).await?, place))
    };
    let (mut conn, _place) = match connecting.await {
        Ok(connected) => connected,
        Err(error) if outbox_schema::is_pooler(&error) => {
            let hint = "LISTEN and session locks do not work through a pooler in transaction mode";
            return vec![Diagnosis::error(name, SchemaError::Pooler.to_string(), hint)];
        }
        Err(error) => {
            let hint = "see DATABASE_URL, --database-url or --source; connect to Postgres directly, not through a pooler";
            return vec![Diagnosis::error(name, format!("can't connect: {}", Chain(&error)), hint)];
        }
    };
    let mut findings = Vec::new();
    let answered = async {
        findings.extend(server(&mut conn, name).await?);
        let schema = schema(&mut conn, name).await;
        let usable = schema.as_ref().is_some_and(|schema| schema.severity == super::diagnosis::Severity::Ok);
        findings.extend(schema);
        // A role without any privilege can't even read the version.
        if made(&mut conn).await? {
            findings.extend(role::look(&mut conn, name).await?);
        }
        findings.extend(visibility(&mut conn, name).await?);
        findings.extend(replication::look(&mut conn, name).await?);
        findings.extend(held::locks(&mut conn, name).await?);
        findings.extend(prepared(&mut conn, name).await?);
        Ok::<_, sqlx::Error>(usable && role::reads_the_outbox(&mut conn).await?)
    };
    match answered.await {
        Ok(true) => findings.extend(
            relaying(source).await.unwrap_or_else(|stopped| vec![Diagnosis::stopped(name, &stopped)]),
        ),
        Ok(false) => findings.push(Diagnosis::skipped(
            name,
            "who relays, and what holds the relay up, is not looked at",
            "it takes a whole schema, and a role that may read it: select outbox.grant_to('…', 'operator')",
        )),
        Err(error) => {
            findings.push(Diagnosis::error(name, format!("can't be asked: {}", Chain(&error)), "try again"));
        }
    }
    findings
}

async fn server(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
    let (number, version, standby, read_only, autovacuum, now): (
        i32,
        String,
        bool,
        String,
        String,
        DateTime<Utc>,
    ) = within(
        query_as(
            "select current_setting('server_version_num')::integer, current_setting('server_version'),
                    pg_is_in_recovery(), current_setting('default_transaction_read_only'), current_setting('autovacuum'), clock_timestamp()",
        )
        .fetch_one(conn),
    )
    .await?;
    let mut findings = vec![if number / 10_000 >= SERVER_MIN {
        Diagnosis::ok(name, format!("PostgreSQL {version}"))
    } else {
        Diagnosis::error(name, format!("PostgreSQL {version}"), format!("{SERVER_MIN} or newer is needed"))
    }];
    if standby {
        findings.push(Diagnosis::error(
            name,
            "this is a standby: nothing can be written",
            "connect to the primary",
        ));
    } else if read_only == "on" {
        let hint = "alter database or role: set default_transaction_read_only = off";
        findings.push(Diagnosis::error(name, "transactions are read-only by default", hint));
    }
    if autovacuum == "off" {
        let hint = "turn autovacuum on: claims and retries change rows, and rely on it";
        findings.push(Diagnosis::warning(name, "autovacuum is off", hint));
    }
    if let Some(apart) = crate::ago::apart(now, Utc::now()) {
        let hint =
            "correct the wrong one (timedatectl): ages that `outbox` shows are by this machine's clock";
        let found = format!("the clock of this machine is {apart} the database's");
        findings.push(Diagnosis::warning(name, found, hint));
    }
    Ok(findings)
}

async fn schema(conn: &mut PgConnection, name: &str) -> Option<Diagnosis> {
    Some(match outbox_schema::check(conn).await {
        Ok(()) => {
            let own = outbox_schema::VERSION;
            let found = outbox_schema::version(conn).await.unwrap_or(own);
            let newer = if found > own {
                format!(", which takes this build of version {own}")
            } else {
                String::new()
            };
            Diagnosis::ok(name, format!("schema version {found}{newer}, no pooler in between"))
        }
        // `server` has reported it.
        Err(SchemaError::Server { .. }) => return None,
        Err(error) => {
            let hint = match &error {
                SchemaError::Missing => {
                    "it makes the schema `outbox`, and touches nothing else; is it the right database?"
                }
                SchemaError::Older { .. } | SchemaError::Newer { .. } => {
                    "relay, worker and this command should be of one version: UPGRADING.md"
                }
                SchemaError::Partial { .. } => {
                    "relay and worker wait for the rest of it. If the restore was broken off: drop schema outbox cascade, and restore all of it in one transaction (psql -1, pg_restore -1)"
                }
                _ => {
                    "this role may not read the schema's version: connect with a role that plays relay, worker or operator"
                }
            };
            Diagnosis::error(name, Chain(&error).to_string(), hint)
        }
    })
}

async fn made(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let made = "select exists (select from pg_namespace where nspname = 'outbox')";
    within(query_scalar(made).fetch_one(conn)).await
}

/// Without it, age, state and address of other roles' sessions are hidden.
async fn visibility(conn: &mut PgConnection, name: &str) -> Result<Option<Diagnosis>, sqlx::Error> {
    let look = "select pg_has_role(current_user, 'pg_read_all_stats', 'usage'), current_user::text";
    let (sees, role): (bool, String) = within(query_as(look).fetch_one(conn)).await?;
    Ok((!sees).then(|| {
        Diagnosis::warning(
            name,
            format!("{} does not see how old other roles' transactions are", line(&role, NAME_CHARS_MAX)),
            format!("grant pg_read_all_stats to {}; -- the relay's metric outbox_relay_oldest_snapshot_seconds needs it, too", identifier(&role)),
        )
    }))
}

/// Like an open transaction, except that no session shows it, and no restart ends it.
async fn prepared(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
    let prepared: Vec<(String, String, At, bool)> = within(
        query_as(
            "select gid, owner::text, prepared, prepared < clock_timestamp() - make_interval(secs => $1)
             from pg_prepared_xacts where database = current_database()
             order by prepared limit $2",
        )
        .bind(LONG_SECONDS)
        .bind(LISTED_MAX)
        .fetch_all(conn),
    )
    .await?;
    Ok(prepared
        .into_iter()
        .map(|(gid, owner, at, old)| {
            let message = format!(
                "prepared transaction {} of {} is open since {}: its events wait, and no slot it wrote to is emptied",
                literal(&gid),
                line(&owner, NAME_CHARS_MAX),
                moment_of(at)
            );
            let finding = if old { Diagnosis::warning } else { Diagnosis::info };
            finding(name, message, ends_prepared(&gid, Some(&owner)))
        })
        .collect())
}

/// Whether a relay leads, and what blocks it.
async fn relaying(source: &Source) -> Result<Vec<Diagnosis>, Stopped> {
    let outbox = Outbox::new(Database::open(source).await?, crate::terminal::say);
    let (name, mut findings) = (source.name(), Vec::new());
    findings.push(match outbox.leader().await? {
        Some(leader) => Diagnosis::ok(
            name,
            format!("{}, pid {}, relays", line(&leader.application, NAME_CHARS_MAX), leader.pid),
        ),
        None => Diagnosis::error(
            name,
            "no relay leads",
            "start `relay` for it; its log says what keeps it from leading",
        ),
    });
    if !outbox.cursor().await?.ours {
        findings.push(Diagnosis::warning(
            name,
            "the cursor is of another server, where transaction ids mean something else: a restore, a copy, or logical replication brought it. What was put is not known",
            "start `relay`: the one that takes the lead re-seeds the cursor by itself, and puts what was not put",
        ));
    }
    findings.extend(outbox.behind().await?.into_iter().map(|behind| {
        Diagnosis::warning(
            name,
            format!("{}: what is numbered from it is not found again", stuck::behind(&behind)),
            format!(
                "the relay that takes the lead next sets it right by itself, or the schema's owner:\n{MEND}"
            ),
        )
    }));
    findings.extend(held::rings(&outbox, name).await?);
    for transaction in outbox.transactions(false, LISTED_MAX).await? {
        let Some(seconds) = transaction.age_seconds.filter(|seconds| *seconds > LONG_SECONDS) else {
            continue;
        };
        let (pid, role) = (transaction.pid, transaction.user.as_deref());
        findings.push(Diagnosis::warning(
            name,
            format!(
                "a transaction is open for {} ({}, {}): {}",
                age(seconds),
                stuck::session(pid, role, Some(&transaction.application)),
                transaction.state.as_deref().unwrap_or("state not visible"),
                stuck::delays(transaction.writes),
            ),
            format!("end it in its application, or {}", stuck::ends_session(pid, role)),
        ));
    }
    Ok(findings)
}
