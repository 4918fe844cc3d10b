//! What the library gives to a service's own tests.

use outbox::testing::{
    Enqueued, assert_enqueued, assert_enqueued_count, assert_enqueued_where, drain, enqueued,
    refute_enqueued, refute_enqueued_where,
};
use outbox::{Entry, Event};
use sqlx::postgres::PgPool;
use sqlx::{Connection, PgConnection, PgTransaction};

use crate::world::{ROUTER, World};

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Issued {
    card: String,
    at: i64,
}

impl Event for Issued {
    const NAME: &'static str = "event_one";
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Blocked {
    card: String,
}

impl Event for Blocked {
    const NAME: &'static str = "event_two";
}

/// Two events of one name, with a key and a header.
async fn issue(tx: &mut PgTransaction<'_>) {
    for card in ["a", "b"] {
        let event = Issued { card: card.to_owned(), at: fastrand::i64(..) };
        Entry::new(&event).key(card).header("acme-tenant", "t-1").enqueue(tx).await.unwrap();
    }
}

/// Guards promise 1 in a service's tests: parts of a payload, key and headers can be checked, and only the transaction's own
/// events are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_sees_key_headers_and_parts_of_a_payload() {
    let world = World::new(ROUTER).await;
    let mut tx = world.pool.begin().await.unwrap();
    refute_enqueued::<Issued>(&mut tx).await;
    issue(&mut tx).await;

    let second = assert_enqueued_where::<Issued>(&mut tx, |event| event.payload["card"] == "b").await;
    assert_eq!((second.key.as_deref(), second.headers["acme-tenant"].as_str()), (Some("b"), "t-1"));
    assert_eq!(second.read::<Issued>().card, "b");
    assert_enqueued(&mut tx, second.read::<Issued>()).await;
    assert_enqueued_count::<Issued>(&mut tx, 2).await;
    let keys: Vec<_> = enqueued::<Issued>(&mut tx).await.into_iter().map(|event| event.key).collect();
    assert_eq!(keys, [Some("a".to_owned()), Some("b".to_owned())]);
    refute_enqueued_where::<Issued>(&mut tx, |event| event.key.is_none()).await;
    refute_enqueued::<Blocked>(&mut tx).await;

    tx.rollback().await.unwrap();
    let mut tx = world.pool.begin().await.unwrap();
    assert_enqueued_count::<Issued>(&mut tx, 0).await;
    drop(tx);
    world.finish().await;
}

/// Guards: a failed assertion names the line of the test, and shows what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_assertion_shows_what_is_there() {
    let world = World::new(ROUTER).await;
    let none = said(&world.pool, async |tx| {
        assert_enqueued_where::<Issued>(tx, |event| event.payload["card"] == "c").await;
    })
    .await;
    let count = said(&world.pool, async |tx| assert_enqueued_count::<Issued>(tx, 1).await).await;
    let present = said(&world.pool, async |tx| {
        refute_enqueued_where::<Issued>(tx, |event| event.payload["card"] == "b").await;
    })
    .await;
    for (said, expected) in [
        (&none, "no event_one was enqueued that fits"),
        (&count, "event_one was enqueued 2 time(s), not 1"),
        (&present, "event_one was enqueued: "),
    ] {
        assert!(said.contains(expected) && said.contains("test_kit.rs:"), "{said}");
        assert!(said.contains(r#""card":"b""#) && said.contains("(key b)"), "{said}");
    }
    assert!(none.contains("(key a)") && !present.contains("(key a)"), "{none}\n{present}");
    world.finish().await;
}

/// The message of the panic of an assertion, after two events.
async fn said(pool: &PgPool, assertion: impl AsyncFn(&mut PgTransaction<'_>) + Send + 'static) -> String {
    let options = pool.connect_options();
    // Its future is not known to be `Send`, so it has a thread of its own.
    let failed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut conn = PgConnection::connect_with(&options).await.unwrap();
            let mut tx = conn.begin().await.unwrap();
            issue(&mut tx).await;
            assertion(&mut tx).await;
        });
    })
    .join()
    .unwrap_err();
    failed.downcast_ref::<String>().cloned().expect("a message")
}

/// Guards: `drain` gives each event to a handler in order, with those that the handler enqueues, and ends at an error.
#[tokio::test(flavor = "multi_thread")]
async fn drain_calls_a_handler_in_order() {
    let world = World::new(ROUTER).await;
    let mut tx = world.pool.begin().await.unwrap();
    issue(&mut tx).await;
    let mut seen = Vec::new();
    let handled = drain(&mut tx, async |tx, event| {
        seen.push(format!("{} {}", event.name, event.payload["card"].as_str().unwrap()));
        if event.name == Issued::NAME {
            outbox::enqueue(tx, Blocked { card: event.read::<Issued>().card }).await?;
        }
        Ok::<_, outbox::EnqueueError>(())
    })
    .await
    .unwrap();
    assert_eq!(seen, ["event_one a", "event_one b", "event_two a", "event_two b"]);
    assert_eq!(
        handled.iter().map(|event: &Enqueued| event.key.is_some()).collect::<Vec<_>>(),
        [true, true, false, false]
    );

    let mut calls = 0;
    let failed = drain(&mut tx, async |_, event| {
        calls += 1;
        if event.key.as_deref() == Some("b") { Err("no card b") } else { Ok(()) }
    })
    .await;
    assert_eq!((failed.unwrap_err(), calls), ("no card b", 2));
    drop(tx);
    world.finish().await;
}
