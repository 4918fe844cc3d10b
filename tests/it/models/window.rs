//! Can a committed event be skipped? Transactions begin, draw and end in any order, and the relay dies at any step.
//!
//! | step | code |
//! |---|---|
//! | `DrawXid`, `Lock`, `DrawSeq` | a publisher: its first write, the row its event is about, `outbox.enqueue` |
//! | `Commit`, `Abort` | Postgres. A snapshot's xmax is one above the newest xid that has *ended*, not above those that have begun |
//! | `Look` | `Outbox::next_window`: the statement's snapshot, and the rows it finds |
//! | `Count` | the same statement reads the sequence; `Outbox::next_page` does, too |
//! | `Put` | `put_all`, one entry after another. (The order of a key is tested in `key_order.rs`.) |
//! | `Advance` | `settle`, then `Outbox::advance` |
//! | `Stop` | the same before all is put, because the relay stops; then another one starts |
//! | `Restart` | the relay dies or reconnects: `Outbox::open` |
//! | `Flush` | the WAL reaches the disk. A publisher's commit flushes it; the relay's own does not wait for that |
//! | `ServerCrash` | unflushed writes are lost: the cursor, and drawn values, which are drawn again |
//!
//! Left out: bytes, which bound a page as entries do; re-seeding, parking, and rings.

mod postgres;
mod relay;
mod tests;

use postgres::{End, Event, Seq, Snapshot, Transaction, Xid};
use relay::{Cursor, Turn, Window};
use stateright::{Model, Property};

const NOT_PASSED_OVER: &str = "what the cursor has passed was put";
const ALL_PUT: &str = "at rest, everything committed was put";
const KEY_ORDER: &str = "a key's events are first put in the order they were made in";
const NOT_BACK: &str = "the cursor never goes back";
const BESIDE: &str = "a window ends beside an open transaction";
const BELOW: &str = "a page finds what was in flight, below the floor";
const AGAIN: &str = "an event is put again";

#[derive(Debug, Clone)]
struct Outbox {
    transactions: Vec<Plan>,
    page_max: usize,
    restarts_max: u8,
    /// At most once.
    server_crashes: bool,
    reading: Reading,
}

/// What a transaction does: it locks the row of a key, and enqueues so many events with it.
#[derive(Debug, Clone, Copy)]
struct Plan {
    key: char,
    events: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    AsItIs,
    /// The window contains the rows with a seq above the last one put.
    SeqAboveLast,
    /// The floor of the next window is the sequence's value in this turn, not in the previous turn.
    FloorOfThisTurn,
    /// A turn without a put writes nothing, and the next one reads again.
    TurnWithoutAdvance,
    /// A window is put in the order of xids.
    OrderOfXids,
    /// In the outbox's table, seq stands before xid, and is drawn first.
    SeqBeforeXid,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    transactions: Vec<Transaction>,
    /// The newest values drawn, and the newest xid of a transaction that has ended.
    last_xid: Xid,
    ended_xid: Xid,
    last_seq: Seq,
    /// The newest row of `outbox.cursor`: the relay's memory is the same.
    cursor: Cursor,
    seen_seq: Seq,
    turn: Turn,
    restarts: u8,
    /// What a crash of the server leaves: cursor, xid, seq.
    flushed: Option<(Cursor, Xid, Seq)>,
    /// A promise that broke in one step.
    overtaken: bool,
    went_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    DrawXid(usize),
    Lock(usize),
    DrawSeq(usize),
    Commit(usize),
    Abort(usize),
    Look,
    Count,
    Put,
    Advance,
    /// Only where a turn may end without an advance.
    Forgo,
    Stop,
    Restart,
    Flush,
    ServerCrash,
}

impl State {
    fn passes_an_unput_event(&self) -> bool {
        self.rows().any(|(_, xid, event)| !event.put && self.cursor.has_passed(xid, event.seq))
    }
}

impl Outbox {
    fn publisher_steps(&self, state: &State, steps: &mut Vec<Step>) {
        for (t, (tx, plan)) in state.transactions.iter().zip(&self.transactions).enumerate() {
            if tx.end != End::Open {
                continue;
            }
            let enqueued = tx.events.len() == plan.events;
            let taken = |(other, planned): (&Transaction, &Plan)| {
                planned.key == plan.key && other.has_lock && other.end == End::Open
            };
            if tx.xid.is_none() {
                steps.push(Step::DrawXid(t));
            }
            if !tx.has_lock && !state.transactions.iter().zip(&self.transactions).any(taken) {
                steps.push(Step::Lock(t));
            }
            if tx.has_lock && !enqueued && (tx.xid.is_some() || self.reading == Reading::SeqBeforeXid) {
                steps.push(Step::DrawSeq(t));
            }
            if tx.xid.is_some() && enqueued {
                steps.push(Step::Commit(t));
            }
            if tx.is_at_work() {
                steps.push(Step::Abort(t));
            }
        }
    }

    fn at_rest(&self, state: &State) -> bool {
        let mut steps = Vec::new();
        self.publisher_steps(state, &mut steps);
        self.relay_steps(state, &mut steps);
        steps.is_empty()
    }
}

impl Model for Outbox {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        // As the migration writes it.
        let snapshot = Snapshot { xmax: 1, xip: Vec::new() };
        let cursor = Cursor { snapshot, page: None, last_seq: 0, floor_seq: 0 };
        vec![State {
            transactions: vec![Transaction::new(); self.transactions.len()],
            last_xid: 0,
            ended_xid: 0,
            last_seq: 0,
            flushed: self.server_crashes.then(|| (cursor.clone(), 0, 0)),
            cursor,
            seen_seq: 0,
            turn: Turn::Begins,
            restarts: 0,
            overtaken: false,
            went_back: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.publisher_steps(state, steps);
        self.relay_steps(state, steps);
        let restarted = state.turn == Turn::Begins && state.seen_seq == state.cursor.floor_seq;
        if state.restarts < self.restarts_max && !restarted {
            steps.push(Step::Restart);
            if matches!(&state.turn, Turn::Puts { window, put } if *put < window.entries.len()) {
                steps.push(Step::Stop);
            }
        }
        if let Some((cursor, ..)) = &state.flushed {
            steps.push(Step::ServerCrash);
            if *cursor != state.cursor {
                steps.push(Step::Flush);
            }
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::DrawXid(t) => {
                let xid = state.draw_xid();
                state.transactions[t].xid = Some(xid);
            }
            Step::Lock(t) => state.transactions[t].has_lock = true,
            Step::DrawSeq(t) => {
                state.last_seq += 1;
                state.transactions[t].events.push(Event { seq: state.last_seq, put: false });
            }
            Step::Commit(t) => {
                state.end(t, End::Committed);
                state.flush();
            }
            Step::Abort(t) => state.end(t, End::Aborted),
            Step::Look => {
                state.turn = match state.cursor.page.clone() {
                    None => Turn::Looked { rows: self.next_window(&state), end: state.snapshot() },
                    Some(page) => Turn::Puts { window: self.next_page(&mut state, &page), put: 0 },
                };
            }
            Step::Count => {
                let Turn::Looked { rows, end } = std::mem::replace(&mut state.turn, Turn::Begins) else {
                    return None;
                };
                state.turn = Turn::Puts { window: self.count(&mut state, rows, end), put: 0 };
            }
            Step::Put => {
                let Turn::Puts { window, put } = &mut state.turn else { return None };
                let entry = window.entries[*put];
                *put += 1;
                self.put(&mut state, entry);
            }
            Step::Advance => {
                let Turn::Puts { window, put } = std::mem::replace(&mut state.turn, Turn::Begins) else {
                    return None;
                };
                let cursor = Self::settle(&state, &window, put);
                Self::advance(&mut state, cursor);
            }
            Step::Stop => {
                let Turn::Puts { window, put } = std::mem::replace(&mut state.turn, Turn::Begins) else {
                    return None;
                };
                let cursor = Self::settle(&state, &window, put);
                Self::advance(&mut state, cursor);
                Self::restart(&mut state);
                state.restarts += 1;
            }
            Step::Forgo => state.turn = Turn::Begins,
            Step::Restart => {
                Self::restart(&mut state);
                state.restarts += 1;
            }
            Step::Flush => state.flush(),
            Step::ServerCrash => {
                state.crash();
                Self::restart(&mut state);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOT_PASSED_OVER, |_, state: &State| !state.passes_an_unput_event()),
            Property::always(ALL_PUT, |model: &Self, state: &State| {
                state.rows().all(|(.., event)| event.put) || !model.at_rest(state)
            }),
            Property::always(KEY_ORDER, |_, state: &State| !state.overtaken),
            Property::always(NOT_BACK, |_, state: &State| !state.went_back),
            Property::sometimes(BESIDE, |_, state: &State| {
                let ends_beside = |xid| !state.cursor.snapshot.sees(xid) && state.cursor.last_seq > 0;
                state.transactions.iter().filter_map(Transaction::in_progress).any(ends_beside)
            }),
            Property::sometimes(BELOW, |_, state: &State| {
                let below = |window: &Window| {
                    window.entries.iter().any(|&id| state.event(id).seq <= state.cursor.floor_seq)
                };
                matches!(&state.turn, Turn::Puts { window, .. } if !window.complete && below(window))
            }),
            Property::sometimes(AGAIN, |_, state: &State| {
                matches!(&state.turn, Turn::Puts { window, put }
                    if window.entries[*put..].iter().any(|&id| state.event(id).put))
            }),
        ]
    }
}
