//! A relay that catches up, with a bus that only counts. It stands beside a SELECT of the same rows, and beside PgQ, whose
//! batches are the most similar.

use std::time::Instant;

use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection, Row as _};

use crate::database::{self, Database, EVENT};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::relaying::drained_per_second;
use crate::result::Result;
use crate::row::{Must, Row};

/// The size of PgQ's batches; larger ones were no faster.
const TICK_EVENTS: usize = 5000;

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let events = plan.count(1_000_000, 100_000);
    let database = Database::start().await?;
    database.fill(events, &[EVENT.to_owned()]).await?;
    let has_pgq = install_pgq(&database, events).await?;

    let (mut select, mut pgq) = (Pairs::default(), Pairs::default());
    for _ in 0..plan.pairs() {
        database.rewind().await?;
        let ours = drained_per_second(&database.source, events).await?;
        select.push(ours, selected_per_second(&database, events).await?);
        if has_pgq {
            database.rewind().await?;
            let ours = drained_per_second(&database.source, events).await?;
            pgq.push(ours, pgq_per_second(&database, events).await?);
        }
    }
    let row = |pairs: &Pairs, beside: &str| {
        Row::of_pairs("catch_up", "events/s", pairs).with("events", events).with("beside", beside)
    };
    let mut rows = vec![row(&select, "select").must(Must::RatioAtLeast(0.5))];
    if has_pgq {
        rows.push(row(&pgq, "PgQ").must(Must::RatioAtLeast(2.0)));
    }
    Ok(rows)
}

/// Reads all columns in one statement, in the order of seq, and looks at each payload.
async fn selected_per_second(database: &Database, events: usize) -> Result<f64> {
    let mut conn = database.connect().await?;
    let began = Instant::now();
    let mut rows = sqlx::query(
        "select seq, id, name, key, payload, headers, occurred_at from outbox.event order by seq",
    )
    .fetch(&mut conn);
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.try_next().await? {
        count += 1;
        bytes += row.try_get::<&str, _>("payload")?.len();
    }
    if count != events || bytes < events {
        return Err(format!("{count} rows with {bytes} bytes, not {events}").into());
    }
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

/// Installs Debian's package, and writes the same events into a queue with one consumer. `false` if it can't be installed.
async fn install_pgq(database: &Database, events: usize) -> Result<bool> {
    let mut conn = database.connect().await?;
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer / 10000")
        .fetch_one(&mut conn)
        .await?;
    let package = format!("postgresql-{version}-pgq3");
    let control = format!("/usr/share/postgresql/{version}/extension/pgq.control");
    if let Err(error) = testkit::tools::debian_file(&control, &package) {
        eprintln!("!!! NOT MEASURED: catch_up beside PgQ, because {error}");
        return Ok(false);
    }
    sqlx::raw_sql(
        "create extension pgq;
         select pgq.create_queue('bench');
         select pgq.set_queue_config('bench', 'ticker_paused', 'false');
         select pgq.register_consumer('bench', 'bench')",
    )
    .execute(&mut conn)
    .await?;
    sqlx::query("set synchronous_commit = off").execute(&mut conn).await?;
    let payload = database::payload(0);
    for _ in 0..events.div_ceil(TICK_EVENTS) {
        sqlx::query("select count(pgq.insert_event('bench', $2, $3)) from generate_series(1, $1::integer)")
            .bind(i32::try_from(TICK_EVENTS)?)
            .bind(EVENT)
            .bind(&payload)
            .execute(&mut conn)
            .await?;
        tick(&mut conn).await?;
    }
    sqlx::query("checkpoint").execute(&mut conn).await?;
    Ok(true)
}

/// Ends a batch, regardless of its time.
async fn tick(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pgq.force_tick('bench')").execute(&mut *conn).await?;
    sqlx::query("select pgq.ticker('bench')").execute(&mut *conn).await?;
    Ok(())
}

/// `next_batch`, `get_batch_events`, `finish_batch`, until no batch is left. The consumer begins anew each time.
async fn pgq_per_second(database: &Database, events: usize) -> Result<f64> {
    let mut conn = database.source.connect("bench", &[("synchronous_commit", "off")]).await?;
    sqlx::raw_sql(
        "update pgq.subscription set sub_batch = null, sub_next_tick = null,
             sub_last_tick = (select min(tick_id) from pgq.tick)",
    )
    .execute(&mut conn)
    .await?;
    let began = Instant::now();
    let (mut count, mut bytes) = (0, 0);
    loop {
        let batch: Option<i64> =
            sqlx::query_scalar("select pgq.next_batch('bench', 'bench')").fetch_one(&mut conn).await?;
        let Some(batch) = batch else { break };
        let mut rows =
            sqlx::query("select ev_id, ev_time, ev_type, ev_data, ev_extra1 from pgq.get_batch_events($1)")
                .bind(batch)
                .fetch(&mut conn);
        while let Some(row) = rows.try_next().await? {
            count += 1;
            bytes += row.try_get::<&str, _>("ev_data")?.len();
        }
        drop(rows);
        sqlx::query("select pgq.finish_batch($1)").bind(batch).execute(&mut conn).await?;
    }
    if count < events || bytes < events {
        return Err(format!("PgQ: {count} events with {bytes} bytes, not {events}").into());
    }
    conn.close().await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
