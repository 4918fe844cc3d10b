//! The cost of an open transaction for other publishers: one has enqueued and does not end.

use sqlx::Executor;

use crate::database::{Database, EVENT};
use crate::pairs::{Pairs, quantile};
use crate::plan::Plan;
use crate::publisher::{Load, publish};
use crate::result::Result;
use crate::row::{Must, Row};
use crate::wake::{after_commit, all_arrived, watched};

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let lasts = plan.seconds(30, 4);
    let load = Load { per_second: 1000.0, connections: 16, lasts };
    let (mut p50, mut p99) = (Pairs::default(), Pairs::default());
    for _ in 0..if plan.quick { 1 } else { 3 } {
        let before = others(&database, load).await?;
        let mut writer = database.connect().await?;
        writer.execute("begin").await?;
        writer.execute("select outbox.enqueue('event_bench', '{}')").await?;
        let during = others(&database, load).await?;
        writer.execute("rollback").await?;
        p50.push(quantile(&during, 0.5), quantile(&before, 0.5));
        p99.push(quantile(&during, 0.99), quantile(&before, 0.99));
    }
    let row = |pairs: &Pairs, quantile: &str| {
        let row = Row::of_pairs("long_writer", "ms", pairs).with("open_seconds", lasts.as_secs());
        row.with("events/s", load.per_second).with("quantile", quantile).with("beside", "before it")
    };
    Ok(vec![row(&p50, "p50"), row(&p99, "p99").must(Must::RatioAtMost(1.5))])
}

/// Milliseconds from COMMIT's return to the put, for other publishers' events.
async fn others(database: &Database, load: Load) -> Result<Vec<f64>> {
    let (relay, arrived) = watched(database);
    let sent = publish(&database.url(), &format!("select outbox.enqueue('{EVENT}', $1)"), load).await?;
    all_arrived(&arrived, sent.len()).await?;
    relay.stop().await?;
    Ok(after_commit(&sent, &arrived))
}
