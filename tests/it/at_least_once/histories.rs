use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use fastrand::Rng;
use outbox::{Entry, EventId};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use crate::world::{One, ROUTER, World, relay_settings};

const KEYS: [&str; 3] = ["a", "b", "c"];
const WRITERS: usize = 6;
const STEPS: usize = 600;

/// Guards promises 1, 2 and 4 on real SQL. Random transactions run beside each other, with savepoints, row locks, xids that
/// are drawn early, short and long ones. The relay is stopped at random, and its pages end anywhere. What is put is what was
/// committed, each event once, and each key in order.
#[tokio::test(flavor = "multi_thread")]
async fn random_histories_are_put_as_they_were_committed() {
    let mut world = World::new(ROUTER).await;
    world.execute("create table account (key text primary key, touched bigint not null default 0)").await;
    world.execute("insert into account (key) values ('a'), ('b'), ('c')").await;
    let mut history = History::new(&mut world);
    let (mut histories, began) = (0, Instant::now());
    while histories < 5 || began.elapsed() < Duration::from_secs(15) {
        history.go_on(fastrand::u64(..)).await;
        histories += 1;
    }
    let Oracle { committed, undone } = &history.oracle;
    println!("{histories} histories, {} events committed, {} undone", committed.len(), undone.len());
    assert!(!committed.is_empty() && !undone.is_empty());

    let seen = "select bool_or(page_seq is not null) and bool_or(snapshot ~ ':.+:.+') from outbox.cursor";
    assert!(
        world.scalar::<bool>(seen).await,
        "windows were put in pages, and ended beside open transactions"
    );
    world.finish().await;
}

/// What was committed, in order: a later writer of a key has to wait for an earlier one.
#[derive(Default)]
struct Oracle {
    committed: Vec<(EventId, Option<&'static str>)>,
    undone: HashSet<EventId>,
}

impl Oracle {
    async fn check(&self, world: &World, seed: u64) {
        let all = format!("select count(*) >= {} from outbox.delivery -- seed {seed}", self.committed.len());
        world.until(&all).await;
        let put: Vec<uuid::Uuid> = sqlx::query_scalar("select event_id from outbox.delivery order by seq")
            .fetch_all(&world.pool)
            .await
            .unwrap();
        let put: Vec<EventId> = put.into_iter().map(EventId::from).collect();
        let undone = put.iter().filter(|id| self.undone.contains(id)).count();
        assert_eq!(undone, 0, "seed {seed}: what was rolled back was put");
        let keys: HashMap<EventId, Option<&str>> = self.committed.iter().copied().collect();
        let missing = self.committed.iter().filter(|(id, _)| !put.contains(id)).count();
        assert_eq!((missing, put.len()), (0, self.committed.len()), "seed {seed}");
        for key in KEYS {
            let of_key = |id: &EventId| keys[id] == Some(key);
            let put: Vec<EventId> = put.iter().copied().filter(of_key).collect();
            let made: Vec<EventId> = self.committed.iter().map(|(id, _)| *id).filter(of_key).collect();
            assert_eq!(put, made, "seed {seed}: the order of key {key}");
        }
    }
}

/// Writers that take steps at random, and a relay beside them.
struct History<'w> {
    world: &'w mut World,
    random: Rng,
    writers: Vec<Writer>,
    relay: CancellationToken,
    oracle: Oracle,
}

#[derive(Default)]
struct Writer {
    transaction: Option<Transaction<'static, Postgres>>,
    /// One for the transaction, and one for each savepoint within it.
    levels: Vec<Level>,
}

/// What one rollback undoes.
#[derive(Default)]
struct Level {
    events: Vec<(EventId, Option<&'static str>)>,
    locks: Vec<&'static str>,
}

impl<'w> History<'w> {
    fn new(world: &'w mut World) -> Self {
        let random = Rng::new();
        let writers = (0..WRITERS).map(|_| Writer::default()).collect();
        Self { world, random, writers, relay: CancellationToken::new(), oracle: Oracle::default() }
    }

    /// Takes some steps, and waits until nothing is open and everything is put. The relay keeps running.
    async fn go_on(&mut self, seed: u64) {
        self.random = Rng::with_seed(seed);
        self.replace_relay();
        for _ in 0..STEPS {
            if self.random.usize(0..STEPS) == 0 {
                self.replace_relay();
            }
            let at = self.random.usize(0..WRITERS);
            self.step(at).await;
        }
        for at in 0..WRITERS {
            while !self.writers[at].levels.is_empty() {
                self.end(at).await;
            }
        }
        self.oracle.check(self.world, seed).await;
    }

    /// By a relay with small pages.
    fn replace_relay(&mut self) {
        self.relay.cancel();
        let page_max = self.random.usize(1..6);
        self.relay = self.world.relay_with(outbox_relay::relay::Settings { page_max, ..relay_settings() });
    }

    async fn step(&mut self, at: usize) {
        let in_transaction = !self.writers[at].levels.is_empty();
        match self.random.u8(0..20) {
            _ if !in_transaction => self.writers[at].begin(&self.world.pool).await,
            0 => self.writers[at].execute("select pg_current_xact_id()").await,
            1..3 => self.writers[at].savepoint().await,
            3..6 => self.end(at).await,
            6..9 => self.enqueue(at, None).await,
            _ => {
                let key = KEYS[self.random.usize(0..KEYS.len())];
                if self.lock(at, key).await {
                    self.enqueue(at, Some(key)).await;
                }
            }
        }
    }

    /// Takes a key's row, unless another writer has it.
    async fn lock(&mut self, at: usize, key: &'static str) -> bool {
        let has = |writer: &Writer| writer.levels.iter().any(|level| level.locks.contains(&key));
        if has(&self.writers[at]) {
            return true;
        }
        if self.writers.iter().any(has) {
            return false;
        }
        let writer = &mut self.writers[at];
        writer.execute(&format!("update account set touched = touched + 1 where key = '{key}'")).await;
        writer.levels.last_mut().unwrap().locks.push(key);
        true
    }

    async fn enqueue(&mut self, at: usize, key: Option<&'static str>) {
        let entries: Vec<Entry> = (0..self.random.i64(1..4))
            .map(|n| match key {
                Some(key) => Entry::new(One { n }).key(key),
                None => Entry::new(One { n }),
            })
            .collect();
        let writer = &mut self.writers[at];
        let transaction = writer.transaction.as_mut().unwrap();
        let ids = outbox::enqueue_all(transaction, entries).await.unwrap();
        writer.levels.last_mut().unwrap().events.extend(ids.into_iter().map(|id| (id, key)));
    }

    /// Ends the innermost savepoint or the transaction, by commit or rollback.
    async fn end(&mut self, at: usize) {
        let keep = self.random.u8(0..3) > 0;
        let writer = &mut self.writers[at];
        let level = writer.levels.pop().unwrap();
        if writer.levels.is_empty() {
            let transaction = writer.transaction.take().unwrap();
            if keep { transaction.commit().await } else { transaction.rollback().await }.unwrap();
        } else {
            if !keep {
                writer.execute("rollback to savepoint s").await;
            }
            writer.execute("release savepoint s").await;
        }
        if !keep {
            self.oracle.undone.extend(level.events.iter().map(|(id, _)| *id));
        } else if let Some(outer) = writer.levels.last_mut() {
            outer.events.extend(level.events);
            outer.locks.extend(level.locks);
        } else {
            self.oracle.committed.extend(level.events);
        }
    }
}

impl Writer {
    async fn begin(&mut self, pool: &PgPool) {
        self.transaction = Some(pool.begin().await.unwrap());
        self.levels.push(Level::default());
    }

    async fn savepoint(&mut self) {
        self.execute("savepoint s").await;
        self.levels.push(Level::default());
    }

    async fn execute(&mut self, statement: &str) {
        let transaction = self.transaction.as_mut().unwrap();
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut **transaction).await.unwrap();
    }
}
