//! Every system once per round, in turn; only results of the same round are compared.

use std::collections::BTreeMap;

use super::system::Kind;
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::row::Row;

/// The compared pairs.
pub(crate) const COMPARISONS: [(Kind, Kind); 4] = [
    (Kind::Ours, Kind::Graphile),
    (Kind::Ours, Kind::Boss),
    (Kind::Connect, Kind::Ours),
    (Kind::FanOut, Kind::Ours),
];

#[derive(Debug)]
pub(crate) struct Rounds<T>(Vec<BTreeMap<Kind, T>>);

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Rounds<T> {
    pub(crate) fn begin(&mut self) {
        self.0.push(BTreeMap::new());
    }

    /// Adds a result to the current round.
    pub(crate) fn measured(&mut self, kind: Kind, value: T) {
        if let Some(round) = self.0.last_mut() {
            round.insert(kind, value);
        }
    }

    /// `None` if one of the two was never measured.
    pub(crate) fn pairs(&self, ours: Kind, beside: Kind, of: impl Fn(&T) -> f64) -> Option<Pairs> {
        let mut pairs = None;
        for round in &self.0 {
            if let (Some(ours), Some(beside)) = (round.get(&ours), round.get(&beside)) {
                pairs.get_or_insert_with(Pairs::default).push(of(ours), of(beside));
            }
        }
        pairs
    }
}

pub(crate) fn row(unit: &'static str, pairs: &Pairs, ours: Kind, beside: Kind) -> Row {
    let (behind, copies) = match ours {
        Kind::Connect => ("a Connect call", 1),
        Kind::FanOut => ("nothing", 3),
        _ => ("nothing", 1),
    };
    let beside = match beside {
        Kind::Graphile => "graphile-worker",
        Kind::Boss => "pg-boss",
        _ if ours == Kind::FanOut => "fan-out 1",
        _ => "nothing behind the seam",
    };
    let row = Row::of_pairs("line", unit, pairs).with("behind the seam", behind);
    row.with("fan-out", copies).with("beside", beside)
}

/// The number of rounds.
pub(super) fn rounds_of(plan: &Plan) -> usize {
    plan.count(3, 1)
}
