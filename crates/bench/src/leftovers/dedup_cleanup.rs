//! The slowest delivery while an old week's dedup records are removed: all at once, and row by row.

use std::time::Duration;

use sqlx::{Executor, PgConnection};

use super::line::{Line, took};
use crate::database::{Database, EVENT};
use crate::line::calls::Calls;
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::publisher::{Load, publish};
use crate::result::Result;
use crate::row::{Must, Row};

/// One event of so many fails at first, and its lease is released.
const FAILS_ONE_IN: u64 = 20;
/// As the relay's cleanup: a part of the table at a time, and then a pause.
const BLOCKS: i64 = 4096;
const PAUSE: Duration = Duration::from_secs(1);
/// From the load's start to the cleanup's.
const AFTER: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy)]
enum Leaving {
    Never,
    AtOnce,
    RowByRow,
}

pub(super) async fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let records = plan.count(3_000_000, 100_000);
    let database = Database::start().await?;
    let mut rows = Vec::new();
    for (leaving, how, lasts) in [
        (Leaving::AtOnce, "truncated", plan.seconds(20, 6)),
        (Leaving::RowByRow, "row by row", plan.seconds(60, 8)),
    ] {
        let load = Load { per_second: 200.0, connections: 8, lasts };
        database.empty().await?;
        let week = fill(&database, records).await?;
        let before = longest(plan, &database, load, week, Leaving::Never).await?;
        let mut pairs = Pairs::default();
        pairs.push(longest(plan, &database, load, week, leaving).await?, before);
        let row = Row::of_pairs("leftovers", "ms", &pairs).with("left", "dedup_cleanup").with("how", how);
        let row = row.with("records", records).with("deliveries/s", load.per_second);
        let row = row.with("quantile", "longest").with("beside", "before it");
        rows.push(row.must(Must::AboveBaselineAtMost(200.0)));
    }
    Ok(rows)
}

/// Writes records of the week before the week before last, and returns that week. They are 22 days old; the relay's own
/// cleanup would wait for two more days.
async fn fill(database: &Database, records: usize) -> Result<i64> {
    let mut conn = database.connect().await?;
    let week = "select floor(extract(epoch from clock_timestamp()) / 604800)::bigint - 3";
    let week: i64 = sqlx::query_scalar(week).fetch_one(&mut conn).await?;
    sqlx::query("set synchronous_commit = off").execute(&mut conn).await?;
    sqlx::query(
        "insert into outbox.dedup (slot, event_id, rpc, lease, until, done_at)
         select $1 % 5, (lpad(to_hex($1 * 604800000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
                         || '8' || substr(md5(n::text), 4, 15))::uuid,
                'BenchService/Take', n, clock_timestamp() - interval '22 days', clock_timestamp() - interval '22 days'
         from generate_series(1, $2::bigint) as n",
    )
    .bind(week)
    .bind(i64::try_from(records)?)
    .execute(&mut conn)
    .await?;
    // Autovacuum would have run within three weeks; a running one prevents the truncation.
    conn.execute("vacuum analyze outbox.dedup").await?;
    conn.execute("checkpoint").await?;
    Ok(week)
}

/// Milliseconds from before COMMIT to the call, for deliveries without a failure.
async fn longest(plan: &Plan, database: &Database, load: Load, week: i64, leaving: Leaving) -> Result<f64> {
    let calls = Calls::serve_failing(FAILS_ONE_IN).await?;
    let line = Line::start(plan, database, &calls.endpoint)?;
    let (url, enqueue) = (database.url(), format!("select outbox.enqueue('{EVENT}', $1)"));
    let mut conn = database.connect().await?;
    let cleaning = async {
        tokio::time::sleep(AFTER).await;
        match leaving {
            Leaving::Never => Ok(()),
            Leaving::AtOnce => truncate(&mut conn, week).await,
            Leaving::RowByRow => sweep(&mut conn, week).await,
        }
    };
    let publishing = publish(&url, &enqueue, load);
    let (sent, ()) = tokio::try_join!(publishing, cleaning)?;
    let took = took(&sent, &calls).await?;
    line.stop().await?;
    let well = took.iter().filter(|(n, _)| n % FAILS_ONE_IN != 0 && *n as f64 >= load.per_second);
    Ok(well.map(|&(_, millis)| millis).fold(0.0, f64::max))
}

/// As if the clock showed that the week is over.
async fn truncate(conn: &mut PgConnection, week: i64) -> Result<()> {
    for _ in 0..50 {
        let became: String = sqlx::query_scalar(
            "select outbox.truncate_dedup(($1 % 5)::smallint, interval '21 days',
                                          to_timestamp(($1 + 1) * 604800) + interval '24 days 1 hour')",
        )
        .bind(week)
        .fetch_one(&mut *conn)
        .await?;
        match became.as_str() {
            "truncated" => return Ok(()),
            // A lock was held.
            "kept" => tokio::time::sleep(Duration::from_millis(100)).await,
            other => return Err(format!("the slot is {other}").into()),
        }
    }
    Err("the slot was never truncated".into())
}

/// The relay's cleanup of a slot that has a record of an older event.
async fn sweep(conn: &mut PgConnection, week: i64) -> Result<()> {
    let size = "select pg_relation_size(('outbox.dedup_' || $1 % 5)::regclass) / current_setting('block_size')::bigint";
    let blocks: i64 = sqlx::query_scalar(size).bind(week).fetch_one(&mut *conn).await?;
    let mut gone = 0;
    for block in (0..blocks).step_by(usize::try_from(BLOCKS)?) {
        let delete = sqlx::query(
            "delete from outbox.dedup
             where slot = $1 % 5 and ctid >= ('(' || $2 || ',0)')::tid and ctid < ('(' || $3 || ',0)')::tid
               and coalesce(done_at, until) < clock_timestamp() - interval '21 days'",
        );
        let delete = delete.bind(week).bind(block.to_string()).bind((block + BLOCKS).to_string());
        gone += delete.execute(&mut *conn).await?.rows_affected();
        tokio::time::sleep(PAUSE).await;
    }
    eprintln!("dedup_cleanup: {gone} records left row by row");
    Ok(())
}
