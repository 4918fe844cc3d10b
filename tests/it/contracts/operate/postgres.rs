//! The suite on Postgres.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_event_router::Rpc;
use outbox_postgres::operate::{Database, PostgresOperator};
use outbox_postgres::queue::{BrakeTable, PostgresQueue, Watched, ids};
use outbox_postgres::{Connections, PostgresDedup, ProcessRow, SESSION, Source};
use outbox_transport::{Braked, Brakes, Poison};
use tokio::task::JoinSet;

use super::{LONG, Subject, one, other, suite};
use crate::role::role;
use crate::world::{ROUTER, World};

suite! { Postgres }

struct Postgres {
    world: World,
    connections: Connections,
    /// Instead of the bell.
    ringing: Mutex<JoinSet<()>>,
}

impl Postgres {
    async fn new() -> Option<Self> {
        let world = World::new(ROUTER).await;
        let mut conn = world.source.connect("test", &SESSION).await.unwrap();
        ids(&mut conn, [one(), other()].iter()).await.unwrap();
        let connections = world.source.connections("test", &SESSION, 4);
        Some(Self { world, connections, ringing: Mutex::default() })
    }

    async fn finish(self) {
        self.world.finish().await;
    }
}

impl Subject for Postgres {
    type Operator = PostgresOperator;
    type Queue = PostgresQueue;
    type Dedup = PostgresDedup;
    type Store = ProcessRow;

    const ORDERED: bool = true;
    const PAGES: usize = 250;
    const HIDES: bool = false;
    const COUNTS_ATTEMPTS: bool = true;
    const SEES_QUEUES: bool = true;
    const MAKES_QUEUES: bool = true;
    const NEEDS_AUDIT: bool = true;

    async fn operator(&self) -> PostgresOperator {
        PostgresOperator::new(Database::open(&self.world.source).await.unwrap())
    }

    async fn operator_without_audit(&self) -> PostgresOperator {
        let source: Source = role(&self.world, "worker").await.parse().unwrap();
        PostgresOperator::new(Database::open(&source).await.unwrap())
    }

    async fn queue(&self, rpc: &Rpc) -> PostgresQueue {
        let watched = Arc::new(Watched::new(rpc));
        let rung = Arc::clone(&watched);
        self.ringing.lock().unwrap().spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                rung.ring();
            }
        });
        PostgresQueue::new(self.connections.clone(), watched, "test", LONG, LONG)
    }

    fn dedup(&self, rpc: &Rpc, lease: Duration) -> PostgresDedup {
        PostgresDedup::new(self.connections.clone(), rpc, lease)
    }

    fn store(&self, _: &str) -> ProcessRow {
        self.world.source.process_row("test")
    }

    fn store_that_fails(&self) -> ProcessRow {
        let away: Source = "postgres://me@127.0.0.1:1/cards".parse().unwrap();
        away.process_row("test")
    }

    async fn poison_for(&self, rpc: &Rpc) -> Option<Duration> {
        self.queue(rpc).await.poison_for().await.unwrap()
    }

    async fn brakes(&self) -> Vec<Braked> {
        BrakeTable::new(self.connections.clone()).brakes().await.unwrap()
    }
}
