//! Services that publish, in every way there is. Each event's transaction writes a row of the domain table, too: what is
//! there was committed, whatever a publisher was told.

mod work;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Acquire;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Failure;
use super::history::{Change, Outcome, Told};
use super::routes::{GARBLED, subscribers};
use work::Work;

pub(super) const APPLICATION: &str = "torture publisher";
const KEYS: i64 = 10;
/// Of long transactions, which hold their row's lock for as long.
const SLOW_KEYS: i64 = 2;

/// The domain: keys whose rows are locked, and what was committed.
pub(super) const DOMAIN: &str = "
    create schema torture;
    create table torture.key (key text primary key, n bigint not null default 0);
    create table torture.change (id uuid primary key, name text not null, key text, n bigint not null, refuse boolean not null,
                                 how text not null)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Keyed,
    Unkeyed,
    RolledBack,
    Savepoint,
    Long,
    Bulk,
    Sql,
    Garbled,
    /// Publishes nothing: keeps an old snapshot of the outbox open.
    Reader,
}

/// Who publishes, side by side.
const PUBLISHERS: [How; 13] = [
    How::Keyed,
    How::Keyed,
    How::Keyed,
    How::Unkeyed,
    How::Unkeyed,
    How::RolledBack,
    How::Savepoint,
    How::Long,
    How::Long,
    How::Bulk,
    How::Sql,
    How::Garbled,
    How::Reader,
];

/// What publishers were told, and how much is due because of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    told: Mutex<Vec<Told>>,
    events: AtomicUsize,
    due: AtomicUsize,
}

#[derive(Clone)]
pub(super) struct Publisher {
    pool: PgPool,
    ledger: Arc<Ledger>,
    /// Publishers wait while this is true.
    held: watch::Receiver<bool>,
    stop: CancellationToken,
    bulk_max: usize,
}

impl Ledger {
    pub(super) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no panic while held").clone()
    }

    pub(super) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }

    /// Deliveries, but for those of transactions of which nothing is known yet.
    pub(super) fn due(&self) -> usize {
        self.due.load(Ordering::Relaxed)
    }

    fn tell(&self, changes: &[Change], outcome: Outcome) {
        if outcome == Outcome::Committed {
            let due = changes.iter().filter(|change| change.name != GARBLED);
            self.due.fetch_add(due.map(|change| subscribers(&change.name).len()).sum(), Ordering::Relaxed);
            self.events.fetch_add(changes.len(), Ordering::Relaxed);
        }
        let told = changes.iter().map(|change| Told { event: change.event, outcome });
        self.told.lock().expect("no panic while held").extend(told);
    }
}

impl Publisher {
    pub(super) fn new(
        url: &str,
        held: watch::Receiver<bool>,
        stop: CancellationToken,
        bulk_max: usize,
    ) -> Result<Self, Failure> {
        let options = url.parse::<sqlx::postgres::PgConnectOptions>()?.application_name(APPLICATION);
        let pool = PgPoolOptions::new()
            .max_connections(24)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options);
        Ok(Self { pool, ledger: Arc::default(), held, stop, bulk_max })
    }

    pub(super) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Publishes until `stop`; returns when every transaction has ended, one way or another.
    pub(super) async fn run(self, seed: u64) {
        let mut publishers = JoinSet::new();
        for (number, how) in PUBLISHERS.into_iter().enumerate() {
            let random = fastrand::Rng::with_seed(seed.wrapping_add(number as u64 + 1));
            publishers.spawn(self.clone().publish_on(how, random));
        }
        while publishers.join_next().await.is_some() {}
        self.pool.close().await;
    }

    async fn publish_on(mut self, how: How, mut random: fastrand::Rng) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = self.held.wait_for(|held| !held) => {}
            }
            let pause = match self.publish(how, &mut random).await {
                Ok(()) => how.pause(&mut random),
                // The database is away, or the connection was cut: what was begun is rolled back.
                Err(_) => Duration::from_millis(random.u64(50..300)),
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn publish(&self, how: How, random: &mut fastrand::Rng) -> Result<(), Failure> {
        if how == How::Reader {
            return self.read_slowly(random).await;
        }
        let mut work = Work { tx: self.pool.begin().await?, changes: Vec::new(), how };
        let done = self.fill(&mut work, random).await;
        let Work { tx, changes, .. } = work;
        if done.is_err() || how == How::RolledBack {
            self.ledger.tell(&changes, Outcome::RolledBack);
            // An explicit ROLLBACK, or a transaction that is dropped.
            if random.bool() {
                let _ = tx.rollback().await;
            }
            return done;
        }
        let committed = tx.commit().await;
        let outcome = if committed.is_ok() { Outcome::Committed } else { Outcome::Unknown };
        self.ledger.tell(&changes, outcome);
        Ok(committed?)
    }

    /// What one transaction does before it ends.
    async fn fill(&self, work: &mut Work<'_>, random: &mut fastrand::Rng) -> Result<(), Failure> {
        match work.how {
            How::Keyed => work.change(&key(random), 1).await,
            How::Unkeyed if random.u8(0..4) == 0 => work.offer(random.u8(0..8) == 0).await,
            How::Unkeyed => work.note(random.u8(0..100) == 0).await,
            How::RolledBack => {
                work.change(&key(random), 1).await?;
                work.note(false).await
            }
            How::Savepoint => self.fill_around_a_savepoint(work, random).await,
            How::Long => {
                let slow = format!("slow-{}", random.i64(0..SLOW_KEYS));
                if random.bool() {
                    work.change(&slow, 1).await?;
                } else {
                    work.note(false).await?;
                }
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(random.u64(5_000..30_000))) => {}
                    () = self.stop.cancelled() => {}
                }
                Ok(())
            }
            How::Bulk => {
                work.change(&key(random), random.usize(2..20)).await?;
                work.notes(random.usize(self.bulk_max / 4..self.bulk_max)).await
            }
            How::Sql => work.enqueue_by_sql().await,
            How::Garbled => work.garble().await,
            How::Reader => Ok(()),
        }
    }

    /// What is rolled back to a savepoint was never committed, though its transaction was.
    async fn fill_around_a_savepoint(
        &self,
        work: &mut Work<'_>,
        random: &mut fastrand::Rng,
    ) -> Result<(), Failure> {
        work.change(&key(random), 1).await?;
        self.roll_back_inside(work, &key(random)).await?;
        work.note(false).await
    }

    async fn roll_back_inside(&self, work: &mut Work<'_>, key: &str) -> Result<(), Failure> {
        let mut inner = Work { tx: work.tx.begin().await?, changes: Vec::new(), how: How::Savepoint };
        let changed = inner.change(key, 1).await;
        let Work { tx, changes, .. } = inner;
        self.ledger.tell(&changes, Outcome::RolledBack);
        tx.rollback().await?;
        changed
    }

    async fn read_slowly(&self, random: &mut fastrand::Rng) -> Result<(), Failure> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
        for _ in 0..random.u8(2..8) {
            sqlx::query("select count(*), max(seq) from outbox.event").execute(&mut *tx).await?;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
                () = self.stop.cancelled() => break,
            }
        }
        Ok(tx.commit().await?)
    }
}

impl How {
    fn pause(self, random: &mut fastrand::Rng) -> Duration {
        let range = match self {
            How::Keyed | How::Unkeyed => 5..60,
            How::RolledBack | How::Savepoint | How::Sql => 20..150,
            How::Bulk => 1000..4000,
            How::Garbled => 500..4000,
            How::Long | How::Reader => 100..2000,
        };
        Duration::from_millis(random.u64(range))
    }
}

fn key(random: &mut fastrand::Rng) -> String {
    format!("key-{}", random.i64(0..KEYS))
}

/// Everything that was committed.
pub(super) async fn committed(pool: &PgPool) -> Result<Vec<Change>, sqlx::Error> {
    type Row = (Uuid, String, Option<String>, i64, bool, String);
    let rows: Vec<Row> =
        sqlx::query_as("select id, name, key, n, refuse, how from torture.change").fetch_all(pool).await?;
    let change =
        |(id, name, key, n, refuse, how): Row| Change { event: id.into(), name, key, n, refuse, how };
    Ok(rows.into_iter().map(change).collect())
}
