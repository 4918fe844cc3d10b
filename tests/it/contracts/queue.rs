//! The contract of every queue, and the cost of the Postgres one.

use super::dedup::lost_of;
use crate::world::{One, PATIENCE, ROUTER, World};
use chrono::Utc;
use outbox::Entry;
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_postgres::PostgresDedup;
use outbox_postgres::SESSION;
use outbox_postgres::queue::{PostgresQueue, Watched};
use outbox_transport::{Again, Dedup, Delivery, Depth, Depths, Lease, LeaseAnswer, Outcome, Queue, Wanted};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) async fn settle<Q: Queue>(queue: &Q, settled: &[(Q::Receipt, Outcome)]) {
    assert_eq!(queue.settle(settled).await, settled.iter().map(|_| Ok(())).collect::<Vec<_>>());
}

/// Guards: the contract of queues. This one also keeps its order, and counts no attempt without a call.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_queue_keeps_the_contract() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    let fill = async |world: &World, numbers: Range<i64>| {
        let before: i64 = world.scalar("select count(*) from outbox.delivery").await;
        let many = numbers.end - numbers.start;
        world.publish_all(numbers.map(|n| Entry::new(One { n }))).await;
        world.until(&format!("select count(*) = {} from outbox.delivery", before + many)).await;
    };
    fill(&world, 0..7).await;
    let id: i32 = world.scalar("select id from outbox.queue where rpc = 'Test/One'").await;
    let rpc = Rpc::new("Test/One").unwrap();
    let connections = world.source.connections("test", &SESSION, 4);
    let recover = async || {
        let _: i64 =
            sqlx::query_scalar("select outbox.recover($1, 0)").bind(id).fetch_one(&world.pool).await.unwrap();
    };
    // Instead of the doorbell, which would recover claims, too, but not when the suite says so.
    let mut ringing = JoinSet::new();
    let mut queue = |visibility| {
        let watched = Arc::new(Watched::new(&rpc));
        let rung = Arc::clone(&watched);
        ringing.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                rung.ring();
            }
        });
        PostgresQueue::new(connections.clone(), watched, "test", visibility, visibility)
    };
    let (long, short) = (queue(Duration::from_secs(60)), queue(Duration::from_millis(300)));
    let number = |delivery: &Delivery<_>| -> i64 {
        serde_json::from_str::<serde_json::Value>(&delivery.body).unwrap()["event"]["payload"]["n"]
            .as_i64()
            .unwrap()
    };
    queue_contract(&long, &short, number, recover).await;
    let dead: Vec<(String, i32)> =
        sqlx::query_as("select reason, attempts from outbox.dead_letter order by attempts")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(dead, [("poison".to_owned(), 1), ("poison again".to_owned(), 2)]);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry").await, 0);
    assert_eq!(world.scalar::<i64>("select count(*) from outbox.claim where until is not null").await, 0);

    fill(&world, 10..15).await;
    let stop = CancellationToken::new();
    let first = long.receive(Wanted::any(3), &stop).await.unwrap();
    let second = short.receive(Wanted::any(3), &stop).await.unwrap();
    assert_eq!(first.iter().chain(&second).map(number).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
    let held = Outcome::Retry {
        after: Duration::from_millis(50),
        again: Again::Postponed,
        code: "held",
        error: "e".into(),
    };
    let settlements = [Outcome::Done, held, Outcome::Done];
    let settled: Vec<_> = first.into_iter().map(|delivery| delivery.receipt).zip(settlements).collect();
    settle(&long, &settled).await;
    let again = receive(&long, 1, number).await;
    assert_eq!(again[&11].attempt, 1);
    relay.cancel();
    world.finish().await;
}

/// Guards promise 7: a batch of whatever kinds is settled in one transaction of one statement, from the log as well as from
/// rows of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_settled_at_once() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    world.publish_all((0..90).map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 90 from outbox.delivery").await;
    relay.cancel();
    let (rpc, visibility) = (Rpc::new("Test/One").unwrap(), Duration::from_secs(60));
    let connections = world.source.connections("test", &SESSION, 1);
    let watched = Arc::new(Watched::new(&rpc));
    let queue = PostgresQueue::new(connections, Arc::clone(&watched), "test", visibility, visibility);
    let settlement = |nth: usize| match nth % 3 {
        0 => Outcome::Done,
        1 => Outcome::Dead { code: "internal", reason: "poison".into() },
        _ => Outcome::Retry {
            after: Duration::ZERO,
            again: Again::Failed,
            code: "internal",
            error: "e".into(),
        },
    };
    for (many, retried, dead) in [(90, 30, 30), (30, 10, 40)] {
        watched.ring();
        let received = queue.receive(Wanted::any(many), &CancellationToken::new()).await.unwrap();
        assert_eq!(received.len(), many);
        let before: String = world.scalar("select pg_snapshot_xmax(pg_current_snapshot())::text").await;
        let settled: Vec<_> = received
            .into_iter()
            .enumerate()
            .map(|(nth, delivery)| (delivery.receipt, settlement(nth)))
            .collect();
        settle(&queue, &settled).await;
        let transactions: Vec<String> = sqlx::query_scalar(
            "select distinct w.x from (
                 select xmin::text as x from outbox.retry union all select xmin::text from outbox.dead_letter
                 union all select xmin::text from outbox.claim where until is null) as w
             where w.x::bigint >= $1::bigint",
        )
        .bind(before)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        assert_eq!(transactions.len(), 1, "{transactions:?}");
        assert_eq!(world.scalar::<i64>("select count(*) from outbox.retry").await, retried);
        assert_eq!(world.scalar::<i64>("select count(*) from outbox.dead_letter").await, dead);
    }
    world.finish().await;
}

/// Guards promise 3: a delivery that comes with its lease is nobody else's, and neither what was done, nor what somebody
/// has the lease of, nor a second copy in the same batch comes with one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_received_has_its_lease_unless_there_is_a_record() {
    let mut world = World::new(ROUTER).await;
    let relay = world.relay();
    let mut events: Vec<EventId> = world.publish_all((0..4).map(|n| Entry::new(One { n }))).await;
    world.until("select count(*) = 4 from outbox.delivery").await;
    relay.cancel();
    let rpc = Rpc::new("Test/One").unwrap();
    let lease = Duration::from_secs(60);
    let connections = world.source.connections("test", &SESSION, 4);
    let dedup = PostgresDedup::new(connections.clone(), &rpc, lease);
    // The first one was done before, the second one has a lease, the third one is there twice.
    let claims = dedup.lease(&events[..2]).await.unwrap();
    let [LeaseAnswer::Won(done), LeaseAnswer::Won(held)] = claims[..] else { panic!("{claims:?}") };
    assert!(lost_of(&dedup, &[done]).await.is_empty());
    world
        .execute(&format!(
            "insert into outbox.delivery (queue, event_id, body, slot)
             select queue, event_id, body, slot from outbox.delivery where event_id = '{}'",
            events[2]
        ))
        .await;

    let queue = PostgresQueue::new(connections.clone(), Arc::new(Watched::new(&rpc)), "test", lease, lease);
    let received = queue.receive(Wanted::any(10), &CancellationToken::new()).await.unwrap();
    let leases: Vec<Option<Lease>> =
        received.iter().map(|delivery| delivery.lease.map(|(lease, _)| lease)).collect();
    let [None, None, Some(third), Some(fourth), None] = leases[..] else { panic!("{leases:?}") };
    assert_eq!([third.event, fourth.event], events[2..]);
    let others = dedup.lease(&events).await.unwrap();
    assert!(matches!(others[0], LeaseAnswer::Done), "{others:?}");
    assert!(others[1..].iter().all(|claim| matches!(claim, LeaseAnswer::Held { .. })), "{others:?}");
    assert!(lost_of(&dedup, &[held, third, fourth]).await.is_empty());
    events.retain(|event| *event != done.event);
    assert!(dedup.lease(&events).await.unwrap().iter().all(|claim| matches!(claim, LeaseAnswer::Done)));
    world.finish().await;
}

/// A queue with seven messages, whose bodies' numbers are 0 to 6. `long` and `short` receive from it, with a visibility
/// longer than the test and one to wait for; `recover` does what otherwise the next look does.
///
/// Each message is received by one receiver; it stays hidden until it is settled, comes back with its attempt counted when
/// its visibility ends, at its time when retried, and never when acked or dead. A receiver that lost it can't settle it any more.
pub(crate) async fn queue_contract<Q: Queue<Receipt: Debug> + Depths>(
    long: &Q,
    short: &Q,
    number: impl Fn(&Delivery<Q::Receipt>) -> i64,
    recover: impl AsyncFn(),
) {
    let counts = async || {
        let Depth { waiting, hidden, dead, .. } = long.depth().await.unwrap();
        (waiting, hidden, dead)
    };
    let numbers = |received: &Received<Q>| received.keys().copied().collect::<Vec<_>>();
    let receipt = |received: &Received<Q>, n: &i64| received[n].receipt.clone();
    assert_eq!(counts().await, (7, 0, 0));
    let first = receive(long, 4, &number).await;
    // A received message may be extended at once.
    let mut second = receive(short, 1, &number).await;
    let kept = numbers(&second)[0];
    second.extend(receive(short, 2, &number).await);
    assert!(
        first.values().chain(second.values()).all(|one| one.attempt == 1 && one.enqueued_at <= Utc::now())
    );
    assert!(first.keys().all(|n| !second.contains_key(n)), "{first:?} {second:?}");

    // Acked and dead messages are gone, and a retried one comes back at its time.
    let [acked, retried, poison, other] = numbers(&first)[..] else { panic!("{first:?}") };
    let retry = |after| Outcome::Retry { after, again: Again::Failed, code: "internal", error: "e".into() };
    let dead = |reason: &str| Outcome::Dead { code: "internal", reason: reason.into() };
    let settled = [
        (receipt(&first, &acked), Outcome::Done),
        (receipt(&first, &retried), retry(Duration::from_secs(1))),
        (receipt(&first, &poison), dead("poison")),
        (receipt(&first, &other), Outcome::Done),
    ];
    settle(long, &settled).await;
    let again = receive(long, 1, &number).await;
    assert_eq!(again.get(&retried).map(|delivery| delivery.attempt), Some(2), "{again:?}");
    settle(long, &[(receipt(&again, &retried), dead("poison again"))]).await;

    // What is extended stays hidden, for far longer than its visibility. What is not comes back, and the receiver that had it
    // can no longer settle it.
    let left: Vec<i64> = numbers(&second).into_iter().filter(|n| *n != kept).collect();
    let [lost, too] = left[..] else { panic!("{second:?}") };
    let hidden_until = Instant::now() + short.limits().visibility * 3 / 2;
    while Instant::now() < hidden_until {
        short.extend(&[receipt(&second, &kept)]).await.unwrap();
        recover().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    long.extend(&[receipt(&second, &kept)]).await.unwrap();
    recover().await;
    let back = receive(long, 2, &number).await;
    assert_eq!(numbers(&back), [lost, too]);
    assert!(back.values().all(|delivery| delivery.attempt == 2), "{back:?}");
    settle(short, &[(receipt(&second, &lost), retry(Duration::ZERO))]).await;
    recover().await;
    assert_eq!(counts().await, (0, 3, 2), "a receipt that was lost brought its message back");

    let last = [receipt(&back, &lost), receipt(&back, &too)];
    settle(long, &last.map(|receipt| (receipt, Outcome::Done))).await;
    settle(short, &[(receipt(&second, &kept), Outcome::Done)]).await;
    assert_eq!(counts().await, (0, 0, 2));

    // A receive that waits ends at a stop.
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move { cancel.cancel() });
    // A poll that was given up may still take a message, which comes back after this short visibility.
    let stopped = tokio::time::timeout(PATIENCE, short.receive(Wanted::any(1), &stop)).await;
    assert!(stopped.expect("a receive ends at stop").unwrap().is_empty());
}

type Received<Q> = BTreeMap<i64, Delivery<<Q as Queue>::Receipt>>;

/// So many messages, by the number in their body.
pub(crate) async fn receive<Q: Queue>(
    queue: &Q,
    many: usize,
    number: impl Fn(&Delivery<Q::Receipt>) -> i64,
) -> Received<Q> {
    let stop = CancellationToken::new();
    let mut received = BTreeMap::new();
    let receiving = async {
        while received.len() < many {
            let some = queue.receive(Wanted::any(many - received.len()), &stop).await.unwrap();
            assert!(some.len() <= many - received.len());
            received.extend(some.into_iter().map(|delivery| (number(&delivery), delivery)));
        }
    };
    tokio::time::timeout(PATIENCE, receiving).await.expect("they come");
    received
}
