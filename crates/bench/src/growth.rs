//! The relay's rate with a backlog a thousand times as large, and with a hundred times as many routes, beside the smallest.

use std::time::{Duration, Instant};

use outbox_event_router::Router;
use outbox_postgres::PostgresBus;

use crate::database::{Database, EVENT};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::relaying::{Relaying, drained_per_second};
use crate::result::Result;
use crate::row::{Must, Row};

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = backlogs(plan).await?;
    rows.extend(routes(plan).await?);
    Ok(rows)
}

/// Each backlog is in a database of its own, measured in turn.
async fn backlogs(plan: &Plan) -> Result<Vec<Row>> {
    let smallest = 10_000;
    let larger = if plan.quick { vec![100_000, 300_000] } else { vec![1_000_000, 10_000_000] };
    let small = filled(smallest).await?;
    let mut rows = Vec::new();
    for events in larger {
        let large = filled(events).await?;
        let mut pairs = Pairs::default();
        for _ in 0..plan.pairs() {
            let ours = again(&large, events).await?;
            pairs.push(ours, again(&small, smallest).await?);
        }
        rows.push(
            Row::of_pairs("growth", "events/s", &pairs)
                .with("backlog", events)
                .with("beside", format!("{smallest}"))
                .must(Must::RatioAtLeast(0.9)),
        );
    }
    Ok(rows)
}

async fn filled(events: usize) -> Result<Database> {
    let database = Database::start().await?;
    database.fill(events, &[EVENT.to_owned()]).await?;
    Ok(database)
}

async fn again(database: &Database, events: usize) -> Result<f64> {
    database.rewind().await?;
    drained_per_second(&database.source, events).await
}

/// Each route has its own event and one subscriber; the total of events is the same.
async fn routes(plan: &Plan) -> Result<Vec<Row>> {
    let events = plan.count(200_000, 30_000);
    let mut rows = Vec::new();
    for routes in [10, 100] {
        let (many, one) = (routed(routes, events).await?, routed(1, events).await?);
        let mut pairs = Pairs::default();
        for _ in 0..plan.pairs() {
            let ours = routed_per_second(&many, routes, events).await?;
            pairs.push(ours, routed_per_second(&one, 1, events).await?);
        }
        rows.push(
            Row::of_pairs("growth", "events/s", &pairs)
                .with("routes", routes)
                .with("events", events)
                .with("beside", "1 route")
                .must(Must::RatioAtLeast(0.9)),
        );
    }
    Ok(rows)
}

fn names(routes: usize) -> Vec<String> {
    (0..routes).map(|n| format!("{EVENT}_{n}")).collect()
}

async fn routed(routes: usize, events: usize) -> Result<Database> {
    let database = Database::start().await?;
    database.fill(events, &names(routes)).await?;
    Ok(database)
}

async fn routed_per_second(database: &Database, routes: usize, events: usize) -> Result<f64> {
    database.rewind().await?;
    let mut yaml = "event:\n".to_owned();
    for (n, name) in names(routes).iter().enumerate() {
        yaml += &format!("  - name: '{name}'\n    subscriber:\n      - id: 'BenchService/Take{n}'\n");
    }
    let router = Router::parse("bench.yaml", &yaml).map_err(|report| report.to_string())?;
    // Each event has one subscriber, and each delivery its own number.
    let mut conn = database.connect().await?;
    let mut numbered = async || -> Result<i64> {
        // Before its first number a sequence shows that number, and that it was not called.
        let last = "select last_value - case when is_called then 0 else 1 end from outbox.delivery_seq";
        Ok(sqlx::query_scalar(last).fetch_one(&mut conn).await?)
    };
    let before = numbered().await?;
    let all = before + i64::try_from(events)?;
    let relay = Relaying::start(&database.source, PostgresBus::new("bench", router).into());
    let mut began = None;
    let until = Instant::now() + Duration::from_secs(600);
    loop {
        let now = numbered().await?;
        if now > before && began.is_none() {
            began = Some((now, Instant::now()));
        }
        if now >= all {
            break;
        }
        if Instant::now() > until {
            return Err(format!("{} of {events} events after 600 s", now - before).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = Instant::now();
    relay.stop().await?;
    let (first, began) = began.unwrap_or((before, ended));
    Ok((all - first) as f64 / (ended - began).as_secs_f64())
}
