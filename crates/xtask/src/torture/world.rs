//! Everything a run starts: a throwaway Postgres, or an emulator of AWS beside it, two relays, two workers, the RPCs' servers,
//! and the proxies in between.

use std::path::Path;
use std::sync::Arc;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::watch;

use super::clocks::Faketime;
use super::cloud::Cloud;
use super::fleet::{Member, Notes};
use super::history::Clock;
use super::proxy::Proxy;
use super::publishers::DOMAIN;
use super::routes::yaml;
use super::rpcs::Rpcs;
use super::{Failure, Run, Transport};
use crate::cluster::Cluster;
use crate::process::Process;

const RELAYS: [&str; 2] = ["relay-1", "relay-2"];
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
const DATABASE: &str = "torture";
/// Short, so that slots are truncated and rings wrap.
const RETENTION: &str = "6s";
/// Short, so that what a dead worker had comes back.
const VISIBILITY: &str = "3s";
/// Notes every delivery that the relay makes, in the relay's own transaction: deliveries are gone soon.
const PUTS: &str = "
    create table torture.put (seq bigint, queue integer, event_id uuid);
    create function torture.note_puts() returns trigger language plpgsql as $$
    begin
        insert into torture.put (seq, queue, event_id) select seq, queue, event_id from new;
        return null;
    end $$;
    create trigger note_puts after insert on outbox.delivery referencing new table as new
        for each statement execute function torture.note_puts()";

pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) relays: Vec<Arc<Member>>,
    pub(super) workers: Vec<Arc<Member>>,
    pub(super) notes: Arc<Notes>,
    pub(super) rpcs: Rpcs,
    /// Only on the transport aws.
    pub(super) cloud: Option<Cloud>,
    /// Past the proxies, for who looks.
    pub(super) pool: PgPool,
    pub(super) publishers: Proxy,
    pub(super) lull: watch::Sender<bool>,
    pub(super) cluster: Arc<Cluster>,
    /// `None` where clocks can't be set.
    pub(super) faketime: Option<Faketime>,
}

impl World {
    pub(super) async fn start(run: &Run, bin: &Path, logs: &Path) -> Result<Self, Failure> {
        let cluster = Arc::new(Cluster::start()?);
        let cloud = match run.transport {
            Transport::Postgres => None,
            Transport::Aws => Some(cloud(&cluster, run.seed).await?),
        };
        let pool = database(&cluster, bin).await?;
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
            cluster,
            faketime,
        };
        for member in world.relays.iter().chain(&world.workers) {
            member.start().await?;
        }
        Ok(world)
    }

    /// The way publishers go.
    pub(super) fn publishers_url(&self) -> String {
        url(self.publishers.port())
    }

    pub(super) async fn stop(&self) {
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
        Err(error) => Err(super::NoCloud(error).into()),
    }
}

fn url(port: u16) -> String {
    format!("postgres://outbox@127.0.0.1:{port}/{DATABASE}")
}

/// A database with the schema, as `relay migrate` makes it, and the torture's own domain.
async fn database(cluster: &Cluster, bin: &Path) -> Result<PgPool, Failure> {
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await?;
    sqlx::query(AssertSqlSafe(format!("create database {DATABASE}"))).execute(&mut admin).await?;
    let address = cluster.url(DATABASE);
    let mut migrate = Process::start(&bin.join("relay"), ["migrate"], &[("DATABASE_URL", &address)])?;
    migrate.wait_for("migrated the outbox schema").await?;
    migrate.ended().await?;
    let pool = PgPoolOptions::new().max_connections(4).connect(&address).await?;
    for statements in [DOMAIN, PUTS] {
        sqlx::raw_sql(statements).execute(&pool).await?;
    }
    Ok(pool)
}

fn worker_args(rpcs: &Rpcs, name: &str) -> Vec<String> {
    let mut args = vec!["--visibility".to_owned(), VISIBILITY.to_owned()];
    for endpoint in rpcs.endpoints(name) {
        args.extend(["--endpoint".to_owned(), endpoint]);
    }
    args
}

/// What all relays and workers are started with.
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
            let mut env = vec![("DATABASE_URL".to_owned(), url(proxy.port()))];
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
