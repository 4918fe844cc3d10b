//! The systems that are measured in turn: the project with a handler in place of an RPC, with a Connect call, and with three
//! RPCs; and the peers. All use one server, and only one works at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use testkit::process::Process;

use super::calls::Calls;
use super::peers::{self, Statements};
use super::running::{Entered, Running};
use crate::database::{Database, EVENT, payload};
use crate::plan::Plan;
use crate::publish;
use crate::result::Result;

/// For each RPC: without a call as many as one receive takes; with a call a service's usual number.
const CONCURRENCY: usize = 500;
const CONCURRENCY_OF_CALLS: usize = 64;
/// The wait for processes that do not report their connection.
const CONNECTED_WITHIN: Duration = Duration::from_millis(500);
/// The number of the warm-up event.
const WARM_UP: u64 = u32::MAX as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Ours,
    Connect,
    FanOut,
    Graphile,
    Boss,
}

#[derive(Debug)]
pub(crate) struct System {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) sql: Statements,
    /// How many handlers each event has.
    pub(crate) copies: usize,
    programs: PathBuf,
    /// The project's router, or a peer's script.
    file: PathBuf,
}

impl System {
    pub(crate) fn ours(database: &Database, plan: &Plan, kind: Kind) -> Result<Self> {
        let copies = if kind == Kind::FanOut { 3 } else { 1 };
        let concurrency = if kind == Kind::Connect { CONCURRENCY_OF_CALLS } else { CONCURRENCY };
        let mut yaml = format!("event:\n  - name: '{EVENT}'\n    subscriber:\n");
        for copy in 0..copies {
            yaml += &format!("      - id: 'BenchService/Take{copy}'\n        concurrency: {concurrency}\n");
        }
        let file = std::env::temp_dir().join(format!("outbox-bench-{}-{kind:?}.yaml", std::process::id()));
        std::fs::write(&file, yaml)?;
        let sql = Statements {
            enqueue: publish::library(&["outbox.uuid_v7()", &format!("'{EVENT}'"), "null", "$1", "null"]),
            fill: format!(
                "select count(outbox.enqueue('{EVENT}', payload)) from unnest($1::text[]) as payload"
            ),
            empty: crate::database::EMPTY.to_owned(),
        };
        Ok(Self { kind, url: database.url(), sql, copies, programs: plan.programs.clone(), file })
    }

    /// With a database of its own.
    pub(crate) async fn peer(database: &Database, dir: &Path, kind: Kind) -> Result<Self> {
        let (name, script) =
            if kind == Kind::Graphile { ("graphile", "graphile.mjs") } else { ("boss", "boss.mjs") };
        let url = database.another(name).await?;
        let sql = peers::set_up(dir, script, &url).await?;
        Ok(Self { kind, url, sql, copies: 1, programs: PathBuf::new(), file: dir.join(script) })
    }

    pub(crate) async fn start(&self) -> Result<Running> {
        let file = self.file.display().to_string();
        if matches!(self.kind, Kind::Graphile | Kind::Boss) {
            let args = [file.as_str(), "handle", &self.url];
            let process = Process::start(&PathBuf::from("node"), args, &[])?;
            return Ok(Running::new(None, Entered::told(process).await?));
        }
        let shared = ["--source", &self.url, "--router", &file, "--metrics-addr", "127.0.0.1:0"];
        let entered = if self.kind == Kind::Connect {
            let calls = Calls::serve().await?;
            let endpoint = ["--endpoint", &format!("BenchService={}", calls.endpoint)].map(str::to_owned);
            let args = shared.map(str::to_owned).into_iter().chain(endpoint);
            Entered::Called(Process::start(&self.programs.join("worker"), args, &[])?, calls)
        } else {
            let args = ["--line-handler", &self.url, &file];
            Entered::told(Process::start(&self.programs.join("bench"), args, &[])?).await?
        };
        // Workers start before relays, so that a backlog has no head start.
        tokio::time::sleep(CONNECTED_WITHIN).await;
        let relay = Process::start(&self.programs.join("relay"), shared, &[])?;
        Ok(Running::new(Some(relay), entered))
    }

    /// Starts the system, and waits for one event to arrive.
    pub(crate) async fn warm(&self) -> Result<Running> {
        let mut running = self.start().await?;
        self.publish(vec![payload(WARM_UP)]).await?;
        if !running.entered(self.copies).await? {
            return Err(format!("{:?} does not start", self.kind).into());
        }
        Ok(running)
    }

    pub(crate) async fn fill(&self, events: usize) -> Result<()> {
        for first in (0..events).step_by(1000) {
            let part = first..events.min(first + 1000);
            self.publish(part.map(|n| payload(n as u64)).collect()).await?;
        }
        self.checkpoint().await
    }

    async fn publish(&self, payloads: Vec<String>) -> Result<()> {
        let mut conn = PgConnection::connect(&self.url).await?;
        // This data need not survive a crash.
        sqlx::query("set synchronous_commit = off").execute(&mut conn).await?;
        sqlx::query(sqlx::AssertSqlSafe(self.sql.fill.clone())).bind(payloads).execute(&mut conn).await?;
        Ok(conn.close().await?)
    }

    /// Removes every event.
    pub(crate) async fn empty(&self) -> Result<()> {
        let mut conn = PgConnection::connect(&self.url).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(self.sql.empty.clone())).execute(&mut conn).await?;
        conn.close().await?;
        self.checkpoint().await
    }

    async fn checkpoint(&self) -> Result<()> {
        let mut conn = PgConnection::connect(&self.url).await?;
        sqlx::query("checkpoint").execute(&mut conn).await?;
        Ok(conn.close().await?)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if !matches!(self.kind, Kind::Graphile | Kind::Boss) {
            let _ = std::fs::remove_file(&self.file);
        }
    }
}
