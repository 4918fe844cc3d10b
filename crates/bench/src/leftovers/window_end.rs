//! The last page of a window, with millions of events that were published since the window's end.

use std::time::{Duration, Instant};

use sqlx::Executor;

use super::pile::pile;
use crate::database::{Database, EVENT};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::relaying::{Relaying, sink};
use crate::result::Result;
use crate::row::{Must, Row};

/// The events of the window that are left when the relay starts.
const LEFT: usize = 10;
const WINDOW: usize = 1000;

pub(super) async fn row(plan: &Plan) -> Result<Row> {
    let events = plan.count(5_000_000, 200_000);
    let database = Database::start().await?;
    database.fill(WINDOW, &[EVENT.to_owned()]).await?;
    let end = End::now(&database).await?;
    let mut before = Vec::new();
    for _ in 0..plan.pairs() {
        before.push(last_page(&database, &end).await?);
    }
    let mut conn = database.connect().await?;
    pile(&mut conn, events).await?;
    conn.execute("checkpoint").await?;
    let mut pairs = Pairs::default();
    for before in before {
        pairs.push(last_page(&database, &end).await?, before);
    }
    let row = Row::of_pairs("leftovers", "ms", &pairs).with("left", "window_end").with("since", events);
    Ok(row.with("beside", "before them").must(Must::AboveBaselineAtMost(50.0)))
}

/// The end of a window.
#[derive(Debug)]
struct End {
    snapshot: String,
    seq: i64,
}

impl End {
    async fn now(database: &Database) -> Result<Self> {
        let mut conn = database.connect().await?;
        let (snapshot, seq) =
            sqlx::query_as("select pg_current_snapshot()::text, last_value from outbox.event_seq")
                .fetch_one(&mut conn)
                .await?;
        Ok(Self { snapshot, seq })
    }
}

/// Milliseconds from a relay's start to the put of the window's remaining events.
async fn last_page(database: &Database, end: &End) -> Result<f64> {
    let mut conn = database.connect().await?;
    // The cursor of a relay that stopped in the middle of its first window.
    sqlx::query(
        "insert into outbox.cursor (snapshot, page_snapshot, page_seq, page_end_seq, last_seq, floor_seq, system_identifier, relay, slot)
         select '1:1:', $1, $2, $3, $2, 0, system_identifier, 'bench', (select last_value from outbox.cursor_slot)
         from pg_control_system()",
    )
    .bind(&end.snapshot)
    .bind(end.seq - i64::try_from(LEFT)?)
    .bind(end.seq)
    .execute(&mut conn)
    .await?;
    let (bus, count) = sink();
    let began = Instant::now();
    let relay = Relaying::start(&database.source, bus);
    let put = tokio::time::timeout(Duration::from_secs(120), count.reaches(LEFT)).await;
    let put = put.map_err(|_| "the last page was not put within 120 s")?;
    relay.stop().await?;
    Ok((put - began).as_secs_f64() * 1000.0)
}
