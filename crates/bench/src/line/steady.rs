//! The latency of an event at rates that every system sustains.

use super::cell::Cell;
use super::rounds::{COMPARISONS, Rounds, rounds_of, row};
use super::system::{Kind, System};
use crate::pairs::quantile;
use crate::plan::Plan;
use crate::result::Result;
use crate::row::{Must, Row};

const FULL: f64 = 1000.0;

pub(crate) async fn rows(plan: &Plan, systems: &[System]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let rates: &[f64] = if plan.quick { &[FULL] } else { &[100.0, FULL] };
    for &per_second in rates {
        let mut rounds = Rounds::default();
        for _ in 0..rounds_of(plan) {
            rounds.begin();
            for system in systems {
                let cell = Cell::of(system, per_second, plan.seconds(10, 3)).await?;
                if cell.lost > 0 {
                    return Err(format!("{:?}: {} deliveries never came", system.kind, cell.lost).into());
                }
                rounds.measured(system.kind, cell);
            }
        }
        rows.extend(rows_of(&rounds, per_second));
    }
    Ok(rows)
}

fn rows_of(rounds: &Rounds<Cell>, per_second: f64) -> Vec<Row> {
    type Clock = fn(&Cell) -> &Vec<f64>;
    let clocks: [(&str, Clock, f64); 2] = [
        ("COMMIT's return", |cell| &cell.after_commit, 0.55),
        // The honest measure: the publisher waits for a slow COMMIT.
        ("before COMMIT", |cell| &cell.before_commit, 0.2),
    ];
    let mut rows = Vec::new();
    for (ours, beside) in COMPARISONS {
        for (clock, values, most) in clocks {
            for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
                let Some(pairs) = rounds.pairs(ours, beside, |cell| quantile(values(cell), q)) else {
                    continue;
                };
                let row = row("ms", &pairs, ours, beside).with("events/s", per_second).with("from", clock);
                let row = row.with("quantile", name);
                let gated = beside == Kind::Graphile && per_second >= FULL && name == "p99";
                rows.push(if gated { row.must(Must::RatioAtMost(most)) } else { row });
            }
        }
    }
    rows
}
