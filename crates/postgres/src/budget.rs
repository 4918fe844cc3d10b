//! The connections of one process to all of its databases. Each open connection has a place. An idle one gives its place back
//! when another database needs it, or after a time without use. A server without free connections is asked seldom.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use outbox_runtime::Guarded;
use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// Longer than the pause between two uses by any regular task.
const UNUSED_FOR: Duration = Duration::from_secs(15);
/// The pauses after a server had no free connection.
const FULL_MIN: Duration = Duration::from_secs(1);
const FULL_MAX: Duration = Duration::from_secs(30);
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Postgres: too_many_connections, also of a role or a database.
const TOO_MANY: &str = "53300";

#[derive(Debug, Clone)]
pub struct Budget(Arc<All>);

#[derive(Debug)]
struct All {
    places: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    /// Tasks that wait for a place.
    waiting: AtomicUsize,
    /// Databases with traffic that wait to listen.
    wanting: AtomicUsize,
    idle: Guarded<Vec<Idle>>,
    pools: AtomicU64,
    full: Guarded<HashMap<String, Full>>,
}

#[derive(Debug)]
struct Idle {
    pool: u64,
    since: Instant,
    open: Open,
}

/// An open connection with its place.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) conn: PgConnection,
    pub(crate) _place: OwnedSemaphorePermit,
}

/// Counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl Budget {
    /// So many connections for so many databases. Up to half of them listen, and the others run statements.
    pub fn of(connections: usize, databases: usize) -> Self {
        let (listeners, places) = shares(connections, databases);
        Self::with(listeners, places)
    }

    /// Without a limit, for commands and tests.
    pub fn unlimited() -> Self {
        Self::with(Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS)
    }

    fn with(listeners: usize, places: usize) -> Self {
        Self(Arc::new(All {
            places: Arc::new(Semaphore::new(places)),
            listeners: Arc::new(Semaphore::new(listeners)),
            waiting: AtomicUsize::default(),
            wanting: AtomicUsize::default(),
            idle: Guarded::default(),
            pools: AtomicU64::default(),
            full: Guarded::default(),
        }))
    }

    /// A number for connections of one kind.
    pub(crate) fn pool(&self) -> u64 {
        self.0.pools.fetch_add(1, Ordering::Relaxed)
    }

    /// The idle connection of this kind that was used last.
    pub(crate) fn take(&self, pool: u64) -> Option<Open> {
        let mut idle = self.0.idle.lock();
        let at = idle.iter().rposition(|idle| idle.pool == pool)?;
        Some(idle.remove(at).open)
    }

    /// A place for a new connection. If there is none, the connection that has been idle for longest is closed.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        self.close_unused(Instant::now());
        let free = || Arc::clone(&self.0.places);
        if let Ok(place) = free().try_acquire_owned() {
            return Ok(place);
        }
        let _waits = Counted::new(&self.0.waiting);
        let longest = {
            let mut idle = self.0.idle.lock();
            (!idle.is_empty()).then(|| idle.remove(0))
        };
        drop(longest);
        let place = tokio::time::timeout(PLACE_WITHIN, free().acquire_owned()).await;
        place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Keeps a connection for the next use, unless a task waits for its place.
    pub(crate) fn keep(&self, pool: u64, open: Open) {
        let now = Instant::now();
        self.close_unused(now);
        if self.0.waiting.load(Ordering::Relaxed) == 0 {
            self.0.idle.lock().push(Idle { pool, since: now, open });
        }
    }

    /// All idle connections of this kind.
    pub(crate) fn forget(&self, pool: u64) -> Vec<Open> {
        let mut idle = self.0.idle.lock();
        idle.extract_if(.., |idle| idle.pool == pool).map(|idle| idle.open).collect()
    }

    fn close_unused(&self, now: Instant) {
        let unused = |idle: &mut Idle| now.saturating_duration_since(idle.since) >= UNUSED_FOR;
        let closed: Vec<Idle> = self.0.idle.lock().extract_if(.., unused).collect();
        drop(closed);
    }

    /// The right to listen, if it is free.
    pub(crate) fn try_listen(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.listeners).try_acquire_owned().ok()
    }

    /// A database with traffic waits to listen, until the result is dropped.
    pub(crate) fn wants_to_listen(&self) -> Counted<'_> {
        Counted::new(&self.0.wanting)
    }

    pub(crate) fn others_want_to_listen(&self) -> bool {
        self.0.wanting.load(Ordering::Relaxed) > 0
    }

    /// Refuses a new connection while the server is known to have none.
    pub(crate) fn admits(&self, server: &str) -> Result<(), sqlx::Error> {
        let now = Instant::now();
        let is_full = self.0.full.lock().get(server).is_some_and(|full| now < full.until);
        if !is_full {
            return Ok(());
        }
        let text = "the server has no free connection: waiting before the next try";
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, text)))
    }

    /// Notes what became of a new connection.
    pub(crate) fn heard(&self, server: &str, source: &str, error: Option<&sqlx::Error>) {
        let is_full =
            matches!(error, Some(sqlx::Error::Database(error)) if error.code().as_deref() == Some(TOO_MANY));
        let mut all = self.0.full.lock();
        if error.is_none() {
            all.remove(server);
        }
        if !is_full {
            return;
        }
        let (says, wait) = all.entry(server.to_owned()).or_insert_with(Full::new).refused(Instant::now());
        drop(all);
        if says {
            tracing::warn!(
                source,
                retry_in_seconds = wait.as_secs_f64(),
                "the server has no free connection: raise its max_connections, or lower --connections of relays and workers"
            );
        }
    }
}

/// Pure: how many connections listen, and how many run statements.
fn shares(connections: usize, databases: usize) -> (usize, usize) {
    let listeners = databases.min(connections / 2);
    (listeners, (connections - listeners).max(1))
}

/// A server without free connections.
#[derive(Debug)]
struct Full {
    until: Instant,
    wait: Duration,
    said: Option<Instant>,
}

impl Full {
    fn new() -> Self {
        Self { until: Instant::now(), wait: FULL_MIN, said: None }
    }

    /// Whether to log it, and how long to wait. Tasks that tried at the same time are one try.
    fn refused(&mut self, now: Instant) -> (bool, Duration) {
        let wait = self.wait;
        if now >= self.until {
            self.until = now + wait;
            self.wait = (wait * 2).min(FULL_MAX);
        }
        let says = self.said.is_none_or(|at| now.saturating_duration_since(at) >= SAID_EVERY);
        if says {
            self.said = Some(now);
        }
        (says, wait)
    }
}

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 7: listeners and statements together stay within the budget, and each has a share.
    #[test]
    fn listeners_leave_room_for_statements() {
        for (connections, databases, expected) in
            [(20, 1, (1, 19)), (20, 25, (10, 10)), (4, 25, (2, 2)), (4, 1, (1, 3)), (16, 0, (0, 16))]
        {
            assert_eq!(shares(connections, databases), expected, "{connections} for {databases}");
        }
    }

    /// Guards promise 6: a full server is asked ever more seldom, and is logged once a minute.
    #[tokio::test(start_paused = true)]
    async fn a_full_server_is_asked_seldom() {
        let (mut full, start) = (Full::new(), Instant::now());
        let (mut asked, mut said, mut now) = (0, 0, start);
        while now < start + Duration::from_secs(300) {
            let (says, _) = full.refused(now);
            (asked, said) = (asked + 1, said + usize::from(says));
            now = full.until;
        }
        assert!(asked <= 15 && said == 5, "asked {asked} times, said {said} times");
        let (_, wait) = full.refused(now);
        let until = full.until;
        full.refused(now);
        assert_eq!((full.until, full.wait), (until, wait), "tries at the same time are one");
    }

    /// Guards promise 7: there are never more places than the budget, and a freed one is given to who waits.
    #[tokio::test]
    async fn places_are_limited() {
        let budget = Budget::of(2, 0);
        let (one, _two) = (budget.place().await.unwrap(), budget.place().await.unwrap());
        let other = budget.clone();
        let waiting = tokio::spawn(async move { other.place().await.is_ok() });
        while budget.0.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        drop(one);
        assert!(waiting.await.unwrap());
    }

    /// Guards promise 6: a full server refuses no connection to another one.
    #[test]
    fn each_server_is_full_by_itself() {
        let budget = Budget::unlimited();
        let mut full = Full::new();
        full.until = Instant::now() + Duration::from_secs(9);
        budget.0.full.lock().insert("a:5432".to_owned(), full);
        assert!(budget.admits("a:5432").is_err() && budget.admits("b:5432").is_ok());
        budget.heard("a:5432", "cards", None);
        assert!(budget.admits("a:5432").is_ok());
    }
}
