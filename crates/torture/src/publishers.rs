//! Services that publish in every form. Each event's transaction also writes a row of the domain table. Its rows are the
//! committed events, even if a publisher got no answer.

mod big;
pub(crate) mod prepared;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Acquire, PgTransaction};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::APPLICATION;
use crate::history::{Change, Clock, Outcome};
use crate::how::How;
use crate::ledger::Ledger;
use crate::run::{Failure, Pace};
use crate::work::Work;
use crate::world::World;

const KEYS: i64 = 10;
/// After the last publication.
const FALLS_ASLEEP_WITHIN: Duration = Duration::from_secs(3);
/// Keys of long transactions, which hold their row's lock for as long.
const SLOW_KEYS: i64 = 2;

/// The publishers, which run side by side.
const PUBLISHERS: [How; 15] = [
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
    How::Prepared,
    How::Prepared,
    How::Reader,
];

#[derive(Clone)]
pub(crate) struct Publisher {
    pool: PgPool,
    ledger: Arc<Ledger>,
    clock: Clock,
    /// Publishers wait while this is true.
    held: watch::Receiver<bool>,
    /// During a lull the relay must fall asleep: no publisher keeps it awake.
    lull: watch::Receiver<bool>,
    stop: CancellationToken,
    pace: Pace,
}

impl Publisher {
    pub(crate) fn new(
        world: &World,
        held: watch::Receiver<bool>,
        stop: CancellationToken,
        pace: Pace,
    ) -> Result<Self, Failure> {
        let options =
            world.publishers_url().parse::<sqlx::postgres::PgConnectOptions>()?.application_name(APPLICATION);
        let pool = PgPoolOptions::new()
            .max_connections(32)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options);
        let (clock, lull) = (world.clock, world.lull.subscribe());
        Ok(Self { pool, ledger: Arc::clone(&world.ledger), clock, held, lull, stop, pace })
    }

    /// Publishes until `stop`. Returns when every transaction has ended.
    pub(crate) async fn run(self, seed: u64) {
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
                () = asleep(&mut self.lull), if how == How::Prepared => {}
            }
            let pause = match self.publish(how, &mut random).await {
                Ok(()) => how.pause(&mut random),
                // The database is away, or the connection was cut: the transaction is rolled back.
                Err(_) => Duration::from_millis(random.u64(50..300)),
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn publish(&self, how: How, random: &mut fastrand::Rng) -> Result<(), Failure> {
        match how {
            How::Reader => return self.read_slowly(random).await,
            How::Prepared => return self.publish_prepared(random).await,
            _ => {}
        }
        let mut work = Work::begin(&self.pool, how).await?;
        let done = self.fill(&mut work, random).await;
        let Work { tx, changes, .. } = work;
        if done.is_err() || how == How::RolledBack {
            self.ledger.tell(&changes, Outcome::RolledBack);
            // An explicit ROLLBACK, or a dropped transaction.
            if random.bool() {
                let _ = tx.rollback().await;
            }
            return done;
        }
        self.commit(tx, &changes).await
    }

    async fn commit(&self, tx: PgTransaction<'_>, changes: &[Change]) -> Result<(), Failure> {
        let committed = tx.commit().await;
        let outcome = if committed.is_ok() { Outcome::Committed } else { Outcome::Unknown };
        self.ledger.tell(changes, outcome);
        Ok(committed?)
    }

    /// Keeps a transaction open for this time, until a lull or the end.
    async fn rest(&self, time: Duration) {
        let mut lull = self.lull.clone();
        let begins = async {
            let _ = lull.wait_for(|lull| !lull).await;
            let _ = lull.wait_for(|lull| *lull).await;
        };
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = begins => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// The statements of one transaction before its end.
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
                self.rest(Duration::from_millis(random.u64(5_000..30_000))).await;
                Ok(())
            }
            How::Bulk => {
                work.change(&key(random), random.usize(2..20)).await?;
                work.notes(random.usize(self.pace.bulk_max / 4..self.pace.bulk_max)).await
            }
            How::Sql => work.enqueue_by_sql().await,
            How::Garbled => work.garble(random).await,
            How::Prepared | How::Big | How::Second | How::Reader => Ok(()),
        }
    }

    /// An event that is rolled back to a savepoint is never committed, though its transaction is.
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

fn key(random: &mut fastrand::Rng) -> String {
    format!("key-{}", random.i64(0..KEYS))
}

/// Waits until publishers have paused for so long that the relay sleeps.
async fn asleep(lull: &mut watch::Receiver<bool>) {
    loop {
        let _ = lull.wait_for(|lull| *lull).await;
        let over = tokio::time::timeout(FALLS_ASLEEP_WITHIN, lull.wait_for(|lull| !lull)).await;
        if over.is_err() {
            return;
        }
    }
}
