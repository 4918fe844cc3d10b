//! A database, servers of RPCs, a relay, a worker, and publishers of both builds.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use outbox::EventId;
use outbox_event_router::Router;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::types::Uuid;
use testkit::cluster::Cluster;
use testkit::database;
use testkit::process::Process;
use tokio::task::JoinHandle;

use super::builds::Build;
use super::verdict::{Committed, missing, violations};
use crate::demo::failure::Failure;
use crate::demo::services::{Calls, serve};
use crate::demo::show::Show;

/// So many events are published and arrive after each step.
const EVENTS_PER_STEP: usize = 300;
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two transactions of a publisher, each with a hundred events.
const PAUSE: Duration = Duration::from_millis(150);
/// The roles of the throwaway server.
const OWNER: &str = "outbox";
const RELAY: &str = "upgraded_relay";
const WORKER: &str = "upgraded_worker";

pub(super) struct Line<'a> {
    show: &'a Show,
    url: String,
    pool: PgPool,
    /// Those of the build before: an upgrade leaves the operator's files as they are.
    router: Router,
    env: Vec<(&'static str, String)>,
    calls: Calls,
    relay: Option<Process>,
    worker: Option<Process>,
    publishers: Vec<JoinHandle<Failure>>,
    violations: Vec<String>,
    _services: [Process; 2],
    _cluster: Cluster,
}

impl<'a> Line<'a> {
    /// A throwaway Postgres with an empty database, and the servers of the RPCs.
    pub(super) async fn start(build: &Build, show: &'a Show) -> Result<Self, Failure> {
        let cluster = Cluster::start()?;
        let url = database::create(&cluster.url("postgres"), "upgraded").await?;
        let pool = PgPoolOptions::new().max_connections(2).connect(&url).await?;
        let calls = Calls::default();
        let (notification, first) = serve(build.bin(), "notification", "127.0.0.1:0", &calls).await?;
        let (afterpay, second) = serve(build.bin(), "afterpay", "127.0.0.1:0", &calls).await?;
        let (router, proto) = (build.file("event_router.yaml"), build.file("proto"));
        let env = vec![
            ("OUTBOX_ROUTER", router.display().to_string()),
            ("OUTBOX_PROTO", proto.display().to_string()),
            ("OUTBOX_METRICS_ADDR", "127.0.0.1:0".to_owned()),
            (
                "OUTBOX_ENDPOINTS",
                format!("NotificationService=http://{first} AfterPayService=http://{second}"),
            ),
        ];
        let router = Router::read(&router)?;
        let (relay, worker, publishers, violations) = (None, None, Vec::new(), Vec::new());
        let (_services, _cluster) = ([notification, afterpay], cluster);
        Ok(Self {
            show,
            url,
            pool,
            router,
            env,
            calls,
            relay,
            worker,
            publishers,
            violations,
            _services,
            _cluster,
        })
    }

    /// As the schema's owner. Then relay and worker get what the schema grants them.
    pub(super) async fn migrate(&mut self, build: &Build) -> Result<(), Failure> {
        let migrate = self.process(build, "relay", &["migrate"], OWNER)?;
        let (status, lines) = ended(migrate).await?;
        if !status.success() {
            return Err(format!(
                "`relay migrate` of {build} refuses ({status}). Before 0.1.0 commits changed migrations in place: choose a later one. It said:\n{}",
                lines.join("\n")
            )
            .into());
        }
        for (role, part) in [(RELAY, "relay"), (WORKER, "worker")] {
            let known = "select exists (select from pg_roles where rolname = $1)";
            if !sqlx::query_scalar(known).bind(role).fetch_one(&self.pool).await? {
                let create = sqlx::AssertSqlSafe(format!("create role {role} login"));
                sqlx::query(create).execute(&self.pool).await?;
            }
            let grant = sqlx::query("select outbox.grant_to($1, $2)").bind(role).bind(part);
            grant.execute(&self.pool).await?;
        }
        self.show.step(&format!("relay migrate of {build}"));
        Ok(())
    }

    /// As an operator sees it.
    pub(super) async fn is_well(&mut self, build: &Build) -> Result<(), Failure> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.process(build, "outbox", &["status"], OWNER)?;
            let (ended, lines) = ended(status).await?;
            if ended.success() {
                return Ok(());
            }
            // New events wait for a moment.
            if tokio::time::Instant::now() > until {
                let lines = lines.join("\n");
                return Err(
                    format!("`outbox status` of {build} ends with {ended}, and said:\n{lines}").into()
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) async fn start_relay(&mut self, build: &Build) -> Result<(), Failure> {
        let mut relay = self.process(build, "relay", &[], RELAY)?;
        relay.wait_for("leading").await?;
        self.relay = Some(relay);
        Ok(())
    }

    pub(super) async fn start_worker(&mut self, build: &Build) -> Result<(), Failure> {
        let mut worker = self.process(build, "worker", &[], WORKER)?;
        worker.wait_for("delivering").await?;
        self.worker = Some(worker);
        Ok(())
    }

    /// Starts the next relay, which stands by, and stops the one that leads.
    pub(super) async fn replace_relay(&mut self, build: &Build) -> Result<(), Failure> {
        let mut next = self.process(build, "relay", &[], RELAY)?;
        let last = self.relay.take();
        self.stop("relay", last).await?;
        next.wait_for("leading").await?;
        self.relay = Some(next);
        Ok(())
    }

    /// Both workers deliver for a moment.
    pub(super) async fn replace_worker(&mut self, build: &Build) -> Result<(), Failure> {
        let last = self.worker.take();
        self.start_worker(build).await?;
        self.stop("worker", last).await
    }

    async fn stop(&mut self, name: &str, process: Option<Process>) -> Result<(), Failure> {
        let Some(mut process) = process else { return Ok(()) };
        let mut lines = process.take_lines();
        let status = process.stop().await?;
        if !status.success() {
            self.violations.push(format!("a {name} ended with {status}"));
        }
        while let Some(line) = lines.recv().await {
            if line.contains("ERROR") {
                self.violations.push(format!("a {name} said: {line}"));
            }
        }
        Ok(())
    }

    /// Runs the example `many` of a build again and again.
    pub(super) fn publish_with(&mut self, build: &Build) {
        let (program, url) = (build.program("examples/many"), self.url.clone());
        self.publishers.push(tokio::spawn(publish(program, url)));
    }

    /// Waits until so many more events are committed, and until all of them have arrived.
    pub(super) async fn flows(&mut self, step: &str) -> Result<(), Failure> {
        let before = self.committed().await?.len();
        let flowing = async {
            loop {
                for publisher in &mut self.publishers {
                    if publisher.is_finished() {
                        return Err(publisher.await?);
                    }
                }
                let committed = committed(&self.pool).await?;
                if committed.len() >= before + EVENTS_PER_STEP {
                    return Ok(committed);
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let committed = tokio::time::timeout(PATIENCE, flowing)
            .await
            .map_err(|_| format!("after the step «{step}» no publisher could publish for a minute"))??;
        self.until_arrived(&committed, step).await?;
        self.show.step(&format!("{step}: {} events so far, all delivered", committed.len()));
        Ok(())
    }

    async fn until_arrived(&self, committed: &[Committed], step: &str) -> Result<(), Failure> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let missing = missing(committed, &self.router, &self.calls.all());
            let Some(example) = missing.first() else { return Ok(()) };
            if tokio::time::Instant::now() > until {
                return Err(format!(
                    "after the step «{step}» {} deliveries are missing for a minute: {example}",
                    missing.len()
                )
                .into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends publishing, waits for the rest, and compares. The truth about what was committed is the table.
    pub(super) async fn finish(mut self) -> Result<Vec<String>, Failure> {
        for publisher in self.publishers.drain(..) {
            publisher.abort();
            let _ = publisher.await;
        }
        let committed = self.committed().await?;
        self.until_arrived(&committed, "the publishers have ended").await?;
        let (worker, relay) = (self.worker.take(), self.relay.take());
        self.stop("worker", worker).await?;
        self.stop("relay", relay).await?;
        let calls = self.calls.all();
        let mut found = std::mem::take(&mut self.violations);
        found.extend(violations(&committed, &self.router, &calls));
        for table in ["parked", "dead_letter"] {
            let query = format!("select count(*) from outbox.{table}");
            let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&self.pool).await?;
            if rows > 0 {
                found.push(format!("outbox.{table} has {rows} events: none was refused"));
            }
        }
        self.show.scene(&format!("{} events, {} calls", committed.len(), calls.len()));
        self.pool.close().await;
        Ok(found)
    }

    async fn committed(&self) -> Result<Vec<Committed>, Failure> {
        committed(&self.pool).await
    }

    fn process(&self, build: &Build, program: &str, args: &[&str], role: &str) -> std::io::Result<Process> {
        let url = self.url.replace(&format!("{OWNER}@"), &format!("{role}@"));
        let env = self.env.iter().map(|(name, value)| (*name, value.as_str()));
        let env: Vec<(&str, &str)> = env.chain([("DATABASE_URL", url.as_str())]).collect();
        Process::start(&build.program(program), args, &env)
    }
}

/// How a command ended, and what it said.
async fn ended(mut process: Process) -> std::io::Result<(ExitStatus, Vec<String>)> {
    let mut said = process.take_lines();
    let status = process.ended().await?;
    let mut lines = Vec::new();
    while let Some(line) = said.recv().await {
        lines.push(line);
    }
    Ok((status, lines))
}

async fn committed(pool: &PgPool) -> Result<Vec<Committed>, Failure> {
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("select id, name from outbox.event order by seq").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(id, name)| Committed { id: EventId::from(id), name }).collect())
}

/// Ends only if the program fails.
async fn publish(program: PathBuf, url: String) -> Failure {
    loop {
        let once = async {
            let mut many = Process::start(&program, [""; 0], &[("DATABASE_URL", &url)])?;
            many.wait_for("published 100").await?;
            many.ended().await
        };
        match once.await {
            Ok(status) if status.success() => tokio::time::sleep(PAUSE).await,
            Ok(status) => return format!("the publisher {}: {status}", program.display()).into(),
            Err(error) => return error.into(),
        }
    }
}
