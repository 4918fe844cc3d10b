//! Bus, queue and dedup: one suite for every implementation.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use event::{Envelope, EventId, Message};
use event_router::Rpc;
use outbox::Entry;
use outbox_postgres::PostgresBus;
use outbox_postgres::outbox::{Appetite, Outbox};
use outbox_transport::PutErrorKind;
use runtime::Readiness;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::dedup::{Dedup, Lease, LeaseAnswer, PostgresDedup, Recorded, Released};
use worker::queue::{Delivery, Depth, Depths, PostgresQueue, Queue, SESSION, Wanted, Watched};
use worker::{Again, Outcome};

use crate::world::{One, PATIENCE, ROUTER, World, until};

/// Guards: what goes onto the embedded bus comes out as a message for its subscriber, and what can't travel is refused.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_bus_keeps_the_contract() {
    let router = "event:\n  - name: event_bus_contract\n    subscriber: [{ id: Test/Bus }]\n";
    let world = World::new(router).await;
    let mut conn = world.source.connect("test", &outbox_postgres::SESSION).await.unwrap();
    let mut bus = PostgresBus::new("test", world.router.clone());
    bus.begin(&mut conn).await.unwrap();
    let (mut appetite, part) = (Appetite::default(), Readiness::default().part("test"));
    let (mut outbox, cursor) =
        Outbox::open(conn, "test", &mut appetite, Some(&bus), "test", &part).await.unwrap();
    let put = async |events: &[&Envelope<'_>]| {
        let deliveries = bus.route(events.iter().copied());
        assert!(outbox.advance(&cursor, &deliveries, &[], 100).await.unwrap());
    };
    let arrived = async |_| {
        sqlx::query_scalar("select body from outbox.delivery order by seq")
            .fetch_all(&world.pool)
            .await
            .unwrap()
    };
    bus_contract(put, arrived).await;
    world.finish().await;
}

/// `put` puts on a bus that carries `event_bus_contract` to `Test/Bus`; `arrived` waits for so many bodies in the RPC's queue.
pub(crate) async fn bus_contract(
    mut put: impl AsyncFnMut(&[&Envelope<'_>]),
    arrived: impl AsyncFn(usize) -> Vec<String>,
) {
    let entry = |seq: i64, payload: String, key: Option<&str>, headers: Option<&str>| relay::Entry {
        seq,
        id: EventId::new(),
        name: "event_bus_contract".to_owned(),
        key: key.map(str::to_owned),
        payload,
        headers: headers.map(str::to_owned),
        occurred_at: "2026-11-22T03:04:05.678Z".parse().unwrap(),
        flaw: None,
    };
    let nasty = r#"{"n":1.0,"text":"\"quoted\" \\ \n <detail> \u00e9 \u0000","z":[],"a":{}}"#;
    // As much as `enqueue` lets through, and it must get through everything that comes after.
    let largest = format!(r#"{{"text":"{}"}}"#, "x".repeat(event::PAYLOAD_BYTES_MAX - 11));
    assert_eq!(largest.len(), event::PAYLOAD_BYTES_MAX);
    let entries = [
        entry(1, nasty.to_owned(), Some("a \"key\" \u{e9}"), Some(r#"{"tenant":"t-1"}"#)),
        entry(2, "[1]".to_owned(), None, None),
        entry(3, "nothing".to_owned(), None, None),
        entry(4, "{}".to_owned(), None, Some(r#"{"tenant":1}"#)),
        entry(5, largest, None, None),
    ];
    let mut travel = Vec::new();
    for entry in &entries {
        match (entry.seq, entry.envelope()) {
            (1 | 5, Ok(envelope)) => travel.push(envelope),
            (2..=4, Err(error)) => {
                assert_eq!((error.kind, error.code.as_str()), (PutErrorKind::Refused, "MalformedDetail"));
                assert!(!error.reason.contains("nothing"), "a payload in an error: {error}");
            }
            (seq, other) => panic!("{seq}: {other:?}"),
        }
    }
    put(&travel.iter().collect::<Vec<_>>()).await;

    let mut bodies = arrived(2).await;
    bodies.sort_by_key(String::len);
    let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
    for (body, sent) in bodies.iter().zip([&entries[0], &entries[4]]) {
        let message = Message::decode(body).unwrap();
        assert_eq!((message.rpc.as_ref(), message.event.id), ("Test/Bus", sent.id));
        assert_eq!(
            (message.event.name.as_ref(), message.event.key.as_deref()),
            (sent.name.as_str(), sent.key.as_deref())
        );
        assert_eq!(message.event.occurred_at, sent.occurred_at);
        assert_eq!(
            message.event.headers.get("tenant").map(String::as_str),
            sent.headers.as_ref().map(|_| "t-1")
        );
        assert_eq!(value(message.event.payload.get()), value(&sent.payload));
    }
    assert_eq!(bodies.len(), 2);
}

/// Guards promise 3: one winner at a time, done is for good, an expired lease may be taken over, and whoever lost it
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
    // The cumulative statistics of this one session.
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

/// Its call did not succeed.
pub(crate) fn failed(lease: Lease) -> Released {
    let (again, after, error) = (Again::Failed, Duration::ZERO, "no card".into());
    Released {
        lease,
        attempt: 2,
        outcome: Outcome::Retry { again, after, code: "internal", error },
        waits: None,
    }
}

/// Those of the leases that somebody else has by now.
pub(crate) async fn lost_of<D: Dedup>(dedup: &D, leases: &[Lease]) -> Vec<Lease> {
    let answers = dedup.complete(leases).await;
    assert_eq!(answers.len(), leases.len());
    let lost = leases.iter().zip(answers).filter(|(_, answer)| *answer.as_ref().unwrap() == Recorded::Lost);
    lost.map(|(lease, _)| *lease).collect()
}

pub(crate) async fn release<D: Dedup>(dedup: &D, released: &[Released]) {
    assert_eq!(dedup.release(released).await, released.iter().map(|_| Ok(())).collect::<Vec<_>>());
}

pub(crate) async fn settle<Q: Queue>(queue: &Q, settled: &[(Q::Receipt, Outcome)]) {
    assert_eq!(queue.settle(settled).await, settled.iter().map(|_| Ok(())).collect::<Vec<_>>());
}

/// `long` and `short` are two holders of the same record, whose leases last longer than the test, and 300 ms.
pub(crate) async fn dedup_contract<D: Dedup>(long: &D, short: &D) {
    let won = |claim: LeaseAnswer| match claim {
        LeaseAnswer::Won(lease) => lease,
        other => panic!("{other:?}"),
    };
    let (a, b) = (EventId::new(), EventId::new());

    // One winner, answers in order, and a copy in the same batch finds the first one on it.
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

    // Done is for good, and may be said again by whoever did it: the first answer may have been lost.
    assert!(lost_of(long, &[lease_a]).await.is_empty());
    assert_eq!(short.lease(&[a, b]).await.unwrap()[0], LeaseAnswer::Done);
    assert!(lost_of(long, &[lease_a]).await.is_empty());
    release(long, &[failed(lease_a)]).await;
    assert_eq!(short.lease(&[a]).await.unwrap()[0], LeaseAnswer::Done, "what is done can't be released");

    // What is released is free at once.
    release(long, &[failed(lease_b)]).await;
    let taken = won(short.lease(&[b]).await.unwrap()[0]);

    // An expired lease is taken over, and fences whoever had it.
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

    // A lease that a crash of the record took back is still ours to complete: nobody else has it.
    let forgotten = Lease { event: EventId::new(), token: 7 };
    assert!(lost_of(long, &[forgotten]).await.is_empty());
    assert_eq!(short.lease(&[forgotten.event]).await.unwrap()[0], LeaseAnswer::Done);

    // After an outage one batch may know of both copies of a message that they succeeded, with a lease each.
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

/// Guards: a queue's contract, and that this one keeps its order and does not count an attempt that called nobody.
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
    // Instead of the bell, which would recover, too, and not when the suite says so.
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
    // The first one was done before, the second one somebody is on, the third one stands there twice.
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
/// its visibility ends, at its time when retried, and never when acked or dead. Whoever lost it can't settle it any more.
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
    // What is received at once may be extended at once.
    let mut second = receive(short, 1, &number).await;
    let kept = numbers(&second)[0];
    second.extend(receive(short, 2, &number).await);
    assert!(
        first.values().chain(second.values()).all(|one| one.attempt == 1 && one.enqueued_at <= Utc::now())
    );
    assert!(first.keys().all(|n| !second.contains_key(n)), "{first:?} {second:?}");

    // Acked and dead are gone, retried comes back at its time.
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

    // What is extended stays hidden, for far longer than its visibility. What is not comes back, and whoever had it can no
    // longer settle it.
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

    // A receive that waits ends at stop.
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move { cancel.cancel() });
    let stopped = tokio::time::timeout(PATIENCE, long.receive(Wanted::any(1), &stop)).await;
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
