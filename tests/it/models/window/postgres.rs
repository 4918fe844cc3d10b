//! Postgres's part: transactions, snapshots, and a crash.

use super::State;

pub(super) type Xid = u8;
pub(super) type Seq = u8;

/// A transaction and one of its events.
pub(super) type Id = (usize, usize);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Transaction {
    pub(super) xid: Option<Xid>,
    pub(super) has_lock: bool,
    pub(super) events: Vec<Event>,
    pub(super) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Event {
    pub(super) seq: Seq,
    pub(super) put: bool,
}

/// `pg_snapshot`. Its xmin is the first of xip, or xmax.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Snapshot {
    pub(super) xmax: Xid,
    pub(super) xip: Vec<Xid>,
}

impl Snapshot {
    /// `pg_visible_in_snapshot`
    pub(super) fn sees(&self, xid: Xid) -> bool {
        xid < self.xmax && !self.xip.contains(&xid)
    }
}

impl Transaction {
    pub(super) fn new() -> Self {
        Self { xid: None, has_lock: false, events: Vec::new(), end: End::Open }
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.end == End::Open && (self.xid.is_some() || self.has_lock)
    }

    pub(super) fn in_progress(&self) -> Option<Xid> {
        self.xid.filter(|_| self.end == End::Open)
    }
}

impl State {
    /// `pg_current_snapshot()`
    pub(super) fn snapshot(&self) -> Snapshot {
        let xmax = self.ended_xid + 1;
        let in_progress = self.transactions.iter().filter_map(Transaction::in_progress);
        let mut xip: Vec<Xid> = in_progress.filter(|&xid| xid < xmax).collect();
        xip.sort_unstable();
        Snapshot { xmax, xip }
    }

    /// Every row that is committed, with its xid and its seq.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Id, Xid, Event)> {
        self.transactions.iter().enumerate().filter(|(_, tx)| tx.end == End::Committed).flat_map(|(t, tx)| {
            let xid = tx.xid.expect("who commits has written");
            tx.events.iter().enumerate().map(move |(n, event)| ((t, n), xid, *event))
        })
    }

    pub(super) fn event(&self, (t, n): Id) -> Event {
        self.transactions[t].events[n]
    }

    pub(super) fn draw_xid(&mut self) -> Xid {
        self.last_xid += 1;
        self.last_xid
    }

    pub(super) fn end_xid(&mut self, xid: Xid) {
        self.ended_xid = self.ended_xid.max(xid);
    }

    pub(super) fn end(&mut self, t: usize, end: End) {
        self.transactions[t].end = end;
        if let Some(xid) = self.transactions[t].xid {
            self.end_xid(xid);
        }
    }

    pub(super) fn flush(&mut self) {
        if self.flushed.is_some() {
            // An xid that has written nothing yet may be drawn again.
            self.flushed = Some((self.cursor.clone(), self.ended_xid, self.last_seq));
        }
    }

    /// Unflushed writes are lost, and open transactions end.
    pub(super) fn crash(&mut self) {
        let Some((cursor, xid, seq)) = self.flushed.take() else { return };
        for tx in self.transactions.iter_mut().filter(|tx| tx.is_at_work()) {
            tx.end = End::Aborted;
        }
        (self.cursor, self.last_xid, self.ended_xid, self.last_seq) = (cursor, xid, xid, seq);
    }
}
