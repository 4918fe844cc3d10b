//! Compares what happened with what was promised. Pure.

mod arrivals; // where each event must have arrived, and where none may
mod observed; // the reasons of fallback polls, and gaps in the observation
mod order; // the order of a key's events, and the way of the cursor
mod repeats; // calls after a success, and the faults that excuse them
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use outbox::EventId;
use serde::Serialize;

use crate::history::{Answer, At, Call, Change, History};
use crate::routes::{GARBLED, Rpc, subscribers};

/// So many violations of a kind are shown; the others are counted.
const EXAMPLES_MAX: usize = 10;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) events: usize,
    pub(crate) deliveries: usize,
    pub(crate) repeats_excused: Vec<Excused>,
    pub(crate) violations: Vec<Violation>,
}

/// A call after a success that a fault in between excuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Excused {
    pub(crate) event: EventId,
    pub(crate) rpc: &'static str,
    pub(crate) because: String,
}

/// A broken promise, with examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    pub(crate) kind: &'static str,
    pub(crate) count: usize,
    pub(crate) examples: Vec<String>,
}

pub(crate) fn judge(history: &History) -> Verdict {
    let facts = Facts::of(history);
    let mut found = Findings::default();
    facts.outcomes(&mut found);
    facts.arrivals(&mut found);
    facts.strangers(&mut found);
    facts.order(&mut found);
    facts.moved_once(&mut found);
    facts.parked_once(&mut found);
    facts.records(&mut found);
    let late_excused = facts.after_the_record(&mut found);
    facts.cursor(&mut found);
    facts.wake_ups(&mut found);
    facts.blind_spots(&mut found);
    let mut repeats_excused = facts.repeats(&mut found);
    repeats_excused.extend(late_excused);
    for complaint in &history.complaints {
        found.add(complaint.kind, complaint.what.clone());
    }
    Verdict {
        events: history.committed.len(),
        deliveries: history.committed.iter().map(|change| facts.due(change).len()).sum(),
        repeats_excused,
        violations: found.0.into_values().collect(),
    }
}

#[derive(Default)]
struct Findings(BTreeMap<&'static str, Violation>);

impl Findings {
    fn add(&mut self, kind: &'static str, what: String) {
        let violation = self.0.entry(kind).or_insert(Violation { kind, count: 0, examples: Vec::new() });
        violation.count += 1;
        if violation.examples.len() < EXAMPLES_MAX {
            violation.examples.push(what);
        }
    }
}

struct Facts<'a> {
    history: &'a History,
    committed: HashMap<EventId, &'a Change>,
    /// In the order of their arrival.
    calls: HashMap<(EventId, Rpc), Vec<Call>>,
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let mut calls: HashMap<_, Vec<Call>> = HashMap::new();
        for call in &history.calls {
            calls.entry((call.event, call.rpc)).or_default().push(*call);
        }
        calls.values_mut().for_each(|calls| calls.sort_by_key(|call| call.came));
        let committed = history.committed.iter().map(|change| (change.event, change)).collect();
        Self { history, committed, calls }
    }

    /// The RPCs that must receive a committed event. A row that no bus can carry has none.
    fn due(&self, change: &Change) -> &'static [Rpc] {
        if change.name == GARBLED { &[] } else { subscribers(&change.name) }
    }

    fn succeeded(&self, event: EventId, rpc: Rpc) -> Option<(Call, At)> {
        self.calls.get(&(event, rpc))?.iter().find_map(|call| match call.answer {
            Some((Answer::Success, at)) => Some((*call, at)),
            _ => None,
        })
    }
}
