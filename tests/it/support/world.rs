//! A database with the schema, an RPC server, and relays and workers: every test starts with it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use outbox::{Entry, Event, EventId};
use outbox_event_router::Router;
use outbox_postgres::PostgresBus;
use outbox_postgres::Source;
use outbox_relay::bus::Bus;
use outbox_runtime::{Readiness, Standing, Started, Tracer};
use outbox_transport::RemoteBus;
use outbox_worker::rpc::{Client, Endpoint, RpcClient, Services};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use testkit::cluster::Cluster;
use testkit::process::{self, Process};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::databases::drop_database;
use super::turns::{Turn, turns};

pub(crate) use super::databases::{cluster, migrated_database, new_database};
pub(crate) use super::events::{One, ROUTER, Two};
pub(crate) use super::rpcs::{Called, Rpcs};
pub(crate) use super::turns::shared_turn;
pub(crate) use super::waiting::{PATIENCE, until};

/// A database with the schema, an RPC server, and the test's relays and workers.
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

pub(crate) fn metrics() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| outbox_runtime::install_metrics().expect("the first recorder"))
}

/// The directory of the project's programs, built.
pub(crate) fn programs() -> &'static PathBuf {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| process::build(true).expect("the programs build"))
}

impl World {
    pub(crate) async fn new(router: &str) -> Self {
        Self::in_turn(router, Turn::Shared(turns().read().await), cluster()).await
    }

    /// Another database for the same test.
    pub(crate) async fn beside(&self, router: &str) -> Self {
        Self::in_turn(router, Turn::Theirs, cluster()).await
    }

    pub(crate) async fn alone(router: &str) -> Self {
        Self::in_turn(router, Turn::Alone(turns().write().await), cluster()).await
    }

    /// In a cluster of the test's own, which the test may crash.
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
        let url = migrated_database(cluster).await;
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
    pub(crate) fn relay_with(&mut self, settings: outbox_relay::relay::Settings) -> CancellationToken {
        self.relay_on(PostgresBus::new(self.source.name(), self.router.clone()).into(), settings)
    }

    pub(crate) fn relay_on(
        &mut self,
        bus: Bus<impl RemoteBus + 'static>,
        settings: outbox_relay::relay::Settings,
    ) -> CancellationToken {
        let stop = self.stop.child_token();
        let (source, cancel) = (self.source.clone(), stop.clone());
        let standing = Standing::alone(&Readiness::default(), "relaying", source.name());
        self.tasks.push(tokio::spawn(outbox_relay::relay::run(source, bus, settings, standing, cancel)));
        stop
    }

    /// Stops a leading relay, and waits until no relay leads.
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

    /// With another way to the database.
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
            let settings = outbox_worker::postgres::Settings { name, visibility };
            let started = Started { stop: cancel, ..Started::default() };
            let standing = Standing::alone(&started.readiness, "delivering", source.name());
            outbox_worker::postgres::run(&source, &router, &client, &settings, &standing, &started).await;
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

    /// With more environment variables.
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
        self.start_worker(&[("DATABASE_URL", &self.url)], endpoints)
    }

    /// With more environment variables and arguments.
    pub(crate) fn worker_process_in(&self, env: &[(&str, &str)], more: &[&str]) -> Process {
        let env = [&[("DATABASE_URL", self.url.as_str())], env].concat();
        self.worker_process_without_database(&env, more)
    }

    /// With this environment alone: on AWS a worker needs no database.
    pub(crate) fn worker_process_without_database(&self, env: &[(&str, &str)], more: &[&str]) -> Process {
        let endpoints = self.endpoints();
        let endpoints = endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]);
        self.start_worker(env, &endpoints.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    fn start_worker(&self, env: &[(&str, &str)], more: &[&str]) -> Process {
        let router = self.router_file.display().to_string();
        let mut args = vec!["--router", &router, "--metrics-addr", "127.0.0.1:0"];
        if !more.contains(&"--visibility") {
            args.extend(["--visibility", "2s"]);
        }
        args.extend(more);
        Process::start(&programs().join("worker"), args, env).unwrap()
    }

    // ---- publishing and observing

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

    /// Waits until a query returns true.
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
                and not exists (select from outbox.delivery as d where d.seq >
                    (select h.seq from outbox.queue_head as h where h.queue = d.queue))",
        )
        .await;
    }

    /// Stops what was started, and checks what must hold after every test.
    pub(crate) async fn finish(self) {
        self.finish_after(false).await;
    }

    /// The same for a test whose events could not wake the relay.
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
        assert!(fallback || found == "0", "the fallback poll found {found} events without a notification");
        let twice = self.rpcs.called_again_after_success();
        assert!(twice.is_empty(), "called again after success: {twice:?}");
        drop_database(&self.url).await;
    }
}

pub(crate) fn relay_settings() -> outbox_relay::relay::Settings {
    outbox_relay::relay::Settings {
        name: "test".to_owned(),
        page_max: 1000,
        retention: Duration::from_secs(24 * 3600),
        router: None,
        fallback: Duration::from_secs(5),
        tracer: Tracer::default(),
        address: None,
    }
}
