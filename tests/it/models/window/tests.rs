use stateright::Checker;

use super::*;
use crate::models::{breaks, holds};

fn outbox(transactions: &[(char, usize)], page_max: usize, reading: Reading) -> Outbox {
    let transactions = transactions.iter().map(|&(key, events)| Plan { key, events }).collect();
    Outbox { transactions, page_max, restarts_max: 0, server_crashes: false, reading }
}

/// Guards promises 2 and 4: three transactions, two with one key, are read whole or in pages, by a relay that dies once.
#[test]
fn nothing_is_passed_over_and_keys_keep_their_order() {
    for page_max in [1, 2] {
        let model = outbox(&[('a', 1), ('a', 1), ('b', 1)], page_max, Reading::AsItIs);
        let seen = holds(Outbox { restarts_max: 1, ..model });
        seen.assert_any_discovery(BESIDE);
        seen.assert_any_discovery(AGAIN);
        if page_max == 1 {
            seen.assert_any_discovery(BELOW);
        }
    }
}

/// Guards promise 2 with asynchronous commits: a crash of the server loses cursors, and xids and seqs are drawn again. Pages
/// end within a transaction.
#[test]
fn nothing_is_passed_over_when_the_server_crashes() {
    let model = outbox(&[('a', 2), ('b', 2)], 1, Reading::AsItIs);
    let seen = holds(Outbox { restarts_max: 1, server_crashes: true, ..model });
    seen.assert_any_discovery(BESIDE);
    seen.assert_any_discovery(AGAIN);
}

/// A turn that puts one page, and a turn that finds no more.
const A_PAGE: [Step; 6] = [Step::Look, Step::Count, Step::Put, Step::Advance, Step::Look, Step::Advance];

/// Guards the reason for the window: the transaction that draws first may commit last.
#[test]
fn reading_above_the_last_seq_would_lose_a_late_commit() {
    use Step::{Advance, Commit, Count, DrawSeq, DrawXid, Lock, Look, Put};
    let story = [
        [DrawXid(0), Lock(0), DrawSeq(0)],
        [DrawXid(1), Lock(1), DrawSeq(1)],
        [Commit(1), Look, Count],
        [Put, Advance, Commit(0)],
    ];
    breaks(outbox(&[('a', 1), ('b', 1)], 3, Reading::SeqAboveLast), ALL_PUT, story.as_flattened());
}

/// Guards the order within a window: xids are drawn before the row's lock is taken, or after it.
#[test]
fn the_order_of_xids_would_turn_a_key_around() {
    use Step::{Commit, Count, DrawSeq, DrawXid, Lock, Look, Put};
    let story = [
        DrawXid(1),
        DrawXid(0),
        Lock(0),
        DrawSeq(0),
        Commit(0),
        Lock(1),
        DrawSeq(1),
        Commit(1),
        Look,
        Count,
        Put,
        Put,
    ];
    breaks(outbox(&[('a', 1), ('a', 1)], 3, Reading::OrderOfXids), KEY_ORDER, &story);
}

/// Guards the floor: a snapshot's xmax does not show which transactions have begun. So the sequence's current value may
/// belong to an open transaction above it.
#[test]
fn the_floor_of_this_turn_would_lose_an_open_transaction() {
    use Step::{Advance, Commit, Count, DrawSeq, DrawXid, Lock, Look};
    let story = [
        &[DrawXid(1), DrawXid(0), Lock(0), DrawSeq(0), Lock(1), DrawSeq(1), Commit(1)][..],
        &A_PAGE,
        &[Commit(0), Look, Count, Advance],
    ];
    breaks(outbox(&[('a', 1), ('b', 1)], 1, Reading::FloorOfThisTurn), NOT_PASSED_OVER, &story.concat());
}

/// Guards that a turn that reads also writes: its xid lies between its reading of the sequence and the next snapshot.
#[test]
fn a_turn_without_an_advance_would_lose_an_open_transaction() {
    use Step::{Advance, Commit, Count, DrawSeq, DrawXid, Forgo, Lock, Look};
    let story = [
        &[DrawXid(1), DrawXid(0), Lock(0), DrawSeq(0), Lock(1), DrawSeq(1), Commit(1)][..],
        &[Look, Count, Forgo],
        &A_PAGE,
        &[Commit(0), Look, Count, Advance],
    ];
    breaks(outbox(&[('a', 1), ('b', 1)], 1, Reading::TurnWithoutAdvance), NOT_PASSED_OVER, &story.concat());
}

/// Guards the order of the columns of `outbox.event`.
#[test]
fn a_seq_drawn_before_the_xid_would_lose_its_transaction() {
    use Step::{Advance, Commit, Count, DrawSeq, DrawXid, Lock, Look};
    let story = [
        &[Lock(0), DrawSeq(0), DrawXid(0), Commit(0)][..],
        &[Lock(1), DrawSeq(1)],
        &A_PAGE,
        &[Lock(2), DrawSeq(2), DrawXid(2), Commit(2)],
        &A_PAGE,
        &[DrawXid(1), Commit(1), Look, Count, Advance],
    ];
    breaks(
        outbox(&[('a', 1), ('b', 1), ('c', 1)], 1, Reading::SeqBeforeXid),
        NOT_PASSED_OVER,
        &story.concat(),
    );
}
