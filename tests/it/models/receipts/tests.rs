use stateright::Checker;

use super::Step::*;
use super::*;
use crate::models::{breaks, holds};

/// Guards promise 3: while receipts are folded and ids forgotten, each recorded id is found, and no forgotten one.
#[test]
fn an_id_is_found_until_it_is_forgotten() {
    holds(Receipts(Code::AsItIs)).assert_any_discovery(FOLDED);
}

/// Guards promise 3: a search reads the receipts of the whole minute (`outbox.minute_end`).
#[test]
fn a_look_nearby_would_not_find_an_id() {
    breaks(Receipts(Code::LooksNearby), FOUND, &[Record(2), Record(3), FoldReads(0), FoldWrites]);
}

/// Guards promise 3: a batch has a receipt for each minute, because a search reads only the slot of its id.
#[test]
fn a_receipt_of_two_weeks_would_not_be_found() {
    breaks(Receipts(Code::KeepsWeeksTogether), FOUND, &[Record(1)]);
}

/// Guards promise 3: `outbox.fold_receipts` is one statement.
#[test]
fn folding_in_two_transactions_would_hide_ids() {
    breaks(Receipts(Code::FoldsInTwo), FOUND, &[Record(2), Record(3), FoldReads(0)]);
}

/// Guards promise 3: `outbox.fold_receipts` locks the receipts that it reads.
#[test]
fn folding_without_locks_would_bring_back_what_is_forgotten() {
    let story = [Record(2), Record(3), FoldReads(0), ForgetReads(0), ForgetWrites, FoldWrites];
    breaks(Receipts(Code::FoldsUnlocked), FORGOTTEN, &story);
}

/// Guards promise 3: `outbox.forget` repeats its search, because a fold may have moved the id to another receipt.
#[test]
fn forgetting_once_would_leave_what_was_folded() {
    let story = [Record(2), Record(3), FoldReads(0), ForgetReads(0), FoldWrites, ForgetWrites];
    breaks(Receipts(Code::ForgetsOnce), FORGOTTEN, &story);
}
