//! The connections of one process to all of its databases. Each open connection has a place. An idle one gives its place back
//! when another database needs it, or after a time without use. A database without free connections is asked seldom.

mod counted;
mod defaults; // by the number of databases
mod shelf;

pub use defaults::{relay_connections, worker_connections};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use outbox_runtime::{Chain, Guarded};
use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use counted::Counted;
use shelf::Shelf;

const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// The pauses after a database had no free connection.
const FULL_MIN: Duration = Duration::from_secs(1);
const FULL_MAX: Duration = Duration::from_secs(30);
/// Metrics of a database may be half a minute old.
const PACE_MAX: u32 = 3;
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Postgres: too_many_connections. The limit may be the server's, the database's or the role's.
const TOO_MANY: &str = "53300";

#[derive(Debug, Clone)]
pub struct Budget(Arc<All>);

#[derive(Debug)]
struct All {
    places: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    /// Databases with traffic that wait to listen.
    wanting: AtomicUsize,
    idle: Shelf<Open>,
    pools: AtomicU64,
    /// Databases for each place, when they share the places evenly.
    databases_per_place: usize,
    /// Fewer places than databases that need one.
    scarce: bool,
    /// By database and role, because each may have a limit of its own.
    full: Guarded<HashMap<String, Full>>,
}

/// An open connection with its place.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) conn: PgConnection,
    pub(crate) _place: OwnedSemaphorePermit,
}

impl Budget {
    /// So many connections for so many databases. Up to half of them listen, and the others run statements.
    pub fn of(connections: usize, databases: usize) -> Self {
        let (listeners, places) = shares(connections, databases);
        Self::with(listeners, places, databases - listeners)
    }

    /// So many connections beside those that lead or stand by, of which each database has one.
    pub fn beside_leads(connections: usize, databases: usize) -> Self {
        Self::with(0, connections, databases)
    }

    /// Without a limit, for commands and tests.
    pub fn unlimited() -> Self {
        Self::with(Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS, 0)
    }

    fn with(listeners: usize, places: usize, databases: usize) -> Self {
        Self(Arc::new(All {
            places: Arc::new(Semaphore::new(places)),
            listeners: Arc::new(Semaphore::new(listeners)),
            wanting: AtomicUsize::default(),
            idle: Shelf::default(),
            pools: AtomicU64::default(),
            databases_per_place: databases.div_ceil(places).max(1),
            scarce: databases > places,
            full: Guarded::default(),
        }))
    }

    /// Whether a connection is soon closed for another database. Then what is nearly due follows what has just opened one.
    pub(crate) fn is_scarce(&self) -> bool {
        self.0.scarce
    }

    /// How many times longer the pauses of regular work should be, which opens a connection each time.
    pub(crate) fn pace(&self) -> u32 {
        u32::try_from(self.0.databases_per_place).map_or(PACE_MAX, |each| each.min(PACE_MAX))
    }

    /// A number for connections of one kind.
    pub(crate) fn pool(&self) -> u64 {
        self.0.pools.fetch_add(1, Ordering::Relaxed)
    }

    /// The idle connection of this kind that was used last.
    pub(crate) fn take(&self, pool: u64) -> Option<Open> {
        self.0.idle.take(pool)
    }

    /// A place for a new connection. If there is none, the connection that has been idle for longest is closed.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        self.close_unused(Instant::now());
        let free = || Arc::clone(&self.0.places);
        if let Ok(place) = free().try_acquire_owned() {
            return Ok(place);
        }
        let (_waits, longest) = self.0.idle.waits();
        drop(longest);
        let place = tokio::time::timeout(PLACE_WITHIN, free().acquire_owned()).await;
        place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Keeps a connection for the next use, unless a task waits for its place.
    pub(crate) fn keep(&self, pool: u64, open: Open) {
        let now = Instant::now();
        self.close_unused(now);
        drop(self.0.idle.keep(pool, now, open));
    }

    /// All idle connections of this kind.
    pub(crate) fn forget(&self, pool: u64) -> Vec<Open> {
        self.0.idle.forget(pool)
    }

    fn close_unused(&self, now: Instant) {
        drop(self.0.idle.unused(now));
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

    /// Refuses a new connection while there is known to be none. `place`: see [`Source::limited`](crate::Source::limited).
    pub(crate) fn admits(&self, place: &str) -> Result<(), sqlx::Error> {
        let now = Instant::now();
        let is_full = self.0.full.lock().get(place).is_some_and(|full| now < full.until);
        if !is_full {
            return Ok(());
        }
        let text =
            "no free connection on the server, or for this database or role: waiting before the next try";
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, text)))
    }

    /// Notes what became of a new connection.
    pub(crate) fn heard(&self, place: &str, source: &str, error: Option<&sqlx::Error>) {
        let Some(error) = error else {
            self.0.full.lock().remove(place);
            return;
        };
        if error.as_database_error().and_then(|error| error.code()).as_deref() != Some(TOO_MANY) {
            return;
        }
        let mut all = self.0.full.lock();
        let (says, wait) = all.entry(place.to_owned()).or_insert_with(Full::new).refused(Instant::now());
        drop(all);
        if says {
            tracing::warn!(
                source,
                error = %Chain(error),
                retry_in_seconds = wait.as_secs_f64(),
                "no free connection on the server, or for this database or role: raise the limit that the error names, or lower --connections"
            );
        }
    }
}

/// Pure: how many connections listen, and how many run statements.
fn shares(connections: usize, databases: usize) -> (usize, usize) {
    let listeners = databases.min(connections / 2);
    (listeners, (connections - listeners).max(1))
}

/// A database without free connections.
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
        let budget = Budget::beside_leads(2, 1);
        let (one, _two) = (budget.place().await.unwrap(), budget.place().await.unwrap());
        let other = budget.clone();
        let waiting = tokio::spawn(async move { other.place().await.is_ok() });
        while budget.0.idle.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        drop(one);
        assert!(waiting.await.unwrap());
    }

    #[derive(Debug)]
    struct TooMany;

    impl std::fmt::Display for TooMany {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("too many connections for database \"cards\"")
        }
    }

    impl std::error::Error for TooMany {}

    impl sqlx::error::DatabaseError for TooMany {
        fn message(&self) -> &'static str {
            "too many connections"
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(TOO_MANY.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    /// Guards promise 6: a limit of one database or role refuses no connection to another one of the same server, and a success
    /// of another one does not end its pause.
    #[test]
    fn each_database_is_full_by_itself() {
        let source = |url: &str| url.parse::<crate::Source>().unwrap().limited();
        let cards = source("postgres://me:hunter2@a/cards");
        let others = ["postgres://me@a/loans", "postgres://you@a/cards", "postgres://me@b/cards"].map(source);
        assert!(!cards.contains("hunter2"));
        let budget = Budget::unlimited();
        budget.heard(&cards, "cards", Some(&sqlx::Error::Database(Box::new(TooMany))));
        for other in &others {
            assert!(budget.admits(other).is_ok(), "{other}");
            budget.heard(other, "other", None);
            assert!(budget.admits(&cards).is_err(), "after a connection to {other}");
        }
        budget.heard(&cards, "cards", None);
        assert!(budget.admits(&cards).is_ok());
    }
}
