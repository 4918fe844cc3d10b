//! Receipts: a claim of a queue's log is the lease of its events, and one row records its successes.

use std::sync::Arc;
use std::time::Duration;

use outbox::EventId;
use outbox_event_router::Rpc;
use outbox_postgres::queue::{PostgresQueue, Watched};
use outbox_postgres::{Connections, SESSION};
use outbox_transport::{Dedup, Lease, LeaseAnswer, Queue, Wanted};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::contracts::{failed, lost_of, release};
use crate::world::{ROUTER, World};

const LEASE: Duration = Duration::from_secs(60);

/// A queue's log that only the test fills, and from which only the test receives.
pub(super) struct Log {
    pub(super) world: World,
    connections: Connections,
}

impl Log {
    pub(super) async fn new() -> Self {
        let world = World::new(ROUTER).await;
        world.execute("insert into outbox.queue (rpc) values ('Test/One')").await;
        let connections = world.source.connections("test", &SESSION, 8);
        Self { world, connections }
    }

    /// The queue as of another worker.
    pub(super) fn queue(&self) -> PostgresQueue {
        let watched = Arc::new(Watched::new(&Rpc::new("Test/One").unwrap()));
        PostgresQueue::new(self.connections.clone(), watched, "test", LEASE, LEASE)
    }

    pub(super) async fn append(&self, events: &[EventId]) {
        let ids: Vec<Uuid> = events.iter().map(|event| event.as_uuid()).collect();
        let append = "insert into outbox.delivery (queue, event_id, body, slot)
                      select q.id, k.id, '{}', 0 from outbox.queue as q, unnest($1::uuid[]) with ordinality as k (id, n)
                      where q.rpc = 'Test/One' order by k.n";
        sqlx::query(append).bind(ids).execute(&self.world.pool).await.unwrap();
    }

    /// Receives a batch of the log as another worker. Returns its dedup record and its leases.
    pub(super) async fn receive(&self) -> (impl Dedup, Vec<Option<Lease>>) {
        let queue = self.queue();
        let received = queue.receive(Wanted::any(500), &CancellationToken::new()).await.unwrap();
        let leases = received.into_iter().map(|delivery| delivery.lease.map(|of| of.0)).collect();
        (queue.dedup(), leases)
    }

    /// The same for new events, which are all leased.
    pub(super) async fn lease(&self, events: &[EventId]) -> (impl Dedup, Vec<Lease>) {
        self.append(events).await;
        let (dedup, leases) = self.receive().await;
        let leases: Vec<Lease> = leases.into_iter().flatten().collect();
        assert_eq!(leases.iter().map(|lease| lease.event).collect::<Vec<_>>(), events);
        (dedup, leases)
    }

    pub(super) async fn done(&self, events: &[EventId]) {
        let (dedup, leases) = self.lease(events).await;
        assert!(lost_of(&dedup, &leases).await.is_empty());
        self.world.execute("update outbox.claim set until = null").await;
    }

    /// The answers for deliveries with rows of their own: won, done or held.
    pub(super) async fn ask(&self, events: &[EventId]) -> String {
        let answers = self.queue().dedup().lease(events).await.unwrap();
        let said = answers.iter().map(|answer| match answer {
            LeaseAnswer::Won(_) => 'w',
            LeaseAnswer::Done => 'd',
            LeaseAnswer::Held { remaining } if *remaining <= LEASE => 'h',
            other => panic!("{other:?}"),
        });
        said.collect()
    }

    pub(super) async fn end_claims(&self) {
        self.world.execute("update outbox.claim set until = clock_timestamp() where until is not null").await;
        self.world.execute("select outbox.recover(id, 0) from outbox.queue").await;
    }
}

pub(super) fn events(many: usize) -> Vec<EventId> {
    (0..many).map(|_| EventId::new()).collect()
}

/// Guards promise 3: no other worker leases an event of an open claim, unless it was given back. A batch that is settled in
/// parts has a receipt for each part.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_the_lease_of_its_batch() {
    let log = Log::new().await;
    let events = events(4);
    let (dedup, leases) = log.lease(&events).await;
    assert_eq!(log.ask(&events).await, "hhhh");
    assert!(lost_of(&dedup, &leases[..1]).await.is_empty());
    release(&dedup, &[failed(leases[1])]).await;
    assert_eq!(log.ask(&events).await, "dwhh");
    assert_eq!(log.ask(&events).await, "dhhh");
    assert!(lost_of(&dedup, &leases[2..]).await.is_empty());
    assert_eq!(log.ask(&events).await, "dhdd");
    assert_eq!(log.world.scalar::<i64>("select count(*) from outbox.receipt").await, 2);
    assert_eq!(log.world.scalar::<i64>("select count(*) from outbox.dedup").await, 1);

    // The log has the events again. Some are in an open claim, and some are done.
    log.append(&events).await;
    let (_, leases) = log.receive().await;
    assert_eq!(leases, [None; 4]);
    log.world.finish().await;
}

/// Guards promise 3: of two copies in two claims only the first is leased, wherever the copies are in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_another_claim_is_not_leased() {
    let log = Log::new().await;
    let (first, second) = (events(3), events(3));
    log.lease(&first).await;
    log.append(&[&first[2..], &second[..], &first[..1]].concat()).await;
    let (_, leases) = log.receive().await;
    assert_eq!(leases.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true, true, false]);

    // The second claim ends before the first one. Only its own leases remain.
    let second_ends =
        "update outbox.claim set until = clock_timestamp() where id = (select max(id) from outbox.claim)";
    log.world.execute(second_ends).await;
    log.world.execute("select outbox.recover(id, 0) from outbox.queue").await;
    let left: Vec<Uuid> = sqlx::query_scalar("select event_id from outbox.dedup order by event_id")
        .fetch_all(&log.world.pool)
        .await
        .unwrap();
    assert_eq!(left, second.iter().map(|event| event.as_uuid()).collect::<Vec<_>>());
    assert_eq!(log.ask(&first).await, "hhh");
    log.world.finish().await;
}

/// Guards promise 3: the leases of a claim remain if it ends before it is settled. Its worker may still record successes,
/// until another worker has the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_ended_leaves_its_leases() {
    let log = Log::new().await;
    let events = events(3);
    let (dedup, leases) = log.lease(&events).await;
    assert!(lost_of(&dedup, &leases[..1]).await.is_empty());
    log.end_claims().await;
    assert_eq!(log.world.scalar::<i64>("select count(*) from outbox.retry").await, 3);
    assert_eq!(log.ask(&events).await, "dhh", "their calls may still be under way");
    assert!(lost_of(&dedup, &leases[1..2]).await.is_empty());
    assert_eq!(log.ask(&events).await, "ddh");
    log.world.execute("update outbox.dedup set until = clock_timestamp() where done_at is null").await;
    assert_eq!(log.ask(&events).await, "ddw");
    assert_eq!(lost_of(&dedup, &leases[2..]).await, leases[2..]);
    assert_eq!(log.ask(&events).await, "ddh");
    log.world.finish().await;
}

/// Guards promise 3: a success is recorded though a crash lost its claim, unless its batch was claimed again meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_outlives_a_claim_that_a_crash_took_back() {
    let log = Log::new().await;
    let events = events(4);
    let (dedup, leases) = log.lease(&events).await;
    log.world.execute("delete from outbox.claim").await;
    assert!(lost_of(&dedup, &leases[..2]).await.is_empty());
    let (other, again) = log.receive().await;
    assert_eq!(again.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!(lost_of(&dedup, &leases[2..]).await, leases[2..]);
    release(&dedup, &[failed(leases[3])]).await;
    assert_eq!(log.ask(&events).await, "ddhh", "only the lease's worker gives it back");
    let again: Vec<Lease> = again.into_iter().flatten().collect();
    assert!(lost_of(&other, &again).await.is_empty());
    assert_eq!(log.ask(&events).await, "dddd");
    log.world.finish().await;
}

/// Guards promise 3: a record is found for an id of any time or without one. It is also found if a batch has ids of two
/// weeks, and if the log has the ids again.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_whatever_its_id() {
    let log = Log::new().await;
    let week: i64 = log.world.scalar("select (extract(epoch from now())::bigint / 604800) * 604800000").await;
    let at = |millis: i64, n: u128| Uuid::from_u128(((millis as u128) << 80) | (7 << 76) | (8 << 60) | n);
    let mut ids: Vec<Uuid> = (0..20).map(|_| Uuid::from_u128(fastrand::u128(..))).collect();
    ids.extend([Uuid::from_u128(1), Uuid::from_u128(2), Uuid::max(), Uuid::from_u128(u128::MAX - 1)]);
    // On both sides of the end of a week and of a minute. Five weeks apart, which is the same slot. Far in the future.
    ids.extend([week - 1, week, week + 59_999, week + 60_000].map(|millis| at(millis, 1)));
    ids.extend([at(week - 5 * 604_800_000, 2), at(week + 5 * 604_800_000, 2), at(week * 3, 1)]);
    let events: Vec<EventId> = ids.iter().map(|id| EventId::from(*id)).chain(events(50)).collect();
    log.done(&events).await;
    let done = events.iter().map(|_| 'd').collect::<String>();
    assert_eq!(log.ask(&events).await, done);
    for event in &events {
        assert_eq!(log.ask(&[*event]).await, "d", "{event}");
    }
    log.append(&events).await;
    let (_, leases) = log.receive().await;
    assert!(leases.iter().all(Option::is_none), "{leases:?}");
    log.world.execute("update outbox.claim set until = null").await;

    let forgets = "select outbox.forget(event_id, rpc) from outbox.done where event_id = any ($1)";
    let forgotten: Vec<Uuid> = events[..40].iter().map(|event| event.as_uuid()).collect();
    let said: Vec<bool> =
        sqlx::query_scalar(forgets).bind(&forgotten).fetch_all(&log.world.pool).await.unwrap();
    assert_eq!(said, [true; 40]);
    let expected = (0..events.len()).map(|n| if n < 40 { 'w' } else { 'd' }).collect::<String>();
    assert_eq!(log.ask(&events).await, expected);
    log.world.finish().await;
}

/// Guards promise 3: while receipts are folded, ids are searched and forgotten. Each id is found until it is forgotten, and
/// not later.
#[tokio::test(flavor = "multi_thread")]
async fn folding_loses_nothing_and_brings_nothing_back() {
    let log = Log::new().await;
    let events = events(60);
    for event in &events {
        log.done(&[*event]).await;
    }
    let fold = "select sum(f.folded)::bigint from generate_series(0, 4) as s,
                     lateral outbox.fold_receipts(s::smallint, '-infinity', 'infinity', 7) as f";
    let (kept, gone) = events.split_at(30);
    let (stop, mut folding) = (CancellationToken::new(), JoinSet::new());
    let (pool, until_stopped) = (log.world.pool.clone(), stop.clone());
    folding.spawn(async move {
        while !until_stopped.is_cancelled() {
            sqlx::query_scalar::<_, i64>(fold).fetch_one(&pool).await.unwrap();
            // Then the next statement has receipts to fold.
            let unfold = "update outbox.receipt set small = true where (slot, ctid) in (
                              select slot, ctid from outbox.receipt for update skip locked)";
            sqlx::query(unfold).execute(&pool).await.unwrap();
        }
    });
    for event in gone {
        let forget = "select outbox.forget($1, 'Test/One')";
        let forgotten: bool =
            sqlx::query_scalar(forget).bind(event.as_uuid()).fetch_one(&log.world.pool).await.unwrap();
        assert!(forgotten);
        assert_eq!(log.ask(kept).await, "d".repeat(30));
    }
    stop.cancel();
    folding.join_all().await;
    let left: Vec<Uuid> =
        sqlx::query_scalar("select event_id from outbox.done").fetch_all(&log.world.pool).await.unwrap();
    let mut expected: Vec<Uuid> = kept.iter().map(|event| event.as_uuid()).collect();
    expected.sort_unstable();
    let mut left = left;
    left.sort_unstable();
    assert_eq!(left, expected);
    log.world.finish().await;
}

/// Guards promise 7: the record of a full batch takes a tenth of the size of a row for each event.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_small() {
    let log = Log::new().await;
    // An empty table has pages, too.
    let bytes = async || -> i64 {
        log.world
            .scalar(
                "select sum(pg_total_relation_size(oid))::bigint from pg_class
                 where relnamespace = 'outbox'::regnamespace and relname ~ '^(dedup|receipt)_[0-9]$'",
            )
            .await
    };
    let empty = bytes().await;
    for _ in 0..40 {
        log.done(&events(500)).await;
    }
    let bytes = bytes().await - empty;
    println!("{bytes} bytes for 20000 deliveries");
    assert!(bytes <= 25 * 20_000, "{bytes} bytes for 20000 deliveries");
    log.world.finish().await;
}
