use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::{Dedup, DedupError, Lease, LeaseAnswer, Recorded, Released, Unsettled};
use uuid::Uuid;

use crate::failed::unsettled;
use crate::{Connections, interval};

/// The dedup record in the same database as the queue.
#[derive(Debug)]
pub struct PostgresDedup {
    connections: Connections,
    rpc: String,
    lease: Duration,
}

impl PostgresDedup {
    pub fn new(connections: Connections, rpc: &Rpc, lease: Duration) -> Self {
        Self { connections, rpc: rpc.as_str().to_owned(), lease }
    }

    /// For leases that were not won: `None` if the event is done, else how long another worker's lease lasts.
    async fn look(&self, events: &[Uuid]) -> Result<HashMap<Uuid, Option<f64>>, sqlx::Error> {
        let mut all = HashMap::new();
        for (leaf, events) in by_leaf(events.iter().map(|&event| (event, ()))) {
            let look = sqlx::query_as(leaf.look)
                .bind(events.iter().map(|(event, ())| *event).collect::<Vec<_>>())
                .bind(&self.rpc);
            let found: Vec<(Uuid, Option<f64>)> =
                self.connections.run(async |conn| look.fetch_all(conn).await).await?;
            all.extend(found);
        }
        Ok(all)
    }

    /// Records successes, each event once. Returns the events whose lease no other worker has. A missing lease was lost in a
    /// crash, so no other worker has it. Only this commit of a worker must be durable before it goes on: a lost record would
    /// mean a second call.
    async fn record(&self, leases: &[Lease]) -> Result<Vec<Uuid>, sqlx::Error> {
        let (ids, tokens) = columns(leases);
        let record = sqlx::query_scalar(
            "with durable as materialized (select set_config('synchronous_commit', 'on', true)), late as (
                 update outbox.dedup_late as l set newest = clock_timestamp()
                 where l.newest < clock_timestamp() - interval '1 day' and l.slot = any (outbox.late_slots($1::uuid[]))
             )
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
        self.connections.run(async |conn| record.fetch_all(conn).await).await
    }
}

/// After an outage both copies of a message may have succeeded, and one statement can't touch a key twice.
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

impl PostgresDedup {
    async fn lease_all(&self, events: &[EventId]) -> Result<Vec<LeaseAnswer>, sqlx::Error> {
        // One statement can't touch a key twice, and statements of two workers must lock keys in the same order.
        let tokens: BTreeMap<Uuid, i64> =
            events.iter().map(|event| (event.as_uuid(), fastrand::i64(..))).collect();
        let lease = sqlx::query_scalar(
            "with late as (
                 update outbox.dedup_late as l set newest = clock_timestamp()
                 where l.newest < clock_timestamp() - interval '1 day' and l.slot = any (outbox.late_slots($1::uuid[]))
             )
             insert into outbox.dedup as d (slot, event_id, rpc, lease, until)
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
        let won: Vec<Uuid> = self.connections.run(async |conn| lease.fetch_all(conn).await).await?;

        let mut won: HashMap<Uuid, i64> = won.into_iter().map(|id| (id, tokens[&id])).collect();
        let lost: Vec<Uuid> = tokens.keys().copied().filter(|id| !won.contains_key(id)).collect();
        let lost = if lost.is_empty() { HashMap::new() } else { self.look(&lost).await? };
        let answers = events.iter().map(|&event| {
            // Remove the lease when it is given, so that a second copy in the same batch counts as held.
            match (won.remove(&event.as_uuid()), lost.get(&event.as_uuid())) {
                (Some(token), _) => LeaseAnswer::Won(Lease { event, token }),
                (None, Some(None)) => LeaseAnswer::Done,
                (None, Some(Some(seconds))) => {
                    LeaseAnswer::Held { remaining: Duration::from_secs_f64(seconds.max(0.0)) }
                }
                (None, None) => LeaseAnswer::Held { remaining: self.lease },
            }
        });
        Ok(answers.collect())
    }
}

impl Dedup for PostgresDedup {
    async fn lease(&self, events: &[EventId]) -> Result<Vec<LeaseAnswer>, DedupError> {
        self.lease_all(events).await.map_err(DedupError::new)
    }

    async fn complete(&self, leases: &[Lease]) -> Vec<Result<Recorded, Unsettled>> {
        let mut done: HashMap<EventId, Result<(), Unsettled>> = HashMap::new();
        for leases in rounds(leases) {
            for (event, recorded) in self.record_each(&leases).await {
                // Two leases of one event may both have succeeded: one record is enough.
                if !matches!(done.get(&event), Some(Ok(()))) {
                    done.insert(event, recorded);
                }
            }
        }
        let recorded = |lease: &Lease| match done.get(&lease.event) {
            Some(Ok(())) => Ok(Recorded::Written),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(Recorded::Lost),
        };
        leases.iter().map(recorded).collect()
    }

    /// The queue's own tables hold the result of the call.
    async fn release(&self, released: &[Released]) -> Vec<Result<(), Unsettled>> {
        let all: Vec<(Uuid, i64)> =
            released.iter().map(|one| (one.lease.event.as_uuid(), one.lease.token)).collect();
        let error = match self.give_back(&all).await {
            Ok(()) => return released.iter().map(|_| Ok(())).collect(),
            Err(error) => unsettled(&error),
        };
        if !error.is_refused() {
            return released.iter().map(|_| Err(error.clone())).collect();
        }
        let mut answers = Vec::new();
        for one in all.chunks(1) {
            answers.push(self.give_back(one).await.map_err(|error| unsettled(&error)));
        }
        answers
    }
}

impl PostgresDedup {
    /// Records all at once, or each alone if the database refuses that. Another worker has the events without an answer.
    async fn record_each(&self, leases: &[Lease]) -> Vec<(EventId, Result<(), Unsettled>)> {
        let error = match self.record(leases).await {
            Ok(done) => return done.into_iter().map(|event| (event.into(), Ok(()))).collect(),
            Err(error) => unsettled(&error),
        };
        if !error.is_refused() || leases.len() == 1 {
            return leases.iter().map(|lease| (lease.event, Err(error.clone()))).collect();
        }
        let mut answers = Vec::new();
        for one in leases.chunks(1) {
            match self.record(one).await {
                Ok(done) => answers.extend(done.into_iter().map(|event| (event.into(), Ok(())))),
                Err(error) => answers.push((one[0].event, Err(unsettled(&error)))),
            }
        }
        answers
    }

    async fn give_back(&self, leases: &[(Uuid, i64)]) -> Result<(), sqlx::Error> {
        for (leaf, leases) in by_leaf(leases.iter().copied()) {
            let (ids, tokens): (Vec<Uuid>, Vec<i64>) = leases.into_iter().unzip();
            let release = sqlx::query(leaf.release).bind(ids).bind(tokens).bind(&self.rpc);
            self.connections.run(async |conn| release.execute(conn).await).await?;
        }
        Ok(())
    }
}

fn columns(leases: &[Lease]) -> (Vec<Uuid>, Vec<i64>) {
    leases.iter().map(|lease| (lease.event.as_uuid(), lease.token)).unzip()
}

/// The statements for one slot of the record, by the slot's own name. A statement on the whole record locks all slots, and
/// would wait while an old one is truncated.
#[derive(Debug)]
struct Leaf {
    look: &'static str,
    release: &'static str,
}

macro_rules! leaf {
    ($table:literal) => {
        Leaf {
            look: concat!(
                "select k.id, case when d.done_at is null then extract(epoch from d.until - clock_timestamp())::float8 end
                 from unnest($1::uuid[]) as k (id)
                 cross join lateral (
                     select * from ", $table, " as d
                     where d.slot = outbox.dedup_slot(k.id) and d.event_id = k.id and d.rpc = $2 limit 1) as d"
            ),
            // It touches only existing rows: the conflict finds each by its key.
            release: concat!(
                "insert into ", $table, " as d (slot, event_id, rpc, lease, until)
                 select there.slot, there.event_id, there.rpc, k.lease, clock_timestamp() - interval '1 microsecond'
                 from unnest($1::uuid[], $2::bigint[]) as k (id, lease)
                 cross join lateral (
                     select * from ", $table, " as d
                     where d.slot = outbox.dedup_slot(k.id) and d.event_id = k.id and d.rpc = $3 and d.lease = k.lease
                     limit 1) as there
                 order by there.event_id
                 on conflict (slot, event_id, rpc) do update set until = excluded.until
                 where d.lease = excluded.lease and d.done_at is null"
            ),
        }
    };
}

const LEAVES: [Leaf; 5] = [
    leaf!("outbox.dedup_0"),
    leaf!("outbox.dedup_1"),
    leaf!("outbox.dedup_2"),
    leaf!("outbox.dedup_3"),
    leaf!("outbox.dedup_4"),
];

/// As `outbox.dedup_slot`: the week of the time in a version 7 id.
fn slot(event: Uuid) -> usize {
    const WEEK_MILLIS: u128 = 7 * 24 * 3_600_000;
    let weeks = (event.as_u128() >> 80) / WEEK_MILLIS;
    usize::try_from(weeks % LEAVES.len() as u128).unwrap_or_default()
}

/// Groups events by slot. Those of a batch are mostly of one week.
fn by_leaf<T>(events: impl Iterator<Item = (Uuid, T)>) -> Vec<(&'static Leaf, Vec<(Uuid, T)>)> {
    let mut slots: BTreeMap<usize, Vec<(Uuid, T)>> = BTreeMap::new();
    for (event, rest) in events {
        slots.entry(slot(event)).or_default().push((event, rest));
    }
    slots.into_iter().map(|(slot, events)| (&LEAVES[slot], events)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 3: the worker looks for a record in the slot that `outbox.dedup_slot` gives.
    #[test]
    fn a_slot_is_the_week_of_the_id() {
        for (id, expected) in [
            ("00000000-0000-7000-8000-000000000000", 0),
            ("0000240c-83ff-7000-8000-000000000000", 0),
            ("0000240c-8400-7000-8000-000000000000", 1),
            ("01a21352-e4c3-78ff-92d9-cab82d1daf5d", 3),
            ("ffffffff-ffff-4fff-bfff-ffffffffffff", 1),
        ] {
            assert_eq!(slot(id.parse().unwrap()), expected, "{id}");
        }
    }
}
