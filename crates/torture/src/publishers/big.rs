//! Transactions with very many events.

use std::time::Duration;

use uuid::Uuid;

use super::Publisher;
use crate::database::insist;
use crate::history::{Change, Outcome};
use crate::how::How;
use crate::routes::{NOTED, UNHEARD};
use crate::run::Failure;
use crate::work::Work;

const EVENTS: std::ops::Range<i64> = 50_000..200_000;
/// Changes of a key, before and after all other events.
const CHANGES: usize = 4;
/// Events of a rolled-back transaction that are checked: all of them share its outcome.
const SAMPLE: usize = 100;

impl Publisher {
    /// Publishes in one transaction, which stays open for `lasts` after its last event. If another fault ends it, it is
    /// tried once more.
    pub(crate) async fn publish_very_many(&self, dice: u64, lasts: Duration) -> Result<String, Failure> {
        insist(|| self.try_very_many(dice, lasts)).await
    }

    /// One in four commits. Few of the committed events have a subscriber: the relay must read all of them, and the RPCs'
    /// servers need not.
    async fn try_very_many(&self, dice: u64, lasts: Duration) -> Result<String, Failure> {
        let mut random = fastrand::Rng::with_seed(dice);
        let commits = random.u8(0..4) == 0;
        let (events, heard) = match commits {
            true => (random.i64(EVENTS).min(self.pace.big_max), self.pace.heard_max),
            false => (random.i64(EVENTS), SAMPLE),
        };
        let mut work = Work::begin(&self.pool, How::Big).await?;
        let filled = async {
            work.change("big", CHANGES).await?;
            work.very_many(events, heard, if commits { UNHEARD } else { NOTED }).await?;
            work.change("big", CHANGES).await
        };
        let filled = filled.await;
        if filled.is_ok() {
            self.rest(lasts).await;
        }
        let Work { tx, changes, .. } = work;
        let whom = format!("{events} events, {}", if commits { "committed" } else { "rolled back" });
        if filled.is_err() || !commits {
            self.ledger.tell(&changes, Outcome::RolledBack);
            if random.bool() {
                let _ = tx.rollback().await;
            }
            return filled.map(|()| whom);
        }
        self.commit(tx, &changes).await?;
        Ok(whom)
    }
}

impl Work<'_> {
    /// Enqueues so many events. `heard` of them, spread evenly, are notes with a row of the domain; the others have the name
    /// `rest`.
    async fn very_many(&mut self, events: i64, heard: usize, rest: &str) -> Result<(), Failure> {
        let every = (events / i64::try_from(heard)?).max(1);
        let ids: Vec<Uuid> = (0..events / every).map(|_| Uuid::now_v7()).collect();
        for id in &ids {
            self.write(Change { name: NOTED.to_owned(), ..Change::of((*id).into(), self.how) });
        }
        sqlx::query(
            "select outbox.enqueue_all(a.names, a.payloads, a.keys, a.keys, a.ids)
             from (select array_agg(case when n % $2 = 0 then $4 else $5 end order by n) as names,
                          array_agg('{\"n\":\"' || n || '\"}' order by n) as payloads,
                          array_agg(null::text) as keys,
                          array_agg(case when n % $2 = 0 then ($3::uuid[])[n / $2] else outbox.uuid_v7() end order by n) as ids
                   from generate_series(1, $1::bigint) as n) as a",
        )
        .bind(events)
        .bind(every)
        .bind(&ids)
        .bind(NOTED)
        .bind(rest)
        .execute(&mut *self.tx)
        .await?;
        self.save().await
    }
}
