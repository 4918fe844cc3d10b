//! The relay's turn, as in `outbox.rs` and `settle.rs`.

use super::postgres::{Event, Id, Seq, Snapshot, Xid};
use super::{Outbox, Reading, State, Step};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Cursor {
    pub(super) snapshot: Snapshot,
    pub(super) page: Option<Page>,
    pub(super) last_seq: Seq,
    pub(super) floor_seq: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Page {
    pub(super) snapshot: Snapshot,
    pub(super) seq: Seq,
    pub(super) floor_seq: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    Begins,
    /// The window's statement has its snapshot and its rows, and has yet to read the sequence.
    Looked {
        rows: Vec<Id>,
        end: Snapshot,
    },
    Puts {
        window: Window,
        put: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Window {
    pub(super) entries: Vec<Id>,
    pub(super) complete: bool,
    pub(super) end: Snapshot,
    pub(super) end_floor_seq: Seq,
}

impl Cursor {
    pub(super) fn has_passed(&self, xid: Xid, seq: Seq) -> bool {
        let in_page = |page: &Page| seq <= page.seq && page.snapshot.sees(xid);
        self.snapshot.sees(xid) || self.page.as_ref().is_some_and(in_page)
    }
}

impl Outbox {
    /// The rows of a window, or its first rows if it is put in pages.
    pub(super) fn next_window(&self, state: &State) -> Vec<Id> {
        let cursor = &state.cursor;
        if self.reading == Reading::SeqAboveLast {
            let fresh = state.rows().filter(|(.., event)| event.seq > cursor.last_seq);
            return self.first_of(fresh.map(|(id, _, event)| ((0, event.seq), id)).collect());
        }
        let begun = state.rows().filter(|(_, xid, _)| *xid >= cursor.snapshot.xmax);
        let mut rows = self.first_of(begun.map(|(id, xid, event)| ((xid, event.seq), id)).collect());
        let flying = state.rows().filter(|(_, xid, _)| cursor.snapshot.xip.contains(xid));
        rows.extend(self.first_of(flying.map(|(id, xid, event)| ((xid, event.seq), id)).collect()));
        match self.reading {
            Reading::OrderOfXids => rows.sort_by_key(|&(t, n)| (state.transactions[t].xid, n)),
            _ => rows.sort_by_key(|&id| state.event(id).seq),
        }
        rows
    }

    pub(super) fn next_page(&self, state: &mut State, page: &Page) -> Window {
        let cursor = &state.cursor;
        let fresh = state.rows().filter(|(_, xid, event)| {
            let above = event.seq > page.seq.max(cursor.floor_seq) && !cursor.snapshot.sees(*xid);
            let below =
                event.seq > page.seq && event.seq <= cursor.floor_seq && cursor.snapshot.xip.contains(xid);
            page.snapshot.sees(*xid) && (above || below)
        });
        let entries = self.first_of(fresh.map(|(id, _, event)| ((0, event.seq), id)).collect());
        if !entries.is_empty() {
            state.seen_seq = state.last_seq;
        }
        Window {
            complete: entries.len() < self.page_max,
            entries,
            end: page.snapshot.clone(),
            end_floor_seq: page.floor_seq,
        }
    }

    /// `order by ... limit page_max`
    pub(super) fn first_of(&self, mut rows: Vec<((Xid, Seq), Id)>) -> Vec<Id> {
        rows.sort_unstable();
        rows.into_iter().take(self.page_max).map(|(_, id)| id).collect()
    }

    /// The rest of `next_window`, once the statement has read the sequence.
    pub(super) fn count(&self, state: &mut State, rows: Vec<Id>, end: Snapshot) -> Window {
        let before = std::mem::replace(&mut state.seen_seq, state.last_seq);
        let end_floor_seq = if self.reading == Reading::FloorOfThisTurn { state.seen_seq } else { before };
        let pages = matches!(self.reading, Reading::SeqAboveLast | Reading::OrderOfXids);
        if rows.len() >= self.page_max && !pages {
            return self.next_page(state, &Page { snapshot: end, seq: 0, floor_seq: end_floor_seq });
        }
        Window { entries: rows, complete: true, end, end_floor_seq }
    }

    /// `settle`, after the bus took so many.
    pub(super) fn settle(state: &State, window: &Window, put: usize) -> Cursor {
        let cursor = &state.cursor;
        let passed = &window.entries[..put];
        let seqs = passed.iter().map(|&id| state.event(id).seq);
        let last_seq = seqs.max().unwrap_or(0).max(cursor.last_seq);
        if put == window.entries.len() && window.complete {
            let (snapshot, floor_seq) = (window.end.clone(), window.end_floor_seq);
            return Cursor { snapshot, page: None, last_seq, floor_seq };
        }
        let Some(&last) = passed.last() else { return cursor.clone() };
        let seq = state.event(last).seq;
        let page = Page { snapshot: window.end.clone(), seq, floor_seq: window.end_floor_seq };
        Cursor { page: Some(page), last_seq, ..cursor.clone() }
    }

    /// The transaction that appends the cursor has an xid, and ends.
    pub(super) fn advance(state: &mut State, cursor: Cursor) {
        let xid = state.draw_xid();
        state.end_xid(xid);
        let passed = |cursor: &Cursor, (_, xid, event): &(Id, Xid, Event)| cursor.has_passed(*xid, event.seq);
        let lost = state.rows().any(|row| passed(&state.cursor, &row) && !passed(&cursor, &row));
        state.went_back |= lost;
        state.cursor = cursor;
    }

    /// `Outbox::open`
    pub(super) fn restart(state: &mut State) {
        if let Some(page) = &mut state.cursor.page {
            page.floor_seq = state.cursor.floor_seq;
        }
        state.seen_seq = state.cursor.floor_seq;
        state.turn = Turn::Begins;
    }

    pub(super) fn put(&self, state: &mut State, (t, n): Id) {
        let (key, event) = (self.transactions[t].key, state.event((t, n)));
        let later = |(id, _, other): (Id, Xid, Event)| {
            self.transactions[id.0].key == key && other.put && other.seq > event.seq
        };
        state.overtaken |= !event.put && state.rows().any(later);
        state.transactions[t].events[n].put = true;
    }

    pub(super) fn relay_steps(&self, state: &State, steps: &mut Vec<Step>) {
        match &state.turn {
            Turn::Begins => {
                if state.cursor.page.is_some() || !self.next_window(state).is_empty() {
                    steps.push(Step::Look);
                }
            }
            Turn::Looked { .. } => steps.push(Step::Count),
            Turn::Puts { window, put } => {
                steps.push(if *put < window.entries.len() { Step::Put } else { Step::Advance });
                if *put == 0 && self.reading == Reading::TurnWithoutAdvance {
                    steps.push(Step::Forgo);
                }
            }
        }
    }
}
