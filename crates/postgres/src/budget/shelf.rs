//! Idle connections. None is kept from a task that waits for its place.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox_runtime::Guarded;
use tokio::time::Instant;

use super::counted::Counted;

/// Longer than the pause between two uses by any regular task.
const UNUSED_FOR: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Shelf<T> {
    idle: Guarded<Vec<Idle<T>>>,
    /// Tasks that wait for a place.
    pub(super) waiting: AtomicUsize,
}

#[derive(Debug)]
struct Idle<T> {
    pool: u64,
    since: Instant,
    open: T,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { idle: Guarded::new(Vec::new()), waiting: AtomicUsize::default() }
    }
}

impl<T> Shelf<T> {
    /// The one of this kind that was used last.
    pub(super) fn take(&self, pool: u64) -> Option<T> {
        let mut idle = self.idle.lock();
        let at = idle.iter().rposition(|idle| idle.pool == pool)?;
        Some(idle.remove(at).open)
    }

    /// A task waits for a place until the first result is dropped. The second one is what has been idle for longest: its place
    /// is free once it is dropped.
    pub(super) fn waits(&self) -> (Counted<'_>, Option<T>) {
        let waits = Counted::new(&self.waiting);
        let mut idle = self.idle.lock();
        let longest = (!idle.is_empty()).then(|| idle.remove(0).open);
        (waits, longest)
    }

    /// Returns it if a task waits for its place. That is decided under the lock: a task that begins to wait either finds it
    /// here, or is counted before.
    pub(super) fn keep(&self, pool: u64, now: Instant, open: T) -> Option<T> {
        let mut idle = self.idle.lock();
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return Some(open);
        }
        idle.push(Idle { pool, since: now, open });
        None
    }

    /// All of this kind.
    pub(super) fn forget(&self, pool: u64) -> Vec<T> {
        self.idle.lock().extract_if(.., |idle| idle.pool == pool).map(|idle| idle.open).collect()
    }

    /// Those that were not used for a time.
    pub(super) fn unused(&self, now: Instant) -> Vec<T> {
        let unused = |idle: &mut Idle<T>| now.saturating_duration_since(idle.since) >= UNUSED_FOR;
        self.idle.lock().extract_if(.., unused).map(|idle| idle.open).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Guards promise 6: a connection that comes back while a task begins to wait is not kept from it.
    #[test]
    fn nothing_is_kept_from_a_task_that_waits() {
        let (shelf, comes) = (Shelf::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let idle = shelf.idle.lock();
            let keeping = scope.spawn(|| {
                comes.store(true, Ordering::SeqCst);
                shelf.keep(1, Instant::now(), ())
            });
            while !comes.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            // Most likely it waits for the lock by now. If not, the result is the same.
            (0..1000).for_each(|_| std::thread::yield_now());
            let waits = Counted::new(&shelf.waiting);
            drop(idle);
            assert_eq!(keeping.join().unwrap(), Some(()));
            drop(waits);
        });
        assert!(shelf.idle.lock().is_empty());
    }

    /// Guards promise 7: a task that waits gets the place of what has been idle for longest, and without one, all is kept.
    #[test]
    fn the_longest_idle_gives_up_its_place() {
        let (shelf, start) = (Shelf::default(), Instant::now());
        let kept = [(1, "first"), (2, "second"), (1, "third")].map(|(pool, it)| shelf.keep(pool, start, it));
        assert_eq!(kept, [None; 3]);
        let (waits, longest) = shelf.waits();
        assert_eq!((longest, shelf.keep(1, start, "fourth")), (Some("first"), Some("fourth")));
        drop(waits);
        assert_eq!((shelf.take(1), shelf.take(1)), (Some("third"), None));
        assert_eq!((shelf.unused(start).len(), shelf.unused(start + UNUSED_FOR)), (0, vec!["second"]));
    }
}
