//! The contract of every bus, and the Postgres bus's part.

use outbox_event::{Envelope, EventId, Message};
use outbox_postgres::outbox::{Appetite, Outbox};
use outbox_postgres::{Listening, PostgresBus};
use outbox_runtime::Readiness;
use outbox_transport::PutErrorKind;

use crate::world::World;

/// Guards: an event on the Postgres bus arrives as a message for its subscriber, and an event that can't travel is refused.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_bus_keeps_the_contract() {
    let router = "event:\n  - name: event_bus_contract\n    subscriber: [{ id: Test/Bus }]\n";
    let world = World::new(router).await;
    let session = Listening::open(&world.source, "test", &outbox_postgres::SESSION).await.unwrap();
    let bus = PostgresBus::new("test", world.router.clone());
    let mut lent = session.lend().await.unwrap();
    bus.begin(lent.conn().await.unwrap()).await.unwrap();
    lent.give_back();
    let (mut appetite, part) = (Appetite::default(), Readiness::default().part("test"));
    let (mut outbox, cursor) =
        Outbox::open(session, "test", &mut appetite, Some(&bus), "test", &part).await.unwrap();
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

/// `put` puts on a bus that routes `event_bus_contract` to `Test/Bus`. `arrived` waits for so many bodies in the RPC's
/// queue.
pub(crate) async fn bus_contract(
    mut put: impl AsyncFnMut(&[&Envelope<'_>]),
    arrived: impl AsyncFn(usize) -> Vec<String>,
) {
    let entry =
        |seq: i64, payload: String, key: Option<&str>, headers: Option<&str>| outbox_transport::Entry {
            seq,
            id: EventId::new(),
            name: "event_bus_contract".to_owned(),
            key: key.map(str::to_owned),
            payload,
            headers: headers.map(str::to_owned),
            occurred_at: "2026-11-22T03:04:05.678Z".parse().unwrap(),
            flaw: None,
        };
    let nasty = r#"{"n":1.0,"text":"\"quoted\" \\ \n <detail> \u00e9 \u0001","z":[],"a":{}}"#;
    // The largest payload that `enqueue` accepts: every later step must accept it, too.
    let largest = format!(r#"{{"text":"{}"}}"#, "x".repeat(outbox_event::PAYLOAD_BYTES_MAX - 11));
    assert_eq!(largest.len(), outbox_event::PAYLOAD_BYTES_MAX);
    let entries = [
        entry(1, nasty.to_owned(), Some("a \"key\" \u{e9}"), Some(r#"{"tenant":"t-1"}"#)),
        entry(2, "[1]".to_owned(), None, None),
        entry(3, "nothing".to_owned(), None, None),
        entry(4, "{}".to_owned(), None, Some(r#"{"tenant":1}"#)),
        entry(5, largest, None, None),
    ];
    let mut travel = Vec::new();
    for entry in &entries {
        match (entry.seq, entry.envelope("cards")) {
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
            (message.event.source.as_deref(), message.event.sequence),
            (Some("cards"), Some(sent.seq))
        );
        assert_eq!(
            message.event.headers.get("tenant").map(String::as_str),
            sent.headers.as_ref().map(|_| "t-1")
        );
        assert_eq!(value(message.event.payload.get()), value(&sent.payload));
    }
    assert_eq!(bodies.len(), 2);
}
