//! Does it get slower as it gets more? The relay's rate at a backlog a thousand times as large, and with a hundred times as
//! many routes, beside the smallest.

use event_router::Router;
use relay::bus::PostgresBus;

use crate::database::{Database, EVENT};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::relaying::{Sink, drained_per_second};
use crate::report::{Must, Row};
use crate::result::Result;

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = backlogs(plan).await?;
    rows.extend(routes(plan).await?);
    Ok(rows)
}

/// Each in a database of its own, measured in turn.
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
    drained_per_second(&database.source, Sink, events).await
}

/// An event each, with one subscriber each; as many events in all.
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
    drained_per_second(&database.source, PostgresBus::new("bench", router), events).await
}
