use stateright::Checker;

use super::Step::*;
use super::*;
use crate::models::{breaks, holds};

/// Guards promise 3: while receipts are folded and ids forgotten, each id is found that is recorded, and none that is
/// forgotten.
#[test]
fn an_id_is_found_until_it_is_forgotten() {
    holds(Receipts(Code::AsItIs)).assert_any_discovery(FOLDED);
}

/// Guards `outbox.minute_end`: receipts of the whole minute are read.
#[test]
fn a_look_nearby_would_not_find_an_id() {
    breaks(Receipts(Code::LooksNearby), FOUND, &[Record(2), Record(3), FoldReads(0), FoldWrites]);
}

/// Guards the split of a batch by minutes: a look reads the slot of its id, and so does what truncates it.
#[test]
fn a_receipt_of_two_weeks_would_not_be_found() {
    breaks(Receipts(Code::KeepsWeeksTogether), FOUND, &[Record(1)]);
}

/// Guards the one statement of `outbox.fold_receipts`.
#[test]
fn folding_in_two_transactions_would_hide_ids() {
    breaks(Receipts(Code::FoldsInTwo), FOUND, &[Record(2), Record(3), FoldReads(0)]);
}

/// Guards that `outbox.fold_receipts` writes what its delete returned, and locked.
#[test]
fn folding_without_locks_would_bring_back_what_is_forgotten() {
    let story = [Record(2), Record(3), FoldReads(0), ForgetReads(0), ForgetWrites, FoldWrites];
    breaks(Receipts(Code::FoldsUnlocked), FORGOTTEN, &story);
}

/// Guards the loop of `outbox.forget`: what it waited for may be gone, and its ids be in another receipt.
#[test]
fn forgetting_once_would_leave_what_was_folded() {
    let story = [Record(2), Record(3), FoldReads(0), ForgetReads(0), FoldWrites, ForgetWrites];
    breaks(Receipts(Code::ForgetsOnce), FORGOTTEN, &story);
}
