use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use outbox_event_router::Rpc;
use outbox_runtime::Guarded;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, SetOnce};

use super::near::{Near, Read};
use crate::LowWater;

/// A transaction that claims deliveries takes milliseconds, and waits for a lock two seconds at most.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// A retry is due when its transaction began or later, and is committed soon after. The next read of everything finds later
/// commits.
const WRITTEN_WITHIN: Duration = Duration::from_millis(100);
const KNOWN_AFTER: Duration = Duration::from_secs(5);
/// A retry that is due since then has no time that a mark can hold: minus infinity, or one before programs' dates.
const LONG_AGO: Duration = Duration::from_secs(50 * 365 * 86_400);

/// One queue in this process: its id, and where a read of it begins. Under an old snapshot the indexes keep all settled rows,
/// and a read from the beginning would walk over them.
#[derive(Debug)]
pub struct Watched {
    pub(crate) rpc: Rpc,
    /// Notified when there may be something to receive. A notification without a waiting receiver is kept for the next one.
    pub(super) ready: Notify,
    marks: Guarded<Marks>,
    /// By the last look, and nothing was received since.
    empty: AtomicBool,
    /// Whether it has dead letters, by the last read of everything.
    dead: AtomicBool,
    /// Notified when one of both has changed, or when what was measured is no longer so.
    changed: Notify,
    /// Set by the first look.
    looked: SetOnce<()>,
}

#[derive(Debug)]
struct Marks {
    id: Option<i32>,
    /// By the server's clock; no retry is due before this.
    due_from: Option<DateTime<Utc>>,
    /// Of the reads since.
    near: Near,
    claims: LowWater,
}

/// Where a statement begins to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    pub(super) id: Option<i32>,
    pub(super) due: Option<DateTime<Utc>>,
    pub(super) claims: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) id: i32,
    /// When the first retry from the mark on is due.
    pub(super) due: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
    /// The lowest and the highest id of the remaining claims.
    pub(super) claims: Option<(i64, i64)>,
    /// Whether it read everything.
    pub(super) swept: bool,
}

impl Watched {
    pub fn new(rpc: &Rpc) -> Self {
        let (near, claims) = (Near::default(), LowWater::new(SETTLED_AFTER));
        let marks = Marks { id: None, due_from: None, near, claims };
        Self {
            rpc: rpc.clone(),
            ready: Notify::new(),
            marks: Guarded::new(marks),
            empty: AtomicBool::new(false),
            dead: AtomicBool::new(true),
            changed: Notify::new(),
            looked: SetOnce::new(),
        }
    }

    /// `dead` is whether it has dead letters, if the look read that.
    pub(super) fn is_empty(&self, is_empty: bool, dead: Option<bool>) {
        let was_empty = self.empty.swap(is_empty, Ordering::Relaxed);
        let had_dead = dead.map(|dead| self.dead.swap(dead, Ordering::Relaxed));
        if was_empty != is_empty || had_dead != dead {
            self.has_changed();
        }
        // Only the first one is kept.
        let _ = self.looked.set(());
    }

    /// What is known of it has changed.
    pub(super) fn has_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Returns after the next change from this call on.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    pub(super) async fn looked(&self) {
        self.looked.wait().await;
    }

    pub(super) fn was_without_dead(&self) -> bool {
        !self.dead.load(Ordering::Relaxed)
    }

    pub(super) fn was_empty(&self) -> bool {
        self.empty.load(Ordering::Relaxed)
    }

    /// There may be something to receive.
    pub fn ring(&self) {
        self.ready.notify_one();
    }

    pub(super) fn from(&self) -> From {
        let marks = self.marks.lock();
        From { id: marks.id, due: marks.due_from, claims: marks.claims.mark() }
    }

    /// No open claim of the queue has a lower id.
    pub(crate) fn claims_from(&self) -> i64 {
        self.from().claims
    }

    /// Where a read for due retries begins that is made now, and whether that is the mark.
    pub(super) fn due_from(&self, now: tokio::time::Instant) -> (Option<DateTime<Utc>>, bool) {
        let marks = self.marks.lock();
        let near = marks.near.begins(now);
        (near.or(marks.due_from), near.is_none())
    }

    /// A retry may be due that the last reads passed over.
    pub(super) fn widen(&self) {
        self.marks.lock().near.widen();
    }

    /// Whether the queue's id has changed, because the database was restored under this worker.
    pub(super) fn saw(&self, found: Found, at: Instant) -> bool {
        let mut marks = self.marks.lock();
        let other = marks.id.is_some_and(|id| id != found.id);
        if other {
            marks.claims.reset();
        }
        marks.id = Some(found.id);
        let from = found.due.unwrap_or(found.now).min(found.now - KNOWN_AFTER);
        let before = marks.due_from.filter(|_| !found.swept && !other);
        let is_odd = found.due.is_some_and(|due| due < found.now - LONG_AGO);
        marks.due_from = (!is_odd).then(|| before.map_or(from, |before| before.max(from)));
        marks.near.tells(found.now, tokio::time::Instant::now());
        match found.claims {
            Some((lowest, highest)) => marks.claims.saw(lowest, highest, at),
            None => marks.claims.reset(),
        }
        other
    }

    /// Retries were read, from the mark on if it was a wide read. `first_due` is when the first that was received was due.
    pub(super) fn read(&self, read: Read, first_due: Option<DateTime<Utc>>) {
        let mut marks = self.marks.lock();
        marks.near.read(read, first_due, tokio::time::Instant::now());
        if let Some(first_due) = first_due.filter(|_| read.is_wide) {
            let from = first_due - WRITTEN_WITHIN;
            marks.due_from = Some(marks.due_from.map_or(from, |before| before.max(from)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 2 and 6: the mark follows the first due retry and stays behind what may still be written. A read of
    /// everything sets it back.
    #[test]
    fn the_mark_follows_the_first_retry_that_is_due() {
        let watched = Watched::new(&Rpc::new("A/B").unwrap());
        let at = |s: i64| DateTime::from_timestamp(1_000_000 + s, 0).unwrap();
        let found = |id, due, now, swept| Found { id, due, now: at(now), claims: None, swept };
        assert_eq!(watched.from().due, None);
        assert!(!watched.saw(found(1, Some(at(10)), 100, true), Instant::now()));
        assert_eq!((watched.from().id, watched.from().due), (Some(1), Some(at(10))));
        let read = |is_wide| Read { asked_at: tokio::time::Instant::now(), is_wide, is_full: true };
        watched.read(read(false), Some(at(30)));
        assert_eq!(watched.from().due, Some(at(10)), "it did not begin at the mark");
        watched.read(read(true), Some(at(20)));
        assert_eq!(watched.from().due, Some(at(20) - WRITTEN_WITHIN));
        watched.saw(found(1, None, 100, false), Instant::now());
        assert_eq!(watched.from().due, Some(at(95)), "what was written in the last seconds may be due then");
        watched.saw(found(1, Some(at(300)), 101, false), Instant::now());
        assert_eq!(
            watched.from().due,
            Some(at(96)),
            "a later retry says nothing of those that come before it"
        );
        watched.saw(found(1, Some(at(50)), 102, true), Instant::now());
        assert_eq!(watched.from().due, Some(at(50)), "committed late");
        watched.saw(found(1, Some(at(-4_000_000_000)), 102, true), Instant::now());
        assert_eq!(watched.from().due, None, "its time may be minus infinity");
        assert!(watched.saw(found(2, None, 103, false), Instant::now()), "another queue by this id");
    }
}
