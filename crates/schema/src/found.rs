//! What a database has in the place of the schema.

use sqlx::PgConnection;

/// Names of another product's tables in an error.
const NAMES_MAX: i64 = 3;

/// The version that this table of migrations notes; 0 if the database has no such table of this product.
pub(crate) async fn version(conn: &mut PgConnection, table: &'static str) -> Result<i64, sqlx::Error> {
    // Another product may have a table of this name.
    let present: bool = sqlx::query_scalar(
        "select count(*) = 3 from pg_attribute
         where attrelid = to_regclass($1) and attname in ('version', 'success', 'checksum') and not attisdropped",
    )
    .bind(table)
    .fetch_one(&mut *conn)
    .await?;
    if !present {
        return Ok(0);
    }
    let newest = format!("select coalesce(max(version), 0) from {table} where success");
    sqlx::query_scalar(sqlx::AssertSqlSafe(newest)).fetch_one(conn).await
}

/// The oldest build that the schema takes, by the version which that build knows. The function belongs to each schema that allows
/// older builds at all.
pub(crate) async fn oldest_that_is_taken(conn: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    let says = "select to_regprocedure('outbox.schema_compatible_from()') is not null";
    if !sqlx::query_scalar::<_, bool>(says).fetch_one(&mut *conn).await? {
        return Ok(None);
    }
    sqlx::query_scalar("select outbox.schema_compatible_from()").fetch_one(conn).await
}

/// Whether the inbox is there, noted or not: its last function.
pub(crate) async fn has_inbox(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let has = "select to_regprocedure('outbox.inbox_grant_to(text)') is not null";
    sqlx::query_scalar(has).fetch_one(conn).await
}

/// A schema `outbox` that lacks a half.
#[derive(Debug)]
pub(crate) struct There {
    pub(crate) owner: String,
    /// It belongs to the role that asks.
    pub(crate) is_mine: bool,
    /// Some of its tables and sequences; none if it is empty, or has the other half.
    pub(crate) names: Option<String>,
}

/// Each half is known by a function, because a service may have made its inbox without a table of migrations. An interrupted
/// first migration leaves its table of migrations, which is empty and does not count.
pub(crate) async fn in_the_way(conn: &mut PgConnection) -> Result<Option<There>, sqlx::Error> {
    let found: Option<(String, bool, Option<String>)> = sqlx::query_as(
        "select quote_ident(pg_get_userbyid(s.nspowner)) as owner, pg_get_userbyid(s.nspowner) = current_user as is_mine,
                (select string_agg(case when o.n <= $1 then o.name else 'more' end, ', ' order by o.n)
                 from (
                     select c.relname::text as name, row_number() over (order by c.relkind = 'S', c.relname) as n
                     from pg_class as c
                     where c.relnamespace = s.oid and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
                       and not (c.relname in ('migration', 'inbox_migration') and exists (
                           select from pg_attribute as a where a.attrelid = c.oid and a.attname = 'checksum'))
                       and to_regprocedure('outbox.schema_compatible_from()') is null
                       and to_regprocedure('outbox.inbox_first_time(uuid, text)') is null
                 ) as o
                 where o.n <= $1 + 1) as names
         from pg_namespace as s
         where s.nspname = 'outbox'",
    )
    .bind(NAMES_MAX)
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|(owner, is_mine, names)| There { owner, is_mine, names }))
}
