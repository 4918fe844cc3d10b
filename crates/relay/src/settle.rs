//! Pure: computes from a window's outcomes how far the cursor may go, and which entries to park.

use outbox_postgres::outbox::{Cursor, Page, Window};
use outbox_transport::{PutError, PutErrorKind};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Refused {
        code: String,
        reason: String,
    },
    /// The relay stopped before the bus took it.
    Pending,
}

impl From<Result<(), PutError>> for Outcome {
    fn from(result: Result<(), PutError>) -> Self {
        match result {
            Ok(()) => Self::Acked,
            Err(PutError { kind: PutErrorKind::Refused, code, reason }) => Self::Refused { code, reason },
            Err(_) => Self::Pending,
        }
    }
}

/// What the advancing transaction writes. Positions are indices of the window's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) cursor: Cursor,
    pub(crate) acked: Vec<usize>,
    pub(crate) parked: Vec<(usize, String, String)>,
}

/// The cursor once the first `upto` of the window's entries are settled.
pub(crate) fn cursor_after(cursor: &Cursor, window: &Window, upto: usize) -> Cursor {
    let passed = &window.entries[..upto];
    let last_seq = passed.iter().map(|entry| entry.seq).max().unwrap_or(0).max(cursor.last_seq);
    match passed.last() {
        _ if upto == window.entries.len() && window.complete => {
            Cursor { snapshot: window.end.clone(), page: None, last_seq, floor_seq: window.end_floor_seq }
        }
        // The whole page may reach further than its last entry, or have none.
        _ if upto == window.entries.len() => at(cursor, window, window.reached, last_seq),
        None => cursor.clone(),
        Some(last) => at(cursor, window, last.seq, last_seq),
    }
}

/// The cursor within the window, once everything up to `seq` is settled.
fn at(cursor: &Cursor, window: &Window, seq: i64, last_seq: i64) -> Cursor {
    let (end_seq, floor_seq) = (window.end_seq, window.end_floor_seq);
    let page = Page { snapshot: window.end.clone(), seq, end_seq, floor_seq };
    Cursor { page: Some(page), last_seq, floor_seq: window.floor_seq, ..cursor.clone() }
}

/// The cursor never passes a pending entry: it goes to the first one, or to the end of the window. What was acked beyond that
/// is put again.
pub(crate) fn settle(cursor: &Cursor, window: &Window, outcomes: &[Outcome]) -> Settled {
    let upto = outcomes.iter().take_while(|outcome| **outcome != Outcome::Pending).count();
    let next = cursor_after(cursor, window, upto);
    let mut settled = Settled { cursor: next, acked: Vec::new(), parked: Vec::new() };
    for (at, outcome) in outcomes[..upto].iter().enumerate() {
        match outcome {
            Outcome::Refused { code, reason } => settled.parked.push((at, code.clone(), reason.clone())),
            _ => settled.acked.push(at),
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use outbox_transport::Entry;

    use super::*;

    fn window(seqs: &[i64], complete: bool) -> Window {
        let entries = seqs
            .iter()
            .map(|&seq| Entry {
                seq,
                id: outbox_event::EventId::new(),
                name: "event_a".into(),
                key: None,
                payload: "{}".into(),
                headers: None,
                occurred_at: chrono::Utc::now(),
                flaw: None,
            })
            .collect();
        let reached = seqs.last().copied().unwrap_or(0);
        Window {
            entries,
            complete,
            reached,
            end: "20:20:".into(),
            end_seq: 99,
            floor_seq: 1,
            end_floor_seq: 5,
        }
    }

    fn refused() -> Outcome {
        Outcome::Refused { code: "MalformedDetail".into(), reason: "no".into() }
    }

    /// Guards: no stall and no loss. The cursor passes what is acked or parked, and never what is pending.
    #[test]
    fn the_cursor_passes_exactly_what_is_settled() {
        use Outcome::{Acked, Pending};
        let cursor = Cursor { snapshot: "10:10:".into(), page: None, last_seq: 3, floor_seq: 2 };
        let at_end = |last_seq| Cursor { snapshot: "20:20:".into(), page: None, last_seq, floor_seq: 5 };
        let paged = |seq, last_seq| Cursor {
            page: Some(Page { snapshot: "20:20:".into(), seq, end_seq: 99, floor_seq: 5 }),
            last_seq,
            floor_seq: 1,
            ..cursor.clone()
        };
        // (seqs, complete, outcomes) -> (cursor, acked, parked)
        let cases = [
            (vec![4, 6, 7], true, vec![Acked, Acked, Acked], at_end(7), vec![0, 1, 2], vec![]),
            (vec![4, 6, 7], true, vec![Acked, refused(), Acked], at_end(7), vec![0, 2], vec![1]),
            (vec![4, 6, 7], false, vec![Acked, Acked, Acked], paged(7, 7), vec![0, 1, 2], vec![]),
            (vec![4, 6, 7], true, vec![Acked, Pending, Acked], paged(4, 4), vec![0], vec![]),
            (vec![4, 6, 7], true, vec![Pending, Acked, Acked], cursor.clone(), vec![], vec![]),
            (vec![2], true, vec![Acked], at_end(3), vec![0], vec![]), // a late commit below what was put
            (vec![], true, vec![], at_end(3), vec![], vec![]),        // the empty last page
            (vec![], false, vec![], paged(0, 3), vec![], vec![]), // a page of rows that are not visible yet
        ];
        for (seqs, complete, outcomes, next, acked, parked) in cases {
            let settled = settle(&cursor, &window(&seqs, complete), &outcomes);
            assert_eq!(settled.cursor, next, "{seqs:?} {outcomes:?}");
            assert_eq!(settled.acked, acked, "{seqs:?} {outcomes:?}");
            assert_eq!(settled.parked.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), parked);
        }
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![4 => Just(Outcome::Acked), 2 => Just(refused()), 1 => Just(Outcome::Pending)]
    }

    fn a_cursor() -> impl Strategy<Value = Cursor> {
        let page = prop::option::of((0_i64..20, 0_i64..20));
        (page, 0_i64..120, 0_i64..20).prop_map(|(page, last_seq, floor_seq)| Cursor {
            snapshot: "10:10:".into(),
            page: page.map(|(seq, floor_seq)| Page {
                snapshot: "20:20:".into(),
                seq,
                end_seq: 99,
                floor_seq,
            }),
            last_seq,
            floor_seq,
        })
    }

    proptest! {
        /// Guards promises 2 and 6: the cursor passes exactly the entries before the first pending one, and each is acked or
        /// parked.
        #[test]
        fn the_cursor_never_passes_what_is_pending(
            cursor in a_cursor(),
            entries in btree_map(20_i64..100, outcome(), 0..12),
            complete in any::<bool>(),
        ) {
            let (seqs, outcomes): (Vec<i64>, Vec<Outcome>) = entries.into_iter().unzip();
            let window = window(&seqs, complete);
            let Settled { cursor: next, acked, parked } = settle(&cursor, &window, &outcomes);
            let pending = outcomes.iter().position(|outcome| *outcome == Outcome::Pending);
            let upto = pending.unwrap_or(seqs.len());

            let at_end = next.page.is_none() && next.snapshot == window.end;
            let passes = |seq: i64| at_end || next.page.as_ref().is_some_and(|page| seq <= page.seq);
            for (at, &seq) in seqs.iter().enumerate() {
                prop_assert_eq!(passes(seq), at < upto, "seq {} of {:?}", seq, outcomes);
            }
            prop_assert_eq!(at_end, pending.is_none() && complete);
            prop_assert!(at_end || next.snapshot == cursor.snapshot);
            prop_assert!(at_end || next == cursor || next.floor_seq == window.floor_seq);

            let mut settled: Vec<usize> = acked.iter().copied().chain(parked.iter().map(|parked| parked.0)).collect();
            settled.sort_unstable();
            prop_assert_eq!(settled, (0..upto).collect::<Vec<_>>());
            prop_assert!(acked.iter().all(|&at| outcomes[at] == Outcome::Acked));
            let last_seq = seqs[..upto].last().copied().unwrap_or(0).max(cursor.last_seq);
            prop_assert_eq!(next.last_seq, last_seq);
        }
    }
}
