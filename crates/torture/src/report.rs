//! The result of a run, for operators and for programs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::history::History;
use crate::judge::{Excused, Verdict, Violation};
use crate::run::{Failure, Run};
use crate::world::World;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    transport: &'static str,
    seconds: u64,
    events: usize,
    deliveries: usize,
    faults: BTreeMap<String, usize>,
    repeats_excused: usize,
    violations: Vec<Violation>,
    #[serde(skip)]
    excused: Vec<Excused>,
    #[serde(skip)]
    about: About,
}

/// The amount of everything that a run must have plenty of.
#[derive(Debug)]
struct About {
    rolled_back: usize,
    unknown: usize,
    calls: usize,
    dead: usize,
    parked: usize,
    /// While the relay was awake, and while it slept.
    prepared: (usize, usize),
    turns: usize,
    /// In a hundred samples.
    slept: usize,
}

impl Report {
    pub(crate) fn of(run: &Run, history: &History, verdict: Verdict, turns: usize) -> Self {
        use crate::history::Outcome::{RolledBack, Unknown};
        let mut faults = BTreeMap::new();
        for spell in &history.spells {
            *faults.entry(spell.fault.name()).or_default() +=
                usize::from(!spell.whom.starts_with("not done"));
        }
        let told = |outcome| history.told.iter().filter(|told| told.outcome == outcome).count();
        Self {
            seed: run.seed,
            transport: run.transport.name(),
            seconds: run.seconds,
            events: verdict.events,
            deliveries: verdict.deliveries,
            faults,
            repeats_excused: verdict.repeats_excused.len(),
            violations: verdict.violations,
            excused: verdict.repeats_excused,
            about: About {
                rolled_back: told(RolledBack),
                unknown: told(Unknown),
                calls: history.calls.len(),
                dead: history.dead.len(),
                parked: history.parked.len(),
                prepared: history.prepared,
                turns,
                slept: 100 * history.cursor.iter().filter(|sample| sample.asleep).count()
                    / history.cursor.len().max(1),
            },
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn show(&self) {
        let About { rolled_back, unknown, calls, dead, parked, prepared: (awake, asleep), turns, slept } =
            &self.about;
        println!(
            "\n{} events committed, {rolled_back} rolled back, {unknown} of unknown outcome at first",
            self.events
        );
        println!("{} transactions prepared, {asleep} of them while the relay slept", awake + asleep);
        println!("{} deliveries due, {calls} calls, {dead} dead-lettered, {parked} parked", self.deliveries);
        println!("the outbox's ring turned {turns} times; its relay slept in {slept} of 100 samples");
        let faults: Vec<String> = self.faults.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
        println!("faults: {}", faults.join(", "));
        let mut because: BTreeMap<&str, usize> = BTreeMap::new();
        for excused in &self.excused {
            *because.entry(&excused.because).or_default() += 1;
        }
        println!("called again, in the gap between success and record: {}", self.excused.len());
        for (because, times) in because {
            println!("  {times:>4} {because}");
        }
        for violation in &self.violations {
            println!("✗ {} ({})", violation.kind, violation.count);
            for example in &violation.examples {
                println!("    {example}");
            }
        }
        if self.holds() {
            println!("✓ every promise was kept");
        } else {
            let Self { transport, seconds, seed, .. } = self;
            println!("again: cargo xtask torture --transport {transport} --seconds {seconds} --seed {seed}");
        }
    }
}

/// Writes files that may explain a failure.
pub(crate) fn keep(logs: &Path, world: &World, history: &History, verdict: &Verdict) -> Result<(), Failure> {
    std::fs::write(logs.join("history.json"), serde_json::to_vec(history)?)?;
    std::fs::write(logs.join("verdict.json"), serde_json::to_vec_pretty(verdict)?)?;
    std::fs::copy(world.cluster.dir().join("log"), logs.join("postgres.log"))?;
    Ok(())
}
