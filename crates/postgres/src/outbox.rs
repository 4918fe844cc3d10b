//! The outbox as the leader sees it: the window reader and the cursor.

mod advance; // what is written when the cursor advances
mod appetite; // how much one statement asks for
mod open; // whose cursor it is, at the start of a term
pub(crate) mod row; // a row, however it was written
mod window; // what is new

pub use appetite::Appetite;
pub use open::OpenError;
pub use outbox_transport::Entry;

use crate::within;
use sqlx::{Connection, PgConnection};

use crate::bus::{Deliveries, PostgresBus};
use crate::leader;

/// How far the relay has come. Everything visible in `snapshot` has been put; while a large window is put page by
/// page, so has everything up to `page.seq` that is visible in `page.snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub snapshot: String,
    pub page: Option<Page>,
    pub last_seq: i64,
    /// Below every seq of every transaction whose xid is not below `snapshot`'s xmax. Held against the rows where a window is
    /// put in pages: a sequence that was set back makes it wrong.
    pub floor_seq: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub snapshot: String,
    pub seq: i64,
    /// Above every seq of the window. What was published since would be walked over in vain.
    pub end_seq: i64,
    /// The cursor's `floor_seq` once the window is through.
    pub floor_seq: i64,
}

/// What was not visible at the cursor and is visible now, in seq order: all of it, or one page.
#[derive(Debug, Clone)]
pub struct Window {
    pub entries: Vec<Entry>,
    /// Nothing comes after these entries before `end`.
    pub complete: bool,
    /// The seq up to which a page was read: at least that of its last entry.
    pub reached: i64,
    /// The snapshot that bounds the window, and a seq above all of it.
    pub end: String,
    pub end_seq: i64,
    /// The cursor's `floor_seq` while it is within this window, and once it is through.
    pub floor_seq: i64,
    pub end_floor_seq: i64,
}

/// An event that no bus will take, and why.
#[derive(Debug, Clone, Copy)]
pub struct Parked<'a> {
    pub entry: &'a Entry,
    pub code: &'a str,
    pub reason: &'a str,
}

/// The outbox of one database, for the term of one leader.
#[derive(Debug)]
pub struct Outbox<'a> {
    conn: PgConnection,
    relay: String,
    /// Outlives this term.
    appetite: &'a mut Appetite,
    /// The routes, where copies of events are written into this database: they bound a page as its bytes do.
    routes: Option<&'a PostgresBus>,
    system_identifier: i64,
    /// The cursor's newest row. It goes on only from there: if another relay leads, or the database was restored under us,
    /// there is a newer one, or another.
    cursor_id: i64,
    /// `floor_seq` of the next snapshot: the sequence's value as the last reads saw it. Every read, a page ahead too, is
    /// followed by an `advance`, which draws an xid after the read and completes before the next snapshot. That snapshot's
    /// xmax is above this xid. So a transaction with an xid from xmax on got it after the read, and its seq later still.
    /// (Without the advance in between this would not hold: xmax alone does not say which transactions have begun.)
    seen_seq: i64,
}

impl Outbox<'_> {
    /// Makes what was settled durable, in order and in one transaction: the cursor, the parked, and what goes into the queues
    /// of this database. `false` if the cursor is not ours any more; then nothing was written.
    ///
    /// # Errors
    ///
    /// The database's.
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

    /// Lets a standby lead at once instead of when the connection is noticed to be gone.
    pub async fn close(mut self, term: i64) -> Result<(), sqlx::Error> {
        leader::step_down(&mut self.conn, term).await?;
        within(self.conn.close()).await
    }

    /// What takes too long is asked for less the next time.
    fn timed<T>(&mut self, result: Result<T, sqlx::Error>, page_max: usize) -> Result<T, sqlx::Error> {
        if result.as_ref().is_err_and(crate::timed_out) {
            self.appetite.timed_out(page_max);
        }
        result
    }
}
