//! An id is found while it is recorded, and not after it is forgotten. The ids are of two weeks. Their receipts are folded
//! while ids are searched and forgotten.
//!
//! An id stands for the time in it: three ids are a minute, and six a week. The receipts of a minute lie in the slot of its
//! week, and are found by their last id.
//!
//! | step | code |
//! |---|---|
//! | `Record` | `outbox.record`: a batch of ids, one receipt for each minute |
//! | `FoldReads`, `FoldWrites` | `outbox.fold_receipts`: reads and locks small receipts of a minute, then replaces them by one |
//! | `ForgetReads`, `ForgetWrites` | `outbox.forget`: finds the receipts with an id, then removes it from each |
//!
//! A search is one statement, so it reads one committed state. The properties check it in each state.

mod tests;

use stateright::{Model, Property};

const FOUND: &str = "a recorded id is found";
const FORGOTTEN: &str = "a forgotten id is not found";
const FOLDED: &str = "receipts are folded";

type Id = u8;
const MINUTE: Id = 3;
const WEEK: Id = 6;
/// A batch of two minutes, one of two weeks, and single ids.
const BATCHES: [&[Id]; 4] = [&[1, 4], &[5, 6], &[0], &[2]];
const FORGETS: [Id; 2] = [0, 6];

#[derive(Debug, Clone, Copy)]
struct Receipts(Code);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    AsItIs,
    /// A search reads only receipts whose last id is next to its own.
    LooksNearby,
    /// A batch becomes one receipt, in the slot of its first id.
    KeepsWeeksTogether,
    /// Receipts are deleted in one transaction, and their replacement is written in the next.
    FoldsInTwo,
    /// Receipts are read without being locked.
    FoldsUnlocked,
    /// An id is removed from the receipts that were found, and the search is not repeated.
    ForgetsOnce,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct State {
    /// Each has a number that no other one gets.
    receipts: Vec<(u8, Receipt)>,
    written: u8,
    recorded: [bool; BATCHES.len()],
    /// Numbers of receipts, and the ids that were in them.
    fold: Option<(Vec<u8>, Vec<Id>)>,
    folds: u8,
    forget: Option<(Id, Vec<u8>)>,
    forgotten: Vec<Id>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Receipt {
    slot: u8,
    ids: Vec<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Record(usize),
    FoldReads(Id),
    FoldWrites,
    ForgetReads(Id),
    ForgetWrites,
}

fn slot(id: Id) -> u8 {
    id / WEEK
}

impl Receipts {
    /// `outbox.recorded`
    fn finds(self, state: &State, id: Id) -> bool {
        let bound = match self.0 {
            Code::LooksNearby => id + 1,
            _ => id / MINUTE * MINUTE + MINUTE - 1,
        };
        let has = |(_, receipt): &(u8, Receipt)| {
            let last = receipt.ids.last().copied().unwrap_or_default();
            receipt.slot == slot(id) && (id..=bound).contains(&last) && receipt.ids.contains(&id)
        };
        state.receipts.iter().any(has)
    }
}

impl State {
    fn write(&mut self, mut ids: Vec<Id>) {
        ids.sort_unstable();
        if let Some(&first) = ids.first() {
            self.receipts.push((self.written, Receipt { slot: slot(first), ids }));
            self.written += 1;
        }
    }

    fn is_recorded(&self, id: Id) -> bool {
        BATCHES.iter().zip(self.recorded).any(|(batch, recorded)| recorded && batch.contains(&id))
    }

    fn with(&self, id: Id) -> Vec<u8> {
        self.receipts
            .iter()
            .filter(|(_, receipt)| receipt.ids.contains(&id))
            .map(|(number, _)| *number)
            .collect()
    }
}

impl Model for Receipts {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend((0..BATCHES.len()).filter(|&batch| !state.recorded[batch]).map(Step::Record));
        match state.fold {
            Some(_) => steps.push(Step::FoldWrites),
            None if state.folds < 2 => steps.extend([Step::FoldReads(0), Step::FoldReads(1)]),
            None => {}
        }
        match state.forget {
            Some(_) => steps.push(Step::ForgetWrites),
            // An operator forgets only ids that were done.
            None => steps.extend(
                FORGETS
                    .into_iter()
                    .filter(|id| state.is_recorded(*id) && !state.forgotten.contains(id))
                    .map(Step::ForgetReads),
            ),
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Record(batch) => {
                state.recorded[batch] = true;
                if self.0 == Code::KeepsWeeksTogether {
                    state.write(BATCHES[batch].to_vec());
                } else {
                    for of in BATCHES[batch].chunk_by(|one, next| one / MINUTE == next / MINUTE) {
                        state.write(of.to_vec());
                    }
                }
            }
            Step::FoldReads(minute) => {
                let of = |(_, receipt): &&(u8, Receipt)| receipt.ids[0] / MINUTE == minute;
                let small: Vec<_> = state.receipts.iter().filter(of).cloned().collect();
                (small.len() > 1).then_some(())?;
                let numbers: Vec<u8> = small.iter().map(|(number, _)| *number).collect();
                let ids = small.into_iter().flat_map(|(_, receipt)| receipt.ids).collect();
                if self.0 == Code::FoldsInTwo {
                    state.receipts.retain(|(number, _)| !numbers.contains(number));
                }
                state.fold = Some((numbers, ids));
            }
            Step::FoldWrites => {
                let (numbers, ids) = state.fold.take()?;
                state.receipts.retain(|(number, _)| !numbers.contains(number));
                state.write(ids);
                state.folds += 1;
            }
            Step::ForgetReads(id) => state.forget = Some((id, state.with(id))),
            Step::ForgetWrites => {
                let (id, found) = state.forget.clone()?;
                let is_locked =
                    |number: &u8| state.fold.as_ref().is_some_and(|(locked, _)| locked.contains(number));
                if self.0 != Code::FoldsUnlocked && found.iter().any(is_locked) {
                    return None;
                }
                for (_, receipt) in state.receipts.iter_mut().filter(|(number, _)| found.contains(number)) {
                    receipt.ids.retain(|of| *of != id);
                }
                state.receipts.retain(|(_, receipt)| !receipt.ids.is_empty());
                let left = state.with(id);
                if left.is_empty() || self.0 == Code::ForgetsOnce {
                    state.forgotten.push(id);
                    state.forget = None;
                } else {
                    state.forget = Some((id, left));
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FOUND, |receipts: &Self, state: &State| {
                let may_be_gone = |id| {
                    state.forgotten.contains(&id)
                        || state.forget.as_ref().is_some_and(|forget| forget.0 == id)
                };
                let mut ids = BATCHES.into_iter().flatten().copied();
                ids.all(|id| !state.is_recorded(id) || may_be_gone(id) || receipts.finds(state, id))
            }),
            Property::always(FORGOTTEN, |receipts: &Self, state: &State| {
                state.forgotten.iter().all(|id| !receipts.finds(state, *id))
            }),
            Property::sometimes(FOLDED, |_, state: &State| state.folds == 2),
        ]
    }
}
