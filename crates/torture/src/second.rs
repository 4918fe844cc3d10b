//! A second database with the same relays and workers, which loses its schema now and then. The first database must not be
//! affected. Once the schema is back, its events arrive.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgPool;

use crate::database::{PUTS, insist, migrate};
use crate::domain::{self, DOMAIN};
use crate::history::Outcome;
use crate::how::How;
use crate::ledger::Ledger;
use crate::routes::subscribers;
use crate::rpcs::Rpcs;
use crate::run::Failure;
use crate::work::Work;

/// All events must have arrived before the schema is dropped, because they are dropped with it.
const ARRIVES_WITHIN: Duration = Duration::from_secs(15);
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// Done records are copied here before the schema is dropped.
const RECORDED: &str = "
    create table torture.recorded (event_id uuid, rpc text, done_at timestamptz, primary key (event_id, rpc))";

pub(crate) struct Second {
    /// Without a proxy.
    pub(crate) pool: PgPool,
    url: String,
    relay: PathBuf,
    losses: AtomicUsize,
    /// One loss at a time.
    turn: tokio::sync::Mutex<()>,
}

/// What happens to the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Renamed,
    Dropped,
}

impl Second {
    pub(crate) async fn make(pool: PgPool, url: String, bin: &Path) -> Result<Self, Failure> {
        sqlx::raw_sql(DOMAIN).execute(&pool).await?;
        sqlx::raw_sql(PUTS).execute(&pool).await?;
        sqlx::raw_sql(RECORDED).execute(&pool).await?;
        let (losses, turn) = (AtomicUsize::new(0), tokio::sync::Mutex::new(()));
        Ok(Self { pool, url, relay: bin.join("relay"), losses, turn })
    }

    /// Removes the schema for this time, and brings it back unchanged or new. Publishes before and afterwards.
    pub(crate) async fn lose(
        &self,
        rpcs: &Rpcs,
        ledger: &Ledger,
        dice: u64,
        lasts: Duration,
    ) -> Result<String, Failure> {
        let _turn = self.turn.lock().await;
        let mut random = fastrand::Rng::with_seed(dice);
        let wanted = if random.bool() { Loss::Dropped } else { Loss::Renamed };
        self.publish(ledger, &mut random).await?;
        let loss = match wanted {
            // Some events are still under way, and must not be lost.
            Loss::Dropped if !self.is_over(rpcs).await => Loss::Renamed,
            wanted => wanted,
        };
        let taken = insist(|| self.take_away(loss)).await;
        tokio::time::sleep(lasts).await;
        insist(|| self.bring_back(loss)).await?;
        taken?;
        // The sequences of deliveries begin anew, and so does the order of a key.
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.publish(ledger, &mut random).await?;
        Ok(format!("second, {loss:?}").to_lowercase())
    }

    /// Publishes a few transactions.
    async fn publish(&self, ledger: &Ledger, random: &mut fastrand::Rng) -> Result<(), Failure> {
        let key = format!("second-{}", self.losses.load(Ordering::Relaxed));
        for _ in 0..random.u8(2..5) {
            let times = random.usize(1..4);
            insist(|| self.publish_once(ledger, &key, times)).await?;
        }
        Ok(())
    }

    async fn publish_once(&self, ledger: &Ledger, key: &str, times: usize) -> Result<(), Failure> {
        let mut work = Work::begin(&self.pool, How::Second).await?;
        let filled = async {
            work.change(key, times).await?;
            work.note(false).await
        };
        let filled = filled.await;
        let Work { tx, changes, .. } = work;
        let committed = match filled {
            Ok(()) => tx.commit().await.map_err(Failure::from),
            Err(error) => {
                ledger.tell(&changes, Outcome::RolledBack);
                return Err(error);
            }
        };
        ledger.tell(&changes, if committed.is_ok() { Outcome::Committed } else { Outcome::Unknown });
        committed
    }

    /// Whether every published event has arrived and is recorded. `false` if that does not happen in time.
    async fn is_over(&self, rpcs: &Rpcs) -> bool {
        let over = async {
            loop {
                if self.has_arrived(rpcs).await.unwrap_or(false) {
                    return;
                }
                tokio::time::sleep(LOOKS_EVERY).await;
            }
        };
        tokio::time::timeout(ARRIVES_WITHIN, over).await.is_ok()
    }

    async fn has_arrived(&self, rpcs: &Rpcs) -> Result<bool, Failure> {
        let committed = domain::committed(&self.pool).await?;
        let arrived = committed
            .iter()
            .all(|change| subscribers(&change.name).iter().all(|rpc| rpcs.has_arrived(change.event, *rpc)));
        let open: i64 = sqlx::query_scalar(
            "select (select count(*) from outbox.claim where until is not null) + (select count(*) from outbox.retry)",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(arrived && open == 0)
    }

    /// Succeeds also if an earlier answer was lost and the schema is gone already.
    async fn take_away(&self, loss: Loss) -> Result<(), Failure> {
        let here: bool =
            sqlx::query_scalar("select to_regnamespace('outbox') is not null").fetch_one(&self.pool).await?;
        if !here {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        sqlx::query("set local lock_timeout = '5s'").execute(&mut *tx).await?;
        match loss {
            Loss::Renamed => {
                sqlx::query("alter schema outbox rename to away").execute(&mut *tx).await?;
            }
            Loss::Dropped => {
                sqlx::query(
                    "insert into torture.recorded
                     select event_id, rpc, max(done_at) from outbox.done group by event_id, rpc
                     on conflict do nothing",
                )
                .execute(&mut *tx)
                .await?;
                sqlx::query("drop schema outbox cascade").execute(&mut *tx).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Succeeds also if an earlier answer was lost and the schema is back already.
    async fn bring_back(&self, loss: Loss) -> Result<(), Failure> {
        match loss {
            Loss::Renamed => {
                let away: bool = sqlx::query_scalar("select to_regnamespace('away') is not null")
                    .fetch_one(&self.pool)
                    .await?;
                if away {
                    sqlx::query("alter schema away rename to outbox").execute(&self.pool).await?;
                }
            }
            Loss::Dropped => {
                migrate(&self.relay, &self.url).await?;
                sqlx::raw_sql(PUTS).execute(&self.pool).await?;
            }
        }
        Ok(())
    }
}
