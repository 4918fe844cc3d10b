//! The outbox as the leader sees it: the window reader and the cursor.

mod advance; // writes for an advance of the cursor
mod appetite; // how much one statement reads
mod open; // checks the cursor at the start of a term
pub(crate) mod row; // reads a row, also one that is no event
mod window; // reads new events

pub use appetite::Appetite;
pub use open::OpenError;
pub use outbox_transport::Entry;

use crate::bus::{Deliveries, PostgresBus};
use crate::{Listening, leader, within};

/// How far the relay has come. Everything visible in `snapshot` has been put. While a large window is put page by page, so has
/// everything up to `page.seq` that is visible in `page.snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub snapshot: String,
    pub page: Option<Page>,
    pub last_seq: i64,
    /// A seq below all seqs of transactions with an xid from `snapshot`'s xmax on. A sequence that was set back makes it wrong,
    /// so it is checked against the rows before a window is put in pages.
    pub floor_seq: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub snapshot: String,
    pub seq: i64,
    /// No seq of the window is above it. Reads end there, because they would walk over later events in vain.
    pub end_seq: i64,
    /// The cursor's `floor_seq` after the window.
    pub floor_seq: i64,
}

/// Events that became visible since the cursor, in seq order: all of them, or one page.
#[derive(Debug, Clone)]
pub struct Window {
    pub entries: Vec<Entry>,
    /// No entry follows these before `end`.
    pub complete: bool,
    /// The seq up to which a page was read: at least that of its last entry.
    pub reached: i64,
    /// The snapshot that bounds the window, and a seq above all of it.
    pub end: String,
    pub end_seq: i64,
    /// The cursor's `floor_seq` within this window, and after it.
    pub floor_seq: i64,
    pub end_floor_seq: i64,
}

/// An event that the bus will never accept, and why.
#[derive(Debug, Clone, Copy)]
pub struct Parked<'a> {
    pub entry: &'a Entry,
    pub code: &'a str,
    pub reason: &'a str,
}

/// The outbox of one database, for the term of one leader.
#[derive(Debug)]
pub struct Outbox<'a> {
    session: Listening,
    relay: String,
    /// It outlives this term.
    appetite: &'a mut Appetite,
    /// The routes, if copies of events are written into this database. The copies bound a page, as its bytes do.
    routes: Option<&'a PostgresBus>,
    system_identifier: i64,
    /// The cursor's newest row. The relay advances only from this row: another leader, or a restore of the database, makes
    /// another row the newest.
    cursor_id: i64,
    /// `floor_seq` of the next snapshot: the sequence's value at the last read. Every read, also of a page ahead, is followed
    /// by an `advance`, which draws an xid after the read and completes before the next snapshot. That snapshot's xmax is above
    /// this xid. So a transaction with an xid from xmax on got it after the read, and its seq later still. (The advance in
    /// between is necessary: xmax alone does not say which transactions have begun.)
    seen_seq: i64,
}

impl Outbox<'_> {
    /// Takes up the routes of a new event_router.yaml. Call it between two batches.
    pub async fn follow_routes(&mut self) -> Result<(), sqlx::Error> {
        match self.routes {
            Some(routes) if !routes.is_newest() => {
                let mut lent = self.session.lend().await?;
                within(routes.follow(lent.conn().await?)).await?;
                lent.give_back();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Makes settled entries durable, in order and in one transaction: the cursor, the parked events, and the deliveries in
    /// this database's queues. `false` if the cursor is no longer ours; then nothing was written.
    pub async fn advance(
        &mut self,
        cursor: &Cursor,
        deliveries: &Deliveries,
        parked: &[Parked<'_>],
        page_max: usize,
    ) -> Result<bool, sqlx::Error> {
        let patience = self.appetite.patience();
        let appended = crate::within_time(patience, self.append(cursor, deliveries, parked)).await;
        match self.timed(appended, page_max)? {
            Some(id) => {
                self.cursor_id = id;
                self.appetite.answered();
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Lets a standby lead at once, and not only when it notices that the connection is gone.
    pub async fn close(self, term: i64) -> Result<(), sqlx::Error> {
        let mut lent = self.session.lend().await?;
        leader::step_down(lent.conn().await?, term).await?;
        lent.give_back();
        Ok(())
    }

    /// After a timeout, the next statement asks for less.
    fn timed<T>(&mut self, result: Result<T, sqlx::Error>, page_max: usize) -> Result<T, sqlx::Error> {
        if result.as_ref().is_err_and(crate::timed_out) {
            self.appetite.timed_out(page_max);
        }
        result
    }
}
