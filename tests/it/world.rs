use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use event_router::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use outbox::{Entry, Event, EventId};
use outbox_schema::Source;
use relay::bus::{Bus, PostgresBus};
use runtime::{Readiness, Standing, Started, Tracer};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::cluster::Cluster;
use testkit::process::{self, Process};
use tokio::net::TcpListener;
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::rpc::{Client, Endpoint, RpcClient, Services};

use crate::server::{self, Answer, Incoming};

/// What a test waits for comes within this time, or not at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ROUTER: &str = "
event:
  - name: event_one
    subscriber:
      - id: Test/One
        timeout: 2s
        concurrency: 64
        max_attempts: 5
        backoff: { min: 20ms, max: 200ms }
  - name: event_two
    subscriber:
      - id: Test/TwoA
      - id: Other/TwoB
";

#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct One {
    pub(crate) n: i64,
}

impl Event for One {
    const NAME: &'static str = "event_one";
}

#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Two {
    pub(crate) n: i64,
}

impl Event for Two {
    const NAME: &'static str = "event_two";
}

/// A database with the schema, an RPC server, and whatever relays and workers the test starts.
pub(crate) struct World {
    pub(crate) source: Source,
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) rpcs: Rpcs,
    pub(crate) router: Router,
    pub(crate) router_file: PathBuf,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _turn: Turn,
}

/// Tests that measure have the machine to themselves.
enum Turn {
    Shared(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
    /// Of another world of the same test: a second turn would wait for whoever waits for the first to end.
    Theirs,
}

fn turns() -> &'static RwLock<()> {
    static TURNS: OnceLock<RwLock<()>> = OnceLock::new();
    TURNS.get_or_init(RwLock::default)
}

/// The turn of a test that needs no world, but should not disturb one that measures.
pub(crate) fn shared_turn() -> RwLockReadGuard<'static, ()> {
    turns().blocking_read()
}

/// One cluster for all tests. It ends with the process: its minder sees to that.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap_or_else(|error| panic!("{error}")))
}

pub(crate) fn metrics() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| runtime::install_metrics().expect("the first recorder"))
}

/// Where the project's own programs are, built.
pub(crate) fn programs() -> &'static PathBuf {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| process::build(true).expect("the programs build"))
}

impl World {
    pub(crate) async fn new(router: &str) -> Self {
        Self::in_turn(router, Turn::Shared(turns().read().await), cluster()).await
    }

    /// Another database for the test that has this one.
    pub(crate) async fn beside(&self, router: &str) -> Self {
        Self::in_turn(router, Turn::Theirs, cluster()).await
    }

    pub(crate) async fn alone(router: &str) -> Self {
        Self::in_turn(router, Turn::Alone(turns().write().await), cluster()).await
    }

    /// In a cluster of the test's own, that it may crash.
    pub(crate) async fn on(router: &str, cluster: &Cluster) -> Self {
        Self::in_turn(router, Turn::Shared(turns().read().await), cluster).await
    }

    /// In a cluster of the test's own that is not started before the test's turn: initdb would disturb a test that measures.
    pub(crate) async fn with_own(router: &str, start: impl FnOnce() -> Cluster) -> (Self, Cluster) {
        let turn = Turn::Shared(turns().read().await);
        let cluster = start();
        (Self::in_turn(router, turn, &cluster).await, cluster)
    }

    async fn in_turn(yaml: &str, turn: Turn, cluster: &Cluster) -> Self {
        metrics();
        let url = new_database(cluster).await;
        let mut conn = PgConnection::connect(&url).await.unwrap();
        outbox_schema::migrate(&mut conn).await.unwrap();
        let source: Source = url.parse().unwrap();
        let router_file = cluster.dir().join(format!("router-{}.yaml", source.name()));
        std::fs::write(&router_file, yaml).unwrap();
        Self {
            pool: PgPoolOptions::new().max_connections(20).connect(&url).await.unwrap(),
            source,
            url,
            rpcs: Rpcs::start().await,
            router: Router::parse("test.yaml", yaml).unwrap_or_else(|findings| panic!("{findings}")),
            router_file,
            stop: CancellationToken::new(),
            tasks: Vec::new(),
            _turn: turn,
        }
    }

    // ---- relays and workers

    pub(crate) fn relay(&mut self) -> CancellationToken {
        self.relay_with(relay_settings())
    }

    /// Starts a relay in this process; the token stops it.
    pub(crate) fn relay_with(&mut self, settings: relay::relay::Settings) -> CancellationToken {
        self.relay_on(PostgresBus::new(self.source.name(), self.router.clone()), settings)
    }

    pub(crate) fn relay_on(
        &mut self,
        bus: impl Bus + 'static,
        settings: relay::relay::Settings,
    ) -> CancellationToken {
        let stop = self.stop.child_token();
        let (source, cancel) = (self.source.clone(), stop.clone());
        let standing = Standing::alone(&Readiness::default(), "relaying", source.name());
        self.tasks.push(tokio::spawn(relay::relay::run(source, bus, settings, standing, cancel)));
        stop
    }

    /// Stops a relay that leads, and waits until nobody does.
    pub(crate) async fn stop_relay(&self, relay: &CancellationToken) {
        relay.cancel();
        self.until("select pid is null from outbox.leader").await;
    }

    /// Starts a worker in this process; the token stops it.
    pub(crate) fn worker(&mut self) -> CancellationToken {
        self.worker_with(Duration::from_secs(3))
    }

    pub(crate) fn worker_with(&mut self, visibility: Duration) -> CancellationToken {
        self.worker_on(self.source.clone(), visibility)
    }

    /// That reaches the database by another way.
    pub(crate) fn worker_on(&mut self, source: Source, visibility: Duration) -> CancellationToken {
        let client = self.client();
        self.worker_that_calls(client, source, visibility)
    }

    pub(crate) fn worker_that_calls(
        &mut self,
        client: impl RpcClient + Clone,
        source: Source,
        visibility: Duration,
    ) -> CancellationToken {
        let stop = self.stop.child_token();
        let (router, cancel) = (self.router.clone(), stop.clone());
        let name = format!("test-{:08x}", fastrand::u32(..));
        self.tasks.push(tokio::spawn(async move {
            let settings = worker::embedded::Settings { name, visibility };
            let started = Started { stop: cancel, ..Started::default() };
            let standing = Standing::alone(&started.readiness, "delivering", source.name());
            worker::embedded::run(&source, &router, &client, &settings, &standing, &started).await;
        }));
        stop
    }

    pub(crate) fn client(&self) -> Client {
        let endpoints: Vec<Endpoint> =
            self.endpoints().iter().map(|endpoint| endpoint.parse().unwrap()).collect();
        let prefixes = ["acme-".parse().unwrap()];
        let services =
            Services { endpoints: &endpoints, encodings: &[], contract: None, header_prefixes: &prefixes };
        Client::new(&self.router, &services).unwrap()
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        ["Test", "Other"].iter().map(|service| format!("{service}=http://{}", self.rpcs.addr)).collect()
    }

    pub(crate) fn relay_process(&self) -> Process {
        self.relay_process_in(&[])
    }

    /// With more of an environment.
    pub(crate) fn relay_process_in(&self, env: &[(&str, &str)]) -> Process {
        let router = self.router_file.display().to_string();
        let args = ["--router", &router, "--metrics-addr", "127.0.0.1:0"];
        let env = [&[("DATABASE_URL", self.url.as_str())], env].concat();
        Process::start(&programs().join("relay"), args, &env).unwrap()
    }

    pub(crate) fn worker_process(&self) -> Process {
        self.worker_process_in(&[], &[])
    }

    pub(crate) fn worker_process_with(&self, endpoints: &[&str]) -> Process {
        self.start_worker(&[], endpoints)
    }

    /// With more of an environment and of arguments.
    pub(crate) fn worker_process_in(&self, env: &[(&str, &str)], more: &[&str]) -> Process {
        let endpoints = self.endpoints();
        let endpoints = endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]);
        self.start_worker(env, &endpoints.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    fn start_worker(&self, env: &[(&str, &str)], more: &[&str]) -> Process {
        let router = self.router_file.display().to_string();
        let mut args = vec!["--router", &router, "--metrics-addr", "127.0.0.1:0", "--visibility", "2s"];
        args.extend(more);
        let env = [&[("DATABASE_URL", self.url.as_str())], env].concat();
        Process::start(&programs().join("worker"), args, &env).unwrap()
    }

    // ---- publishing and looking

    /// Publishes one event in a transaction of its own.
    pub(crate) async fn publish<E: Event>(&self, event: E) -> EventId {
        let mut tx = self.pool.begin().await.unwrap();
        let id = outbox::enqueue(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Publishes many in one transaction.
    pub(crate) async fn publish_all(&self, events: impl IntoIterator<Item = Entry>) -> Vec<EventId> {
        let mut tx = self.pool.begin().await.unwrap();
        let ids = outbox::enqueue_all(&mut tx, events).await.unwrap();
        tx.commit().await.unwrap();
        ids
    }

    pub(crate) async fn scalar<T>(&self, query: &'static str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn execute(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// Waits until a query says true.
    pub(crate) async fn until(&self, query: &str) {
        until(query, async || {
            sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.pool).await.unwrap_or(false)
        })
        .await;
    }

    /// Waits until the relay sleeps: it holds the doorbell's lock.
    pub(crate) async fn until_relay_sleeps(&self) {
        self.until(
            "select exists (select from pg_locks where locktype = 'advisory' and classid = 1869968994 and objid = 1
                 and mode = 'ExclusiveLock' and granted
                 and database = (select oid from pg_database where datname = current_database()))",
        )
        .await;
    }

    /// Waits until every message of every queue is settled.
    pub(crate) async fn until_settled(&self) {
        self.until(
            "select not exists (select from outbox.retry) and not exists (select from outbox.claim where until is not null)
                and not exists (select from outbox.delivery as d where d.seq > coalesce(
                    (select max(last_seq) from outbox.claim as c where c.queue = d.queue), 0))",
        )
        .await;
    }

    /// Stops what was started, and checks what must hold after every test.
    pub(crate) async fn finish(self) {
        self.finish_after(false).await;
    }

    /// The same for a test whose events nobody could ring for.
    pub(crate) async fn finish_found_by_fallback(self) {
        self.finish_after(true).await;
    }

    async fn finish_after(mut self, fallback: bool) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            tokio::time::timeout(PATIENCE, task).await.expect("it stops").expect("no panic");
        }
        let found = format!("outbox_relay_fallback_found_total{{source=\"{}\"}} ", self.source.name());
        let rendered = metrics().render();
        let found = rendered.lines().find_map(|line| line.strip_prefix(&found)).unwrap_or("0");
        assert!(fallback || found == "0", "the fallback poll found {found} events that nobody rang for");
        let twice = self.rpcs.called_again_after_success();
        assert!(twice.is_empty(), "called again after success: {twice:?}");
        drop_database(&self.url).await;
    }
}

/// Two hundred databases of tests that are over would fill the disk. A test may still hold a connection.
async fn drop_database(url: &str) {
    let (server, name) = url.rsplit_once('/').expect("a database's address");
    let Ok(mut admin) = PgConnection::connect(&format!("{server}/postgres")).await else { return };
    let drop = format!("drop database if exists {name} with (force)");
    let _ = sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await;
}

pub(crate) fn relay_settings() -> relay::relay::Settings {
    relay::relay::Settings {
        name: "test".to_owned(),
        page_max: 1000,
        retention: Duration::from_secs(24 * 3600),
        fallback: Duration::from_secs(5),
        tracer: Tracer::default(),
    }
}

pub(crate) async fn new_database(cluster: &Cluster) -> String {
    let name = format!("test_{:012x}", fastrand::u64(..1 << 48));
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
    cluster.url(&name)
}

/// Waits until something holds, looking every few milliseconds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// A Connect server that answers as the test says and remembers who called.
#[derive(Clone)]
pub(crate) struct Rpcs {
    pub(crate) addr: String,
    state: Arc<State>,
}

type Behaviour = Arc<dyn Fn(&Called) -> Answer + Send + Sync>;

#[derive(Default)]
struct State {
    calls: Mutex<Vec<Called>>,
    succeeded: Mutex<Vec<(String, EventId)>>,
    behaviours: Mutex<HashMap<String, Behaviour>>,
    came: Notify,
}

#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) rpc: String,
    pub(crate) event: EventId,
    pub(crate) attempt: u32,
    pub(crate) incoming: Incoming,
    pub(crate) at: std::time::Instant,
}

impl Rpcs {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let rpcs = Self { addr, state };
        let handler = rpcs.clone();
        tokio::spawn(async move {
            let serves = |rpc: &str| rpc.starts_with("Test/") || rpc.starts_with("Other/");
            let _ = server::serve(listener, serves, move |call| handler.handle(call), std::future::pending())
                .await;
        });
        rpcs
    }

    pub(crate) fn handle(&self, incoming: Incoming) -> Answer {
        let called = Called {
            rpc: incoming.rpc.clone(),
            event: incoming.header("outbox-event-id").parse().expect("an event id"),
            attempt: incoming.header("outbox-attempt").parse().expect("an attempt"),
            incoming,
            at: std::time::Instant::now(),
        };
        self.state.calls.lock().unwrap().push(called.clone());
        let behaviour = self.state.behaviours.lock().unwrap().get(&called.rpc).cloned();
        let state = Arc::clone(&self.state);
        state.came.notify_waiters();
        Box::pin(async move {
            if let Some(behaviour) = behaviour {
                behaviour(&called).await?;
            }
            state.succeeded.lock().unwrap().push((called.rpc, called.event));
            state.came.notify_waiters();
            Ok(())
        })
    }

    /// From here on this RPC answers so.
    pub(crate) fn on(&self, rpc: &str, behaviour: impl Fn(&Called) -> Answer + Send + Sync + 'static) {
        self.state.behaviours.lock().unwrap().insert(rpc.to_owned(), Arc::new(behaviour));
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.state.calls.lock().unwrap().clone()
    }

    /// The calls of an event, in their order.
    pub(crate) fn calls_of(&self, event: EventId) -> Vec<Called> {
        self.calls().into_iter().filter(|call| call.event == event).collect()
    }

    /// Every (RPC, event) that succeeded, in the order of success.
    pub(crate) fn succeeded(&self) -> Vec<(String, EventId)> {
        self.state.succeeded.lock().unwrap().clone()
    }

    /// Forgets who succeeded, where a test called past the dedup record on purpose.
    pub(crate) fn forget(&self) {
        self.state.succeeded.lock().unwrap().clear();
    }

    fn called_again_after_success(&self) -> Vec<(String, EventId)> {
        let mut times = HashMap::new();
        for success in self.succeeded() {
            *times.entry(success).or_insert(0) += 1;
        }
        times.into_iter().filter(|&(_, times)| times > 1).map(|(success, _)| success).collect()
    }

    /// Waits until something holds of the calls and successes so far.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let came = self.state.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if holds(self) {
                    return;
                }
                came.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| {
            panic!(
                "waited in vain until {what}: {} calls, {} succeeded",
                self.calls().len(),
                self.succeeded().len()
            )
        });
    }

    /// Waits until each of these events has succeeded at this RPC.
    pub(crate) async fn until_done(&self, rpc: &str, events: &[EventId]) {
        // Looks at each success once: thousands of them must not make the test the slowest part of the line.
        let missing = RefCell::new((events.iter().copied().collect::<HashSet<EventId>>(), 0));
        self.until(&format!("{} events are done at {rpc}", events.len()), |rpcs| {
            let (missing, seen) = &mut *missing.borrow_mut();
            let succeeded = rpcs.state.succeeded.lock().unwrap();
            for (name, event) in &succeeded[*seen..] {
                if name == rpc {
                    missing.remove(event);
                }
            }
            *seen = succeeded.len();
            missing.is_empty()
        })
        .await;
    }
}
