use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use event::EventId;
use event_router::Rpc;
use outbox_schema::{Connections, interval, within};
use uuid::Uuid;

use super::{Claim, Dedup, DedupError, Lease, Released};

/// The dedup record in the same database as the queue.
#[derive(Debug)]
pub struct PostgresDedup {
    connections: Connections,
    rpc: String,
    lease: Duration,
}

impl PostgresDedup {
    /// `lease` is a little more than a call may take.
    pub fn new(connections: Connections, rpc: &Rpc, lease: Duration) -> Self {
        Self { connections, rpc: rpc.as_str().to_owned(), lease }
    }

    /// Why these were not won: `None` for done, else how long the lease of whoever is on it still lasts.
    async fn look(&self, events: &[Uuid]) -> Result<HashMap<Uuid, Option<f64>>, sqlx::Error> {
        let look = sqlx::query_as(
            "select k.id, case when d.done_at is null then extract(epoch from d.until - clock_timestamp())::float8 end
             from unnest($1::uuid[]) as k (id)
             cross join lateral (
                 select * from outbox.dedup as d
                 where d.slot = outbox.dedup_slot(k.id) and d.event_id = k.id and d.rpc = $2 limit 1) as d",
        )
        .bind(events)
        .bind(&self.rpc);
        let mut loan = self.connections.lend().await?;
        let found: Vec<(Uuid, Option<f64>)> = within(look.fetch_all(loan.conn())).await?;
        loan.give_back();
        Ok(found.into_iter().collect())
    }

    /// What was done, each event once; returns those that nobody else has the lease of by now. A lease that is not there at
    /// all was lost in a crash, and nobody else has it. This is the one commit of a worker that must be durable before it
    /// goes on: a record lost in a crash would mean a second call.
    async fn record(&self, leases: &[Lease]) -> Result<Vec<Uuid>, sqlx::Error> {
        let (ids, tokens) = columns(leases);
        let record = sqlx::query_scalar(
            "with durable as materialized (select set_config('synchronous_commit', 'on', true))
             insert into outbox.dedup as d (slot, event_id, rpc, lease, until, done_at)
             select outbox.dedup_slot(k.id), k.id, $3, k.lease, clock_timestamp(), clock_timestamp()
             from durable, unnest($1::uuid[], $2::bigint[]) as k (id, lease)
             order by k.id
             on conflict (slot, event_id, rpc) do update set done_at = coalesce(d.done_at, excluded.done_at)
             where d.lease = excluded.lease
             returning d.event_id",
        )
        .bind(ids)
        .bind(tokens)
        .bind(&self.rpc);
        let mut loan = self.connections.lend().await?;
        let done = within(record.fetch_all(loan.conn())).await?;
        loan.give_back();
        Ok(done)
    }
}

/// After an outage both copies of a message may be known to have succeeded; one statement may not touch a key twice.
fn rounds(leases: &[Lease]) -> Vec<Vec<Lease>> {
    let (mut rounds, mut times) = (Vec::<Vec<Lease>>::new(), HashMap::<EventId, usize>::new());
    for lease in leases {
        let time = times.entry(lease.event).or_default();
        if rounds.len() == *time {
            rounds.push(Vec::new());
        }
        rounds[*time].push(*lease);
        *time += 1;
    }
    rounds
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
        let mut loan = self.connections.lend().await?;
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
        let mut done = HashSet::new();
        for leases in rounds(leases) {
            done.extend(self.record(&leases).await?);
        }
        // Of two leases of one event that both succeeded, one is enough.
        Ok(leases.iter().copied().filter(|lease| !done.contains(&lease.event.as_uuid())).collect())
    }

    /// What came of the call stands in the queue's own tables.
    async fn release(&self, released: &[Released<'_>]) -> Result<(), DedupError> {
        let leases: Vec<Lease> = released.iter().map(|one| one.lease).collect();
        let (ids, tokens) = columns(&leases);
        // Only what is there: the conflict is how each is found by its key.
        let release = sqlx::query(
            "insert into outbox.dedup as d (slot, event_id, rpc, lease, until)
             select there.slot, there.event_id, there.rpc, k.lease, clock_timestamp() - interval '1 microsecond'
             from unnest($1::uuid[], $2::bigint[]) as k (id, lease)
             cross join lateral (
                 select * from outbox.dedup as d
                 where d.slot = outbox.dedup_slot(k.id) and d.event_id = k.id and d.rpc = $3 and d.lease = k.lease
                 limit 1) as there
             order by there.event_id
             on conflict (slot, event_id, rpc) do update set until = excluded.until
             where d.lease = excluded.lease and d.done_at is null",
        )
        .bind(ids)
        .bind(tokens)
        .bind(&self.rpc);
        let mut loan = self.connections.lend().await?;
        within(release.execute(loan.conn())).await?;
        loan.give_back();
        Ok(())
    }
}

fn columns(leases: &[Lease]) -> (Vec<Uuid>, Vec<i64>) {
    leases.iter().map(|lease| (lease.event.as_uuid(), lease.token)).unzip()
}
