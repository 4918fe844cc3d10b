//! What replicates the outbox to other servers, or from them.

use outbox_postgres::within;
use sqlx::{PgConnection, query_as, query_scalar};

use super::held::LISTED_MAX;
use crate::doctor::diagnosis::Diagnosis;
use crate::safe::{identifier, line, literal};
use crate::show::{NAME_CHARS_MAX, bytes};

pub(super) async fn look(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
    let mut findings = subscriptions(conn, name).await?;
    findings.extend(publications(conn, name).await?);
    findings.extend(slots(conn, name).await?);
    Ok(findings)
}

/// No cursor could tell which of the replicated rows are new, so no relay leads meanwhile.
async fn subscriptions(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
    let subscriptions: Vec<String> = within(
        query_scalar(
            "select distinct s.subname::text from pg_subscription as s
             join pg_subscription_rel as r on r.srsubid = s.oid
             join pg_class as c on c.oid = r.srrelid
             join pg_namespace as n on n.oid = c.relnamespace
             where s.subenabled and s.subdbid = (select oid from pg_database where datname = current_database())
               and n.nspname = 'outbox'
             order by 1 limit $1",
        )
        .bind(LISTED_MAX)
        .fetch_all(conn),
    )
    .await?;
    let finding = |subscription: String| {
        let subscription = identifier(&subscription);
        Diagnosis::error(
            name,
            format!(
                "the subscription {subscription} fills the tables of outbox from another server: no relay leads here while it is enabled"
            ),
            format!(
                "once this server is to take over, and the other one has stopped:\nalter subscription {subscription} disable;"
            ),
        )
    };
    Ok(subscriptions.into_iter().map(finding).collect())
}

/// A publication is allowed, but the copy must not be relayed while it is filled.
async fn publications(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
    let publications: Vec<String> = within(
        query_scalar(
            "select distinct pubname::text from pg_publication_tables where schemaname = 'outbox' order by 1 limit $1",
        )
        .bind(LISTED_MAX)
        .fetch_all(conn),
    )
    .await?;
    let finding = |publication: String| {
        Diagnosis::info(
            name,
            format!(
                "the publication {} carries tables of outbox: subscribers get its events",
                identifier(&publication)
            ),
            "a copy must not be relayed while its subscription is enabled; a relay there does not lead until it is disabled",
        )
    };
    Ok(publications.into_iter().map(finding).collect())
}

/// Vacuum keeps what a slot holds back, even if the slot is never read.
async fn slots(conn: &mut PgConnection, name: &str) -> Result<Vec<Diagnosis>, sqlx::Error> {
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
            let reader = if active { "in use" } else { "not in use" };
            let wal = wal.map(|wal| format!(", keeps {} of WAL", bytes(wal))).unwrap_or_default();
            let snapshot = if holds { ", holds an old snapshot: dead rows stay" } else { "" };
            Diagnosis::warning(
                name,
                format!("replication slot {}: {reader}{wal}{snapshot}", line(&slot, NAME_CHARS_MAX)),
                format!("if it is not needed: select pg_drop_replication_slot({})", literal(&slot)),
            )
        })
        .collect())
}
