//! Pure: what became of a window's entries -> how far the cursor may go, and whom to park.

use crate::bus::PutError;
use crate::outbox::{Cursor, Page, Window};

/// What became of one entry.
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
            Err(PutError::Refused { code, reason }) => Self::Refused { code, reason },
            Err(PutError::Unavailable { .. } | PutError::Failed { .. }) => Self::Pending,
        }
    }
}

/// What the advancing transaction writes. Positions are those of the window's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) cursor: Cursor,
    pub(crate) acked: Vec<usize>,
    pub(crate) parked: Vec<(usize, String, String)>,
}

/// The cursor never passes a pending entry: it goes to the end of the window, or as far into it as everything
/// before has settled. What was acked beyond that is put again.
pub(crate) fn settle(cursor: &Cursor, window: &Window, outcomes: &[Outcome]) -> Settled {
    let upto = outcomes.iter().take_while(|outcome| **outcome != Outcome::Pending).count();
    let passed = &window.entries[..upto];
    let last_seq = passed.iter().map(|entry| entry.seq).max().unwrap_or(0).max(cursor.last_seq);
    let next = match passed.last() {
        _ if upto == window.entries.len() && window.complete => {
            Cursor { snapshot: window.end.clone(), page: None, last_seq, floor_seq: window.end_floor_seq }
        }
        None => cursor.clone(),
        Some(last) => {
            let page = Page { snapshot: window.end.clone(), seq: last.seq, floor_seq: window.end_floor_seq };
            Cursor { page: Some(page), last_seq, ..cursor.clone() }
        }
    };
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
    use super::*;
    use crate::outbox::Entry;

    fn window(seqs: &[i64], complete: bool) -> Window {
        let entries = seqs
            .iter()
            .map(|&seq| Entry {
                seq,
                id: event::EventId::new(),
                name: "event_a".into(),
                key: None,
                payload: "{}".into(),
                headers: None,
                occurred_at: chrono::Utc::now(),
            })
            .collect();
        Window { entries, complete, end: "20:20:".into(), end_floor_seq: 5 }
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
            page: Some(Page { snapshot: "20:20:".into(), seq, floor_seq: 5 }),
            last_seq,
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
        ];
        for (seqs, complete, outcomes, next, acked, parked) in cases {
            let settled = settle(&cursor, &window(&seqs, complete), &outcomes);
            assert_eq!(settled.cursor, next, "{seqs:?} {outcomes:?}");
            assert_eq!(settled.acked, acked, "{seqs:?} {outcomes:?}");
            assert_eq!(settled.parked.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), parked);
        }
    }
}
