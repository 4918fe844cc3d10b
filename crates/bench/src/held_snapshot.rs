//! The cost of an old snapshot: the relay's rate over a backlog before a snapshot is opened, and after it was held for a
//! minute under load. Updated or deleted rows can't be cleaned up meanwhile; the outbox has none.

use sqlx::{Connection, Executor};

use crate::database::{Database, EVENT};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::relaying::{Relaying, drained_per_second, sink};
use crate::result::Result;
use crate::row::{Must, Row};

const PER_SECOND: usize = 5000;
const PER_TRANSACTION: usize = 50;

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let backlog = plan.count(100_000, 50_000);
    let held = plan.seconds(60, 5);
    let mut before = Vec::new();
    load(&database, plan.seconds(5, 2).as_secs()).await?;
    for _ in 0..plan.pairs() {
        before.push(drained(&database, backlog).await?);
    }

    let mut holder = database.connect().await?;
    holder.execute("begin isolation level repeatable read").await?;
    holder.execute("select count(*) from public.account").await?;
    load(&database, held.as_secs()).await?;
    let mut pairs = Pairs::default();
    for before in before {
        pairs.push(drained(&database, backlog).await?, before);
    }
    let dead = dead_tuples(&database).await?;
    holder.execute("rollback").await?;
    holder.close().await?;

    let row = |row: Row| row.with("held_seconds", held.as_secs()).with("events/s", PER_SECOND);
    Ok(vec![
        row(Row::of_pairs("held_snapshot", "events/s", &pairs))
            .with("beside", "before it")
            .must(Must::RatioAtLeast(0.9)),
        row(Row::alone("held_snapshot", "dead tuples", dead)).must(Must::OursAtMost(0.0)),
    ])
}

async fn drained(database: &Database, backlog: usize) -> Result<f64> {
    database.fill(backlog, &[EVENT.to_owned()]).await?;
    drained_per_second(&database.source, backlog).await
}

/// Publishes 5,000 events a second in 100 transactions, with a relay that puts them all.
async fn load(database: &Database, seconds: u64) -> Result<()> {
    let (bus, count) = sink();
    let relay = Relaying::start(&database.source, bus);
    let mut conn = database.connect().await?;
    let transactions = PER_SECOND / PER_TRANSACTION;
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1) / u32::try_from(transactions)?);
    for _ in 0..seconds as usize * transactions {
        ticks.tick().await;
        sqlx::query(
            "select outbox.enqueue_all(array_agg($2::text), array_agg($3::text), array_agg(null::text),
                 array_agg(null::text), array_agg(outbox.uuid_v7()))
             from generate_series(1, $1::integer)",
        )
        .bind(i32::try_from(PER_TRANSACTION)?)
        .bind(EVENT)
        .bind(crate::database::payload(0))
        .execute(&mut conn)
        .await?;
    }
    count.reaches(seconds as usize * PER_SECOND).await;
    relay.stop().await
}

/// In every table that grows with its events. The migration leaves one dead tuple in its own table. Each process rewrites a row
/// every few seconds, whatever the load is.
async fn dead_tuples(database: &Database) -> Result<f64> {
    let mut conn = database.connect().await?;
    let dead: Vec<(String, i64)> = sqlx::query_as(
        "select relname::text, n_dead_tup from pg_stat_user_tables
         where schemaname = 'outbox' and relname not in ('migration', 'leader', 'process') and n_dead_tup > 0",
    )
    .fetch_all(&mut conn)
    .await?;
    for (table, dead) in &dead {
        eprintln!("held_snapshot: {dead} dead tuples in outbox.{table}");
    }
    Ok(dead.iter().map(|(_, dead)| dead).sum::<i64>() as f64)
}
