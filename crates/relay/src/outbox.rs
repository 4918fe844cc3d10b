//! The outbox as the leader sees it: the window reader and the cursor.

mod advance; // what is written when the cursor advances
mod open; // whose cursor it is, at the start of a term
mod window; // what is new

pub(crate) use open::OpenError;

use chrono::{DateTime, Utc};
use event::EventId;
use outbox_schema::within;
use sqlx::{Connection, PgConnection};

use crate::appetite::Appetite;
use crate::bus::Bus;
use crate::leader;
use crate::settle::Settled;

/// The planner has no statistics of tables that are truncated all the time, and once guessed its way from 650,000
/// rows a second to 4,000: so leave it no choice. Commits need no flush: a cursor lost in a crash means that a
/// window is put again, and deliveries are lost with the cursor that covers them.
pub(crate) const SESSION: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("synchronous_commit", "off"),
];

/// One event as it stands in the outbox.
#[derive(Clone)]
pub struct Entry {
    pub seq: i64,
    pub id: EventId,
    pub name: String,
    pub key: Option<String>,
    pub payload: String,
    pub headers: Option<String>,
    pub occurred_at: DateTime<Utc>,
    /// Why the row is no event, if it is none: its code, and the reason for people. Its other columns are left out then.
    pub flaw: Option<(&'static str, &'static str)>,
}

impl Entry {
    /// No bus needs more bytes for it: the envelope's own are fewer than 256, and its name stands beside it once more.
    pub(crate) fn bytes_max(&self) -> usize {
        // JSON may double a key's characters; payload and headers are JSON already.
        self.payload.len()
            + self.headers.as_ref().map_or(0, String::len)
            + 2 * self.key.as_ref().map_or(0, String::len)
            + 2 * self.name.len()
            + 256
    }
}

/// Shows neither payload nor headers.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("seq", &self.seq)
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How far the relay has come. Everything visible in `snapshot` has been put; while a large window is put page by
/// page, so has everything up to `page.seq` that is visible in `page.snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) snapshot: String,
    pub(crate) page: Option<Page>,
    pub(crate) last_seq: i64,
    /// Below every seq of every transaction whose xid is not below `snapshot`'s xmax. Held against the rows where a window is
    /// put in pages: a sequence that was set back makes it wrong.
    pub(crate) floor_seq: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) snapshot: String,
    pub(crate) seq: i64,
    /// Above every seq of the window. What was published since would be walked over in vain.
    pub(crate) end_seq: i64,
    /// The cursor's `floor_seq` once the window is through.
    pub(crate) floor_seq: i64,
}

/// What was not visible at the cursor and is visible now, in seq order: all of it, or one page.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) entries: Vec<Entry>,
    /// Nothing comes after these entries before `end`.
    pub(crate) complete: bool,
    /// The seq up to which a page was read: at least that of its last entry.
    pub(crate) reached: i64,
    /// The snapshot that bounds the window, and a seq above all of it.
    pub(crate) end: String,
    pub(crate) end_seq: i64,
    /// The cursor's `floor_seq` while it is within this window, and once it is through.
    pub(crate) floor_seq: i64,
    pub(crate) end_floor_seq: i64,
}

pub(crate) struct Outbox<'a> {
    conn: PgConnection,
    relay: String,
    /// Outlives this term.
    appetite: &'a mut Appetite,
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
    /// Makes what was settled durable, in order and in one transaction: the cursor, the parked, and what the bus keeps in
    /// this database. `false` if the cursor is not ours any more; then nothing was written.
    pub(crate) async fn advance<B: Bus>(
        &mut self,
        bus: &B,
        window: &Window,
        settled: &Settled,
        page_max: usize,
    ) -> Result<bool, sqlx::Error> {
        let acked: Vec<&Entry> = settled.acked.iter().map(|&at| &window.entries[at]).collect();
        let parked: Vec<_> =
            settled.parked.iter().map(|(at, code, reason)| (&window.entries[*at], code, reason)).collect();
        let deliveries = bus.deliveries(&acked);
        let patience = self.appetite.patience();
        let append = self.append(&settled.cursor, &deliveries, &parked);
        let appended = outbox_schema::within_time(patience, append).await;
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
    pub(crate) async fn close(mut self, term: i64) -> Result<(), sqlx::Error> {
        leader::step_down(&mut self.conn, term).await?;
        within(self.conn.close()).await
    }

    /// What takes too long is asked for less the next time.
    fn timed<T>(&mut self, result: Result<T, sqlx::Error>, page_max: usize) -> Result<T, sqlx::Error> {
        if result.as_ref().is_err_and(outbox_schema::timed_out) {
            self.appetite.timed_out(page_max);
        }
        result
    }
}
