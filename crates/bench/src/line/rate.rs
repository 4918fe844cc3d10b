//! The highest sustainable rate: p99 below 100 ms, no loss, and a publisher that keeps up. It stands beside the peers'
//! rates, and beside the publisher's own.

use super::cell::Cell;
use super::rounds::{COMPARISONS, Rounds, row};
use super::search::Search;
use super::system::{Kind, System};
use crate::pairs::{Pairs, median};
use crate::plan::Plan;
use crate::publisher::published_per_second;
use crate::result::Result;
use crate::row::{Must, Row};

const CONNECTIONS: usize = 32;

pub(crate) async fn rows(plan: &Plan, systems: &[System]) -> Result<Vec<Row>> {
    let wanted = |kind| !plan.quick || matches!(kind, Kind::Ours | Kind::Graphile | Kind::Boss);
    let systems: Vec<&System> = systems.iter().filter(|system| wanted(system.kind)).collect();
    let (found, ceiling) = search(plan, &systems).await?;
    let mut rounds = Rounds::default();
    rounds.begin();
    for (system, found) in systems.iter().zip(found) {
        rounds.measured(system.kind, held(plan, system, found.best()).await?);
    }
    let rate = |row: Row| row.with("held for", plan.seconds(30, 3).as_secs()).with("p99 below", "100 ms");
    let mut rows = Vec::new();
    for (ours, beside) in COMPARISONS {
        let Some(pairs) = rounds.pairs(ours, beside, |rate| *rate) else { continue };
        let row = rate(row("events/s", &pairs, ours, beside));
        rows.push(if beside == Kind::Graphile { row.must(Must::RatioAtLeast(5.5)) } else { row });
    }
    let ours = rounds.pairs(Kind::Ours, Kind::Ours, |rate| *rate).map_or(f64::NAN, |pairs| pairs.ours());
    let mut pairs = Pairs::default();
    pairs.push(ours, median(&ceiling));
    let row = Row::of_pairs("line", "events/s", &pairs).with("behind the seam", "nothing").with("fan-out", 1);
    rows.push(rate(row.with("beside", "publish only")).must(Must::RatioAtLeast(0.8)));
    Ok(rows)
}

/// One step of each system in turn, and of the publisher alone, until every search has ended.
async fn search(plan: &Plan, systems: &[&System]) -> Result<(Vec<Search>, Vec<f64>)> {
    let steps = plan.count(6, 1);
    let mut searches: Vec<Search> = systems.iter().map(|system| from(system.kind, steps)).collect();
    let mut ceiling = Vec::new();
    while searches.iter().any(|search| search.next().is_some()) {
        for (system, search) in systems.iter().zip(&mut searches) {
            let Some(asked) = search.next() else { continue };
            let cell = Cell::of(system, asked, plan.seconds(6, 2)).await?;
            search.heard(asked, cell.holds(asked));
        }
        if let Some(ours) = systems.iter().find(|system| system.kind == Kind::Ours) {
            ours.empty().await?;
            let lasts = plan.seconds(5, 2);
            ceiling.push(published_per_second(&ours.url, &ours.sql.enqueue, CONNECTIONS, lasts).await?);
            ours.empty().await?;
        }
    }
    Ok((searches, ceiling))
}

fn from(kind: Kind, steps: usize) -> Search {
    match kind {
        Kind::Ours | Kind::Connect => Search::from(2800.0, steps),
        Kind::FanOut => Search::from(1400.0, steps),
        Kind::Graphile | Kind::Boss => Search::from(700.0, steps),
    }
}

/// The rate over half a minute, lowered until it is sustained. NaN if no rate near the search's result is.
async fn held(plan: &Plan, system: &System, found: f64) -> Result<f64> {
    let (mut asked, lower) = (found, if plan.quick { 0.5 } else { 0.9 });
    for _ in 0..plan.count(5, 3) {
        let cell = Cell::of(system, asked, plan.seconds(30, 3)).await?;
        if cell.holds(asked) {
            return Ok(cell.per_second);
        }
        eprintln!("line: {:?} does not hold {asked:.0}/s", system.kind);
        asked *= lower;
    }
    eprintln!("!!! NOT MEASURED: the rate that {:?} holds", system.kind);
    Ok(f64::NAN)
}
