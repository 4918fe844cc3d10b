//! How many put events stay in the outbox, while a transaction that enqueued one stays open for ten times the retention.

use std::time::{Duration, Instant};

use sqlx::{Executor, PgConnection};

use crate::database::{Database, EVENT};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::publisher::{Load, publish};
use crate::relaying::{Relaying, sink};
use crate::result::Result;
use crate::row::{Must, Row};

const LOOKS_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn row(plan: &Plan) -> Result<Row> {
    let retention = plan.seconds(6, 2);
    let (begins, open) = (2 * retention, 10 * retention);
    let load = Load { per_second: 500.0, connections: 8, lasts: begins + open };
    let database = Database::start().await?;
    let relay = Relaying::keeping(&database.source, sink().0, retention);
    let url = database.url();
    let enqueue = format!("select outbox.enqueue('{EVENT}', $1)");
    let most = async {
        tokio::time::sleep(begins).await;
        let mut writer = database.connect().await?;
        writer.execute("begin").await?;
        writer.execute("select outbox.enqueue('event_bench', '{}')").await?;
        let most = most_rows(&mut database.connect().await?, open - LOOKS_EVERY).await?;
        writer.execute("rollback").await?;
        Ok(most)
    };
    let (_, most) = tokio::try_join!(publish(&url, &enqueue, load), most)?;
    relay.stop().await?;
    let mut pairs = Pairs::default();
    pairs.push(most, load.per_second * retention.as_secs_f64());
    let row = Row::of_pairs("leftovers", "rows", &pairs).with("left", "ring");
    let row = row.with("events/s", load.per_second).with("retention_seconds", retention.as_secs());
    let row = row.with("open_seconds", open.as_secs()).with("beside", "rate × retention");
    Ok(row.must(Must::RatioAtMost(2.0)))
}

/// The most rows at any one time. The count locks no slot for longer than it takes.
async fn most_rows(conn: &mut PgConnection, lasts: Duration) -> Result<f64> {
    let (began, mut most) = (Instant::now(), 0_i64);
    while began.elapsed() < lasts {
        let rows: i64 = sqlx::query_scalar("select count(*) from outbox.event").fetch_one(&mut *conn).await?;
        most = most.max(rows);
        tokio::time::sleep(LOOKS_EVERY).await;
    }
    Ok(most as f64)
}
