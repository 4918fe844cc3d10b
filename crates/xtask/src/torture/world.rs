//! Everything a run starts: a throwaway Postgres with two databases, or an emulator of AWS beside it, two relays, two workers,
//! the RPCs' servers, and the proxies in between.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::watch;

use super::clocks::Faketime;
use super::cloud::Cloud;
use super::fleet::{Member, Notes, SECOND, SOURCE};
use super::history::Clock;
use super::proxy::Proxy;
use super::publishers::{DOMAIN, Ledger};
use super::routes::yaml;
use super::rpcs::Rpcs;
use super::second::Second;
use super::{Failure, Run, Transport};
use crate::cluster::Cluster;
use crate::process::Process;

const RELAYS: [&str; 2] = ["relay-1", "relay-2"];
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
/// Short, so that slots are truncated and rings wrap.
const RETENTION: &str = "6s";
/// Short, so that what a dead worker had comes back.
const VISIBILITY: &str = "3s";
/// Notes every delivery that the relay makes, in the relay's own transaction: deliveries are gone soon. Again after the schema
/// was made anew.
pub(super) const PUTS: &str = "
    create table if not exists torture.put (seq bigint, rpc text, event_id uuid);
    create or replace function torture.note_puts() returns trigger language plpgsql as $$
    begin
        insert into torture.put (seq, rpc, event_id)
        select n.seq, (select q.rpc from outbox.queue as q where q.id = n.queue), n.event_id from new as n;
        return null;
    end $$;
    create or replace trigger note_puts after insert on outbox.delivery referencing new table as new
        for each statement execute function torture.note_puts()";
/// Copies that are made past the relay are numbered below everything: whatever is set back, nobody else has their seqs.
const COPIES: &str = "create sequence torture.copy increment by -1 maxvalue -1 minvalue -1000000000";
/// A role that may connect and nothing more.
pub(super) const STRANGER: &str = "stranger";
/// Of those who look: no timeouts that are meant for people.
const UNTIMED: &str = "
    select set_config(name, '0', false) from pg_settings
    where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
                   'transaction_timeout')";
/// What a crash, or a fault that comes in between, interrupts is done again.
const INSISTS_FOR: Duration = Duration::from_secs(60);
const INSISTS_EVERY: Duration = Duration::from_millis(300);

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
    pub(super) second: Second,
    pub(super) ledger: Arc<Ledger>,
    pub(super) publishers: Proxy,
    pub(super) lull: watch::Sender<bool>,
    pub(super) cluster: Arc<Cluster>,
    /// `None` where clocks can't be set.
    pub(super) faketime: Option<Faketime>,
}

impl World {
    pub(super) async fn start(run: &Run, bin: &Path, logs: &Path) -> Result<Self, Failure> {
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

    /// The way publishers go.
    pub(super) fn publishers_url(&self) -> String {
        url(self.publishers.port(), SOURCE)
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

fn url(port: u16, database: &str) -> String {
    format!("postgres://outbox@127.0.0.1:{port}/{database}")
}

/// A database with the schema, as `relay migrate` makes it.
async fn database(cluster: &Cluster, name: &str, bin: &Path) -> Result<PgPool, Failure> {
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await?;
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await?;
    migrate(&bin.join("relay"), &cluster.url(name)).await?;
    let pool = PgPoolOptions::new().max_connections(12).after_connect(|conn, _| {
        Box::pin(async move { sqlx::query(UNTIMED).execute(conn).await.map(|_| ()) })
    });
    Ok(pool.connect(&cluster.url(name)).await?)
}

pub(super) async fn migrate(relay: &Path, url: &str) -> Result<(), Failure> {
    let mut migrate = Process::start(&relay.to_owned(), ["migrate"], &[("DATABASE_URL", url)])?;
    match migrate.ended().await? {
        status if status.success() => Ok(()),
        status => Err(format!("relay migrate: {status}").into()),
    }
}

/// Does it again until it succeeds: the database may be down.
pub(super) async fn insist<T, F: Future<Output = Result<T, Failure>>>(
    mut what: impl FnMut() -> F,
) -> Result<T, Failure> {
    let until = tokio::time::Instant::now() + INSISTS_FOR;
    loop {
        match what().await {
            Err(_) if tokio::time::Instant::now() < until => tokio::time::sleep(INSISTS_EVERY).await,
            done => return done,
        }
    }
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
