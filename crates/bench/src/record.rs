//! What the dedup record costs: a receipt for each batch of a queue's log, beside a leased and completed row for each
//! delivery. Batches are received, recorded and settled. No RPC is called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_postgres::queue::{PostgresQueue, Watched};
use outbox_postgres::{Connections, PostgresDedup, SESSION};
use outbox_transport::{Dedup, Lease, LeaseAnswer, Outcome, Queue, Wanted};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::result::Result;
use crate::row::{Must, Row};

const LEASE: Duration = Duration::from_secs(600);
const BATCH: usize = 500;
/// Ids of an hour ago, at 100 a second. So the ids of a batch are of one minute or two.
const IDS: &str =
    "(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint - 3600000 + n * 10), 12, '0')
                    || substr(outbox.uuid_v7()::text, 15))::uuid";

/// The costs per delivery.
struct Cost {
    wal_bytes: f64,
    kept_bytes: f64,
    micros: f64,
}

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let deliveries = plan.count(100_000, 20_000);
    let database = Database::start().await?;
    let (mut wal, mut kept, mut time) = (Pairs::default(), Pairs::default(), Pairs::default());
    for _ in 0..plan.pairs() {
        let rows = cost(&database, deliveries, false).await?;
        let receipts = cost(&database, deliveries, true).await?;
        wal.push(receipts.wal_bytes, rows.wal_bytes);
        kept.push(receipts.kept_bytes, rows.kept_bytes);
        time.push(receipts.micros, rows.micros);
    }
    let row = |unit, pairs, what: &str| {
        let row = Row::of_pairs("record", unit, pairs).with("of a delivery", what).with("beside", "rows");
        row.with("deliveries", deliveries).with("batch", BATCH)
    };
    Ok(vec![
        row("B", &wal, "WAL").must(Must::RatioAtMost(0.1)),
        row("B", &kept, "kept on disk").must(Must::OursAtMost(25.0)),
        row("µs", &time, "time").must(Must::RatioAtMost(1.0)),
    ])
}

async fn cost(database: &Database, deliveries: usize, receipts: bool) -> Result<Cost> {
    database.empty().await?;
    let mut conn = database.connect().await?;
    fill(&mut conn, deliveries).await?;
    let rpc = Rpc::new("Bench/Record").ok_or("no RPC")?;
    let connections = database.source.connections("bench", &SESSION, 2);
    // An empty table has pages, too.
    let empty = kept(&mut conn).await?;
    let before = wal(&mut conn).await?;
    let began = Instant::now();
    if receipts {
        let watched = Arc::new(Watched::new(&rpc));
        let queue = PostgresQueue::new(connections.clone(), Arc::clone(&watched), "bench", LEASE, LEASE);
        let dedup = queue.dedup();
        for _ in 0..deliveries / BATCH {
            watched.ring();
            by_claim(&queue, &dedup).await?;
        }
    } else {
        by_rows(&mut conn, &connections, &rpc, deliveries).await?;
    }
    let micros = began.elapsed().as_secs_f64() * 1e6;
    let written = wal(&mut conn).await? - before;
    let bytes = kept(&mut conn).await? - empty;
    let each = deliveries as f64;
    Ok(Cost { wal_bytes: written as f64 / each, kept_bytes: bytes as f64 / each, micros: micros / each })
}

async fn fill(conn: &mut PgConnection, deliveries: usize) -> Result<()> {
    sqlx::query("insert into outbox.queue (rpc) values ('Bench/Record') on conflict do nothing")
        .execute(&mut *conn)
        .await?;
    let fill = format!(
        "insert into outbox.delivery (queue, event_id, body, slot)
         select q.id, {IDS}, '{{}}', 0 from outbox.queue as q, generate_series(1, $1) as n
         where q.rpc = 'Bench/Record' order by n"
    );
    sqlx::query(sqlx::AssertSqlSafe(fill)).bind(i32::try_from(deliveries)?).execute(&mut *conn).await?;
    sqlx::query("checkpoint").execute(conn).await?;
    Ok(())
}

async fn by_claim(queue: &PostgresQueue, dedup: &PostgresDedup) -> Result<()> {
    let received = queue.receive(Wanted::any(BATCH), &CancellationToken::new()).await?;
    let leases: Vec<Lease> = received.iter().filter_map(|delivery| delivery.lease).map(|of| of.0).collect();
    if leases.len() != BATCH {
        return Err(format!("{} of a batch are leased", leases.len()).into());
    }
    for recorded in dedup.complete(&leases).await {
        recorded?;
    }
    let settled: Vec<_> = received.into_iter().map(|delivery| (delivery.receipt, Outcome::Done)).collect();
    for settled in queue.settle(&settled).await {
        settled?;
    }
    Ok(())
}

async fn by_rows(
    conn: &mut PgConnection,
    connections: &Connections,
    rpc: &Rpc,
    deliveries: usize,
) -> Result<()> {
    let dedup = PostgresDedup::new(connections.clone(), rpc, LEASE);
    let mut from = 0_i64;
    for _ in 0..deliveries / BATCH {
        let batch: Vec<(i64, uuid::Uuid)> = sqlx::query_as(
            "select d.seq, d.event_id from outbox.delivery as d
             join outbox.queue as q on q.id = d.queue and q.rpc = 'Bench/Record'
             where d.seq > $1 order by d.seq limit $2",
        )
        .bind(from)
        .bind(i64::try_from(BATCH)?)
        .fetch_all(&mut *conn)
        .await?;
        from = batch.last().map_or(from, |last| last.0);
        let events: Vec<EventId> = batch.into_iter().map(|(_, id)| id.into()).collect();
        let answers = dedup.lease(&events).await?;
        let leases: Vec<Lease> = answers
            .into_iter()
            .filter_map(|answer| match answer {
                LeaseAnswer::Won(lease) => Some(lease),
                _ => None,
            })
            .collect();
        for recorded in dedup.complete(&leases).await {
            recorded?;
        }
    }
    Ok(())
}

async fn kept(conn: &mut PgConnection) -> Result<i64> {
    let bytes = "select sum(pg_total_relation_size(oid))::bigint from pg_class
                 where relnamespace = 'outbox'::regnamespace and relname ~ '^(dedup|receipt)_[0-4]$'";
    Ok(sqlx::query_scalar(bytes).fetch_one(conn).await?)
}

async fn wal(conn: &mut PgConnection) -> Result<i64> {
    let written = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
    Ok(sqlx::query_scalar(written).fetch_one(conn).await?)
}
