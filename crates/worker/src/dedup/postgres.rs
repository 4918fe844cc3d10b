use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use event::EventId;
use event_router::Rpc;
use outbox_schema::{interval, lend, within};
use sqlx::postgres::PgPool;
use uuid::Uuid;

use super::{Claim, Dedup, DedupError, Lease, Released};

/// The dedup record in the same database as the queue.
#[derive(Debug)]
pub struct PostgresDedup {
    pool: PgPool,
    rpc: String,
    lease: Duration,
}

impl PostgresDedup {
    /// `lease` is a little more than a call may take.
    pub fn new(pool: PgPool, rpc: &Rpc, lease: Duration) -> Self {
        Self { pool, rpc: rpc.as_str().to_owned(), lease }
    }

    /// Why these were not won: `None` for done, else how long the lease of whoever is on it still lasts.
    async fn look(&self, events: &[Uuid]) -> Result<HashMap<Uuid, Option<f64>>, sqlx::Error> {
        let look = sqlx::query_as(
            "select d.event_id,
                    case when d.done_at is null then extract(epoch from d.until - clock_timestamp())::float8 end
             from unnest($1::uuid[]) as k (id)
             join outbox.dedup as d on d.slot = outbox.dedup_slot(k.id) and d.event_id = k.id and d.rpc = $2",
        )
        .bind(events)
        .bind(&self.rpc);
        let mut loan = lend(&self.pool).await?;
        let found: Vec<(Uuid, Option<f64>)> = within(look.fetch_all(loan.conn())).await?;
        loan.give_back();
        Ok(found.into_iter().collect())
    }
}

impl Dedup for PostgresDedup {
    async fn claim(&self, events: &[EventId]) -> Result<Vec<Claim>, DedupError> {
        // One statement may not touch a key twice, and two workers' statements must lock keys in the same order.
        let tokens: BTreeMap<Uuid, i64> =
            events.iter().map(|event| (event.as_uuid(), fastrand::i64(..))).collect();
        let claim = sqlx::query_scalar(
            "insert into outbox.dedup as d (slot, event_id, rpc, lease, until)
             select outbox.dedup_slot(k.id), k.id, $3, k.lease, clock_timestamp() + $4
             from unnest($1::uuid[], $2::bigint[]) as k (id, lease)
             order by k.id
             on conflict (slot, event_id, rpc) do update set lease = excluded.lease, until = excluded.until
             where d.done_at is null and d.until < clock_timestamp()
             returning d.event_id",
        )
        .bind(tokens.keys().copied().collect::<Vec<_>>())
        .bind(tokens.values().copied().collect::<Vec<_>>())
        .bind(&self.rpc)
        .bind(interval(self.lease));
        let mut loan = lend(&self.pool).await?;
        let won: Vec<Uuid> = within(claim.fetch_all(loan.conn())).await?;
        loan.give_back();

        let mut won: HashMap<Uuid, i64> = won.into_iter().map(|id| (id, tokens[&id])).collect();
        let lost: Vec<Uuid> = tokens.keys().copied().filter(|id| !won.contains_key(id)).collect();
        let lost = if lost.is_empty() { HashMap::new() } else { self.look(&lost).await? };
        let claims = events.iter().map(|&event| {
            // Taken out when given: a second copy in the same batch finds the first one on it.
            match (won.remove(&event.as_uuid()), lost.get(&event.as_uuid())) {
                (Some(token), _) => Claim::Won(Lease { event, token }),
                (None, Some(None)) => Claim::Done,
                (None, Some(Some(seconds))) => {
                    Claim::Held { remaining: Duration::from_secs_f64(seconds.max(0.0)) }
                }
                (None, None) => Claim::Held { remaining: self.lease },
            }
        });
        Ok(claims.collect())
    }

    async fn complete(&self, leases: &[Lease]) -> Result<Vec<Lease>, DedupError> {
        let (ids, tokens) = columns(leases);
        let complete =
            sqlx::query_scalar("select outbox.complete($1, $2, $3)").bind(ids).bind(&self.rpc).bind(tokens);
        let mut loan = lend(&self.pool).await?;
        let lost: Vec<Uuid> = within(complete.fetch_all(loan.conn())).await?;
        loan.give_back();
        Ok(leases.iter().copied().filter(|lease| lost.contains(&lease.event.as_uuid())).collect())
    }

    /// What came of the call stands in the queue's own tables.
    async fn release(&self, released: &[Released<'_>]) -> Result<(), DedupError> {
        let leases: Vec<Lease> = released.iter().map(|one| one.lease).collect();
        let (ids, tokens) = columns(&leases);
        let release = sqlx::query(
            "update outbox.dedup as d set until = clock_timestamp() - interval '1 microsecond'
             from unnest($1::uuid[], $2::bigint[]) as k (id, lease)
             where d.slot = outbox.dedup_slot(k.id) and d.event_id = k.id and d.rpc = $3
               and d.lease = k.lease and d.done_at is null",
        )
        .bind(ids)
        .bind(tokens)
        .bind(&self.rpc);
        let mut loan = lend(&self.pool).await?;
        within(release.execute(loan.conn())).await?;
        loan.give_back();
        Ok(())
    }
}

fn columns(leases: &[Lease]) -> (Vec<Uuid>, Vec<i64>) {
    leases.iter().map(|lease| (lease.event.as_uuid(), lease.token)).unzip()
}
