//! The latency of other events while one transaction holds millions of uncommitted events.

use sqlx::Executor;

use super::pile::pile;
use crate::database::{Database, EVENT};
use crate::pairs::{Pairs, quantile};
use crate::plan::Plan;
use crate::publisher::{Load, publish};
use crate::result::Result;
use crate::row::{Must, Row};
use crate::wake::{after_commit, all_arrived, watched};

pub(super) async fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let events = plan.count(4_000_000, 200_000);
    let load = Load { per_second: 500.0, connections: 8, lasts: plan.seconds(15, 4) };
    let database = Database::start().await?;
    let mut before = Vec::new();
    // All of these come first: rolled-back rows stay in the table.
    for _ in 0..rounds(plan) {
        before.push(others(&database, load).await?);
    }
    let mut writer = database.connect().await?;
    writer.execute("begin").await?;
    pile(&mut writer, events).await?;
    database.connect().await?.execute("checkpoint").await?;
    let (mut p50, mut p99) = (Pairs::default(), Pairs::default());
    for before in before {
        let during = others(&database, load).await?;
        p50.push(quantile(&during, 0.5), quantile(&before, 0.5));
        p99.push(quantile(&during, 0.99), quantile(&before, 0.99));
    }
    writer.execute("rollback").await?;
    let row = |pairs: &Pairs, quantile: &str| {
        let row = Row::of_pairs("leftovers", "ms", pairs).with("left", "open_transaction");
        let row = row.with("uncommitted", events).with("events/s", load.per_second);
        row.with("quantile", quantile).with("beside", "before it")
    };
    Ok(vec![row(&p50, "p50").must(Must::RatioAtMost(1.5)), row(&p99, "p99")])
}

fn rounds(plan: &Plan) -> usize {
    plan.count(3, 1)
}

/// Milliseconds from COMMIT's return to the put, for other publishers' events.
async fn others(database: &Database, load: Load) -> Result<Vec<f64>> {
    let (relay, arrived) = watched(database);
    let sent = publish(&database.url(), &format!("select outbox.enqueue('{EVENT}', $1)"), load).await?;
    all_arrived(&arrived, sent.len()).await?;
    relay.stop().await?;
    Ok(after_commit(&sent, &arrived))
}
