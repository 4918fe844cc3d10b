use std::sync::{Arc, Mutex};

use event_router::Router;
use outbox::{Entry, EventId};
use relay::bus::{Bus, Limits, PostgresBus, PutError};
use sqlx::{Connection, PgConnection};

use crate::world::{One, ROUTER, World, relay_settings, until};

/// A bus that copies each event so many times into this database, and remembers how many came at a time.
struct Copying {
    copies: usize,
    puts: Arc<Mutex<Vec<usize>>>,
}

impl Bus for Copying {
    fn limits(&self) -> Limits {
        Limits { entries_max: usize::MAX, bytes_max: usize::MAX, concurrency: 1, atomic: true }
    }

    async fn begin(&mut self, _: &mut PgConnection) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn put(&self, entries: &[&relay::Entry]) -> Vec<Result<(), PutError>> {
        self.puts.lock().unwrap().push(entries.len());
        entries.iter().map(|_| Ok(())).collect()
    }

    fn copies(&self, _: &str) -> usize {
        self.copies
    }
}

/// Guards promises 6 and 7: a page is bounded by what is written of it, too: each subscriber has a copy of an event.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_bounded_by_its_copies() {
    let mut world = World::new(ROUTER).await;
    world.publish_all((0..20).map(|n| Entry::new(One { n: 100_000 + n }))).await;
    let puts = Arc::new(Mutex::new(Vec::new()));
    // Of 12 bytes each.
    world.relay_on(Copying { copies: 10_000_000, puts: Arc::clone(&puts) }, relay_settings());
    until("all are put", async || puts.lock().unwrap().iter().sum::<usize>() >= 20).await;
    assert_eq!(*puts.lock().unwrap(), [1; 20]);
    world.finish().await;
}

/// Guards promises 6 and 7: the embedded bus makes a copy for each subscriber, and the relay holds and sends one.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_held_once_however_many_subscribe() {
    let world = World::new(ROUTER).await;
    let mut bus = PostgresBus::new("test", Router::parse("test.yaml", ROUTER).unwrap());
    assert_eq!(["event_one", "event_two", "event_unrouted"].map(|name| bus.copies(name)), [1, 2, 0]);
    bus.begin(&mut PgConnection::connect(&world.url).await.unwrap()).await.unwrap();
    let entry = relay::Entry {
        seq: 1,
        id: EventId::new(),
        name: "event_two".to_owned(),
        key: None,
        payload: "{}".to_owned(),
        headers: None,
        occurred_at: "2026-11-22T03:04:05Z".parse().unwrap(),
        flaw: None,
    };
    let deliveries = bus.deliveries(&[&entry]);
    assert_eq!((deliveries.envelopes.len(), deliveries.queues.len()), (1, 2));
    world.finish().await;
}
