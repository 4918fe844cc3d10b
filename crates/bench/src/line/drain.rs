//! The rate at which a backlog reaches its handlers.

use std::collections::HashMap;

use super::rounds::{COMPARISONS, Rounds, rounds_of, row};
use super::system::{Kind, System};
use crate::plan::Plan;
use crate::result::Result;
use crate::row::{Must, Row};

pub(crate) async fn rows(plan: &Plan, systems: &[System]) -> Result<Vec<Row>> {
    let events = plan.count(100_000, 10_000);
    let mut rounds = Rounds::default();
    for _ in 0..rounds_of(plan) {
        rounds.begin();
        for system in systems {
            rounds.measured(system.kind, drained_per_second(system, events).await?);
        }
    }
    let mut rows = Vec::new();
    for (ours, beside) in COMPARISONS {
        let Some(pairs) = rounds.pairs(ours, beside, |rate| *rate) else { continue };
        let row = row("deliveries/s", &pairs, ours, beside).with("backlog", events);
        rows.push(match (ours, beside) {
            (Kind::Ours, Kind::Graphile) => row.must(Must::RatioAtLeast(2.5)),
            (Kind::Connect, _) => row.must(Must::RatioAtLeast(0.5)),
            _ => row,
        });
    }
    Ok(rows)
}

/// Deliveries per second, from the first handler to the last.
async fn drained_per_second(system: &System, events: usize) -> Result<f64> {
    system.empty().await?;
    system.fill(events).await?;
    let mut running = system.start().await?;
    let all = running.entered(events * system.copies).await?;
    let entered = running.stop().await?;
    system.empty().await?;
    let count = entered.values().map(Vec::len).sum::<usize>();
    if !all {
        return Err(format!("{:?}: only {count} of a backlog of {events} events", system.kind).into());
    }
    Ok((count - 1) as f64 / seconds(&entered))
}

fn seconds(entered: &HashMap<u64, Vec<i64>>) -> f64 {
    let times = || entered.values().flatten().copied();
    let nanos = times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
    nanos as f64 / 1e9
}
