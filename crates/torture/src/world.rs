//! Everything a run starts: a throwaway Postgres with two databases, two relays, two workers, the RPCs' servers, and proxies
//! in between. On aws an emulator is added.

use std::path::Path;
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use tokio::sync::watch;

use crate::clocks::Faketime;
use crate::cloud::Cloud;
use crate::database::{PUTS, STRANGER, database};
use crate::domain::DOMAIN;
use crate::fleet::{Member, Notes, SECOND, SOURCE};
use crate::history::Clock;
use crate::ledger::Ledger;
use crate::routes::yaml;
use crate::rpcs::Rpcs;
use crate::run::{Failure, Run, Transport};
use crate::second::Second;
use testkit::cluster::Cluster;
use testkit::proxy::Proxy;

const RELAYS: [&str; 2] = ["relay-1", "relay-2"];
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
/// Short, so that slots are truncated and rings wrap.
const RETENTION: &str = "6s";
/// Short, so that a dead worker's deliveries come back.
const VISIBILITY: &str = "3s";
/// Copies that are made past the relay have numbers below all others, so that no sequence that is set back repeats one.
const COPIES: &str = "create sequence torture.copy increment by -1 maxvalue -1 minvalue -1000000000";
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) relays: Vec<Arc<Member>>,
    pub(crate) workers: Vec<Arc<Member>>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) rpcs: Rpcs,
    /// Only on the transport aws.
    pub(crate) cloud: Option<Cloud>,
    /// Without a proxy, for observations.
    pub(crate) pool: PgPool,
    pub(crate) second: Second,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) publishers: Proxy,
    pub(crate) lull: watch::Sender<bool>,
    pub(crate) cluster: Arc<Cluster>,
    /// `None` where clocks can't be set.
    pub(crate) faketime: Option<Faketime>,
}

impl World {
    pub(crate) async fn start(run: &Run, bin: &Path, logs: &Path) -> Result<Self, Failure> {
        let cluster = Arc::new(Cluster::tuned(&[("max_prepared_transactions", "20")])?);
        let cloud = match run.transport {
            Transport::Postgres => None,
            Transport::Aws => Some(cloud(&cluster, run.seed).await?),
        };
        let pool = database(&cluster, SOURCE, bin).await?;
        for statements in [DOMAIN, PUTS, COPIES] {
            sqlx::raw_sql(statements).execute(&pool).await?;
        }
        sqlx::query(AssertSqlSafe(format!("create role {STRANGER} login"))).execute(&pool).await?;
        let second = database(&cluster, SECOND, bin).await?;
        let second = Second::make(second, cluster.url(SECOND), bin).await?;
        let clock = Clock::start();
        let notes = Arc::new(Notes::new(clock, logs));
        let rpcs = Rpcs::start(&WORKERS, run.seed, clock).await?;
        let router = cluster.dir().join("event_router.yaml");
        std::fs::write(&router, yaml())?;
        let faketime = {
            let directory = cluster.dir().to_owned();
            tokio::task::spawn_blocking(move || Faketime::unpack(&directory)).await?
        };
        let faketime = faketime.inspect_err(|error| eprintln!("all clocks stay right: {error}")).ok();
        let fleet = Fleet {
            bin,
            router: &router,
            cluster: &cluster,
            cloud: cloud.as_ref(),
            faketime: faketime.as_ref(),
            notes: &notes,
        };
        let world = Self {
            clock,
            relays: fleet.members("relay", RELAYS, |_| vec!["--retention".into(), RETENTION.into()]).await?,
            workers: fleet.members("worker", WORKERS, |name| worker_args(&rpcs, name)).await?,
            publishers: Proxy::start(cluster.port()).await?,
            lull: watch::Sender::new(false),
            notes,
            rpcs,
            cloud,
            pool,
            second,
            ledger: Arc::default(),
            cluster,
            faketime,
        };
        for member in world.relays.iter().chain(&world.workers) {
            member.start().await?;
        }
        Ok(world)
    }

    /// The address of publishers, with their proxy.
    pub(crate) fn publishers_url(&self) -> String {
        url(self.publishers.port(), SOURCE)
    }

    pub(crate) async fn stop(&self) {
        for relay in &self.relays {
            relay.look().await;
        }
        for member in self.workers.iter().chain(&self.relays) {
            member.stop().await;
        }
    }
}

async fn cloud(cluster: &Arc<Cluster>, seed: u64) -> Result<Cloud, Failure> {
    let dir = cluster.dir().to_owned();
    let made = tokio::task::spawn_blocking(move || Cloud::make(&dir)).await?;
    match made {
        Ok(made) => Cloud::start(made, seed).await,
        Err(error) => Err(crate::run::NoCloud(error).into()),
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://outbox@127.0.0.1:{port}/{database}")
}

fn worker_args(rpcs: &Rpcs, name: &str) -> Vec<String> {
    let mut args = vec!["--visibility".to_owned(), VISIBILITY.to_owned()];
    for endpoint in rpcs.endpoints(name) {
        args.extend(["--endpoint".to_owned(), endpoint]);
    }
    args
}

/// What all relays and workers have in common at their start.
struct Fleet<'a> {
    bin: &'a Path,
    router: &'a Path,
    cluster: &'a Cluster,
    cloud: Option<&'a Cloud>,
    faketime: Option<&'a Faketime>,
    notes: &'a Arc<Notes>,
}

impl Fleet<'_> {
    async fn members(
        &self,
        program: &str,
        names: [&str; 2],
        args: impl Fn(&str) -> Vec<String>,
    ) -> Result<Vec<Arc<Member>>, Failure> {
        let mut members = Vec::new();
        for name in names {
            let proxy = Proxy::start(self.cluster.port()).await?;
            let router = self.router.display().to_string();
            let mut all: Vec<String> =
                ["--router", &router, "--metrics-addr", "127.0.0.1:0", "--log-format", "json"]
                    .map(Into::into)
                    .into();
            all.extend(args(name));
            let sources =
                [SOURCE, SECOND].map(|source| format!("{source}={}", url(proxy.port(), source))).join(" ");
            let mut env = vec![("OUTBOX_SOURCES".to_owned(), sources)];
            env.extend(self.cloud.map(Cloud::environment).unwrap_or_default());
            let path = self.bin.join(program);
            let file = self.cluster.dir().join(format!("{name}.clock"));
            let clock = self.faketime.map(|faketime| faketime.clock(file)).transpose()?;
            let notes = Arc::clone(self.notes);
            members.push(Arc::new(Member::new(name, path, all, env, proxy, clock, notes)));
        }
        Ok(members)
    }
}
