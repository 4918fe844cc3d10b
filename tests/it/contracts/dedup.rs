//! The contract of every dedup record, and the cost of the Postgres one.

use crate::world::{ROUTER, World, until};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_postgres::PostgresDedup;
use outbox_postgres::SESSION;
use outbox_transport::{Again, Dedup, Lease, LeaseAnswer, Outcome, Recorded, Released};
use std::time::Duration;

/// Guards promise 3: one winner at a time, done is for good, an expired lease may be taken over, and the loser
/// can't complete.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_dedup_keeps_the_contract() {
    let world = World::new(ROUTER).await;
    let rpc = Rpc::new("Test/One").unwrap();
    let connections = world.source.connections("test", &SESSION, 4);
    let of = |lease| PostgresDedup::new(connections.clone(), &rpc, lease);
    dedup_contract(&of(Duration::from_secs(60)), &of(Duration::from_millis(300))).await;

    let other =
        PostgresDedup::new(connections.clone(), &Rpc::new("Test/Other").unwrap(), Duration::from_secs(60));
    let event = EventId::new();
    assert!(matches!(of(Duration::from_secs(60)).lease(&[event]).await.unwrap()[0], LeaseAnswer::Won(_)));
    assert!(
        matches!(other.lease(&[event]).await.unwrap()[0], LeaseAnswer::Won(_)),
        "the key includes the RPC"
    );
    world.finish().await;
}

/// Guards promise 7: what the record of a batch costs does not grow with all that was done before, even where it was planned
/// while nothing had been done.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_by_their_keys() {
    let world = World::new(ROUTER).await;
    let connections = world.source.connections("test", &SESSION, 1);
    let dedup =
        PostgresDedup::new(connections.clone(), &Rpc::new("Test/One").unwrap(), Duration::from_secs(60));
    let batch = async || {
        let events: Vec<EventId> = (0..20).map(|_| EventId::new()).collect();
        let claims = dedup.lease(&events).await.unwrap();
        let leases: Vec<Lease> = claims
            .into_iter()
            .map(|claim| match claim {
                LeaseAnswer::Won(lease) => lease,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(lost_of(&dedup, &leases[..10]).await.is_empty());
        let released: Vec<Released> = leases[10..].iter().map(|lease| failed(*lease)).collect();
        release(&dedup, &released).await;
        let again = dedup.lease(&events).await.unwrap();
        assert!(again[..10].iter().all(|claim| matches!(claim, LeaseAnswer::Done)), "{again:?}");
    };
    // The cumulative statistics of this session alone.
    let rows_read = async || -> i64 {
        let mut loan = connections.lend().await.unwrap();
        sqlx::query("select pg_stat_force_next_flush()").execute(loan.conn()).await.unwrap();
        loan.give_back();
        world
            .scalar(
                "select (sum(seq_tup_read) + sum(idx_tup_fetch))::bigint from pg_stat_user_tables
                 where relname ~ '^dedup_'",
            )
            .await
    };
    batch().await;
    sqlx::query(
        "insert into outbox.dedup (slot, event_id, rpc, lease, until, done_at)
         select outbox.dedup_slot(id), id, 'Test/One', 0, clock_timestamp(), clock_timestamp()
         from (select outbox.uuid_v7() as id from generate_series(1, 20000)) as done",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let before = rows_read().await;
    for _ in 0..10 {
        batch().await;
    }
    let read = rows_read().await - before;
    assert!((10 * 20..10 * 20 * 10).contains(&read), "{read} rows read for 10 batches of 20");
    world.finish().await;
}

/// A lease that is released after a failed call.
pub(crate) fn failed(lease: Lease) -> Released {
    let (again, after, error) = (Again::Failed, Duration::ZERO, "no card".into());
    Released {
        lease,
        attempt: 2,
        outcome: Outcome::Retry { again, after, code: "internal", error },
        waits: None,
    }
}

/// Returns those of the leases that another worker has by now.
pub(crate) async fn lost_of<D: Dedup>(dedup: &D, leases: &[Lease]) -> Vec<Lease> {
    let answers = dedup.complete(leases).await;
    assert_eq!(answers.len(), leases.len());
    let lost = leases.iter().zip(answers).filter(|(_, answer)| *answer.as_ref().unwrap() == Recorded::Lost);
    lost.map(|(lease, _)| *lease).collect()
}

pub(crate) async fn release<D: Dedup>(dedup: &D, released: &[Released]) {
    assert_eq!(dedup.release(released).await, released.iter().map(|_| Ok(())).collect::<Vec<_>>());
}

/// `long` and `short` are two holders of the same record. Their leases last longer than the test, and 300 ms.
pub(crate) async fn dedup_contract<D: Dedup>(long: &D, short: &D) {
    let won = |claim: LeaseAnswer| match claim {
        LeaseAnswer::Won(lease) => lease,
        other => panic!("{other:?}"),
    };
    let (a, b) = (EventId::new(), EventId::new());

    // One winner, answers in order, and a copy in the same batch finds the first one leased.
    let claims = long.lease(&[a, b, a]).await.unwrap();
    let (lease_a, lease_b) = (won(claims[0]), won(claims[1]));
    assert!(matches!(claims[2], LeaseAnswer::Held { .. }), "{claims:?}");
    for _ in 0..20 {
        let event = EventId::new();
        let claims = long.lease(&[event, event]).await.unwrap();
        assert!(matches!(claims[..], [LeaseAnswer::Won(_), LeaseAnswer::Held { .. }]), "{claims:?}");
    }
    assert!(
        matches!(short.lease(&[a]).await.unwrap()[0], LeaseAnswer::Held { remaining } if remaining > Duration::from_secs(30))
    );

    // Done is final, and its worker may repeat it, because the first answer may have been lost.
    assert!(lost_of(long, &[lease_a]).await.is_empty());
    assert_eq!(short.lease(&[a, b]).await.unwrap()[0], LeaseAnswer::Done);
    assert!(lost_of(long, &[lease_a]).await.is_empty());
    release(long, &[failed(lease_a)]).await;
    assert_eq!(short.lease(&[a]).await.unwrap()[0], LeaseAnswer::Done, "what is done can't be released");

    // A released lease is free at once.
    release(long, &[failed(lease_b)]).await;
    let taken = won(short.lease(&[b]).await.unwrap()[0]);

    // An expired lease is taken over, and fences the worker that had it.
    let mut claim = long.lease(&[b]).await.unwrap()[0];
    assert!(matches!(claim, LeaseAnswer::Held { .. }));
    until("the lease expired", async || {
        claim = long.lease(&[b]).await.unwrap()[0];
        matches!(claim, LeaseAnswer::Won(_))
    })
    .await;
    assert_eq!(lost_of(short, &[taken]).await, [taken], "a lost lease must not complete");
    release(short, &[failed(taken)]).await;
    assert!(
        matches!(short.lease(&[b]).await.unwrap()[0], LeaseAnswer::Held { .. }),
        "a lost lease must not release"
    );
    assert!(lost_of(long, &[won(claim)]).await.is_empty());
    assert_eq!(short.lease(&[b]).await.unwrap()[0], LeaseAnswer::Done);

    // After a crash that lost the lease, its holder may still complete it, because no other worker has one.
    let forgotten = Lease { event: EventId::new(), token: 7 };
    assert!(lost_of(long, &[forgotten]).await.is_empty());
    assert_eq!(short.lease(&[forgotten.event]).await.unwrap()[0], LeaseAnswer::Done);

    // After an outage one batch may report both copies of a message as succeeded, with a lease each.
    let event = EventId::new();
    let copies = [Lease { event, token: 8 }, Lease { event, token: 9 }];
    assert!(lost_of(long, &copies).await.is_empty());
    assert_eq!(short.lease(&[event]).await.unwrap()[0], LeaseAnswer::Done);
    let event = EventId::new();
    let held = won(long.lease(&[event]).await.unwrap()[0]);
    assert!(lost_of(long, &[Lease { event, token: 10 }, held]).await.is_empty());
    assert_eq!(short.lease(&[event]).await.unwrap()[0], LeaseAnswer::Done);

    // Many at once, from two sides: each key has exactly one winner.
    let many: Vec<EventId> = (0..200).map(|_| EventId::new()).collect();
    let reversed: Vec<EventId> = many.iter().rev().copied().collect();
    let (ours, theirs) = tokio::join!(long.lease(&many), long.lease(&reversed));
    let theirs: Vec<LeaseAnswer> = theirs.unwrap().into_iter().rev().collect();
    for (ours, theirs) in ours.unwrap().into_iter().zip(theirs) {
        let winners = [ours, theirs].iter().filter(|claim| matches!(claim, LeaseAnswer::Won(_))).count();
        assert_eq!(winners, 1, "{ours:?} {theirs:?}");
    }
}
