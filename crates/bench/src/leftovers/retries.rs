//! Deliveries from `outbox.retry`, and fresh ones of the same queue, after many passed through it under an old snapshot.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};

use super::line::{Line, RPC, took};
use crate::database::{Database, EVENT, payload, until};
use crate::line::calls::Calls;
use crate::pairs::{Pairs, quantile};
use crate::plan::Plan;
use crate::publisher::{Load, publish};
use crate::result::Result;
use crate::row::{Must, Row};

/// `outbox.evict_to_retry` moves as many at a time.
const PART: usize = 5000;

/// The load after all retries are done.
const LOAD: Load = Load { per_second: 200.0, connections: 8, lasts: Duration::ZERO };

#[derive(Debug)]
struct Measured {
    per_second: f64,
    p50: f64,
    p99: f64,
}

pub(super) async fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let through = plan.count(300_000, 20_000);
    let mut before = Vec::new();
    // The first run extends the queue's files.
    measured(plan, &database, Duration::from_secs(2)).await?;
    let fresh = plan.seconds(40, 5);
    for _ in 0..plan.count(3, 1) {
        before.push(measured(plan, &database, fresh).await?);
    }

    let mut holder = database.connect().await?;
    holder.execute("begin isolation level repeatable read").await?;
    holder.execute("select count(*) from public.account").await?;
    drained(plan, &database, through).await?.line.stop().await?;
    let (mut rate, mut p50, mut p99) = (Pairs::default(), Pairs::default(), Pairs::default());
    for before in before {
        let during = measured(plan, &database, fresh).await?;
        rate.push(during.per_second, before.per_second);
        p50.push(during.p50, before.p50);
        p99.push(during.p99, before.p99);
    }
    holder.execute("rollback").await?;
    holder.close().await?;

    let row = |unit, pairs: &Pairs| {
        let row = Row::of_pairs("leftovers", unit, pairs).with("left", "retries");
        row.with("went_through", through).with("beside", "before the snapshot")
    };
    let fresh = |pairs: &Pairs, quantile: &str| {
        row("ms", pairs).with("fresh events/s", LOAD.per_second).with("quantile", quantile)
    };
    Ok(vec![
        row("calls/s", &rate).with("retries", retries(plan)).must(Must::RatioAtLeast(0.9)),
        fresh(&p50, "p50").must(Must::RatioAtMost(1.5)),
        fresh(&p99, "p99"),
    ])
}

fn retries(plan: &Plan) -> usize {
    plan.count(40_000, 5_000)
}

/// The rate of some retries; then, with the same processes, the times of fresh events.
async fn measured(plan: &Plan, database: &Database, fresh: Duration) -> Result<Measured> {
    let Drained { line, calls, per_second } = drained(plan, database, retries(plan)).await?;
    let load = Load { lasts: fresh, ..LOAD };
    let sent = publish(&database.url(), &format!("select outbox.enqueue('{EVENT}', $1)"), load).await?;
    let took = took(&sent, &calls).await?;
    line.stop().await?;
    // The first deliveries include planning, and the number of the retries is 0.
    let took: Vec<f64> =
        took.iter().filter(|(n, _)| *n as f64 >= load.per_second).map(|&(_, ms)| ms).collect();
    Ok(Measured { per_second, p50: quantile(&took, 0.5), p99: quantile(&took, 0.99) })
}

struct Drained {
    line: Line,
    calls: Calls,
    /// From the first call to the last.
    per_second: f64,
}

/// Calls so many rows of `outbox.retry`, which existed before the worker started.
async fn drained(plan: &Plan, database: &Database, rows: usize) -> Result<Drained> {
    fill(database, rows).await?;
    let calls = Calls::serve().await?;
    let line = Line::start(plan, database, &calls.endpoint)?;
    until("the first call", Duration::from_secs(30), async || Ok(calls.calls() > 0)).await?;
    let (began, first) = (Instant::now(), calls.calls());
    until("the last call", Duration::from_secs(900), async || Ok(calls.calls() >= rows)).await?;
    let per_second = (rows - first) as f64 / began.elapsed().as_secs_f64();
    Ok(Drained { line, calls, per_second })
}

/// As after an outage of the worker: old deliveries were evicted to retry, a part at a time.
async fn fill(database: &Database, rows: usize) -> Result<()> {
    let mut conn = database.connect().await?;
    let queue =
        "with made as (insert into outbox.queue (rpc) values ($1) on conflict do nothing returning id)
                 select id from made union all select id from outbox.queue where rpc = $1";
    let queue: i32 = sqlx::query_scalar(queue).bind(RPC).fetch_one(&mut conn).await?;
    let event = format!(
        r#"","name":"{EVENT}","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{}}}}}"#,
        payload(0)
    );
    let mut left = rows;
    while left > 0 {
        let part = left.min(PART);
        sqlx::query(
            "insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
             select nextval('outbox.delivery_seq'), $1, fresh.id, $2 || fresh.id || $3, clock_timestamp(), 0,
                    clock_timestamp(), 'waiting', 'no worker has received it yet'
             from (select outbox.uuid_v7() as id from generate_series(1, $4::integer) offset 0) as fresh",
        )
        .bind(queue)
        .bind(format!(r#"{{"rpc":"{RPC}","event":{{"id":""#))
        .bind(&event)
        .bind(i32::try_from(part)?)
        .execute(&mut conn)
        .await?;
        left -= part;
    }
    sqlx::query("checkpoint").execute(&mut conn).await?;
    Ok(())
}
