use outbox::EventId;
use outbox_event_router::Router;
use outbox_postgres::PostgresBus;
use sqlx::{Connection, PgConnection};

use crate::world::{ROUTER, World};

/// Guards promises 6 and 7: the Postgres bus makes a copy for each subscriber, but the relay holds and sends one.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_held_once_however_many_subscribe() {
    let world = World::new(ROUTER).await;
    let bus = PostgresBus::new("test", Router::parse("test.yaml", ROUTER).unwrap());
    assert_eq!(["event_one", "event_two", "event_unrouted"].map(|name| bus.copies(name)), [1, 2, 0]);
    bus.begin(&mut PgConnection::connect(&world.url).await.unwrap()).await.unwrap();
    let entry = outbox_transport::Entry {
        seq: 1,
        id: EventId::new(),
        name: "event_two".to_owned(),
        key: None,
        payload: "{}".to_owned(),
        headers: None,
        occurred_at: "2026-11-22T03:04:05Z".parse().unwrap(),
        flaw: None,
    };
    let deliveries = bus.route([&entry.envelope("test").unwrap()]);
    assert_eq!((deliveries.envelopes.len(), deliveries.queues.len()), (1, 2));
    world.finish().await;
}
