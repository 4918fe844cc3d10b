//! Everything the demo starts, as separate processes, and what it sees of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::EventId;
use serde::Deserialize;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::{Notify, mpsc};

use super::Failure;
use super::show::Show;
use crate::cluster::Cluster;
use crate::process::{Process, root};

pub(super) struct World {
    pub(super) pool: PgPool,
    pub(super) calls: Calls,
    afterpay: Option<Process>,
    afterpay_listens: String,
    bin: PathBuf,
    /// Ended in this order: the workers before the database they work on.
    processes: Vec<Process>,
    scratch: Option<(PgConnection, String)>,
    _cluster: Option<Cluster>,
}

/// What the sample services were called with, in the order they said so.
#[derive(Clone, Default)]
pub(super) struct Calls {
    list: Arc<Mutex<Vec<Call>>>,
    came: Arc<Notify>,
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) rpc: String,
    pub(super) event: EventId,
    pub(super) attempt: u32,
    pub(super) refused: Option<String>,
    pub(super) at: DateTime<Utc>,
}

impl World {
    pub(super) async fn start(bin: &Path, show: &Show) -> Result<Self, Failure> {
        let (cluster, url, scratch) = database(show).await?;
        let pool = PgPoolOptions::new().max_connections(4).connect(&url).await?;

        show.step("migrating: relay migrate");
        let env = [("DATABASE_URL", url.as_str())];
        let mut migrate = Process::start(&bin.join("relay"), ["migrate"], &env)?;
        migrate.wait_for("migrated the outbox schema").await?;
        migrate.ended().await?;
        sample::card::create_table(&mut *pool.acquire().await?).await?;

        let calls = Calls::default();
        let (notification, notification_listens) = serve(bin, "notification", "127.0.0.1:0", &calls).await?;
        let (afterpay, afterpay_listens) = serve(bin, "afterpay", "127.0.0.1:0", &calls).await?;
        let router = root().join("event_router.yaml").display().to_string();
        let mut relay =
            Process::start(&bin.join("relay"), ["--router", &router, "--metrics-addr", "127.0.0.1:0"], &env)?;
        relay.wait_for("leading").await?;
        let endpoints = [
            format!("NotificationService=http://{notification_listens}"),
            format!("AfterPayService=http://{afterpay_listens}"),
        ];
        let proto = root().join("proto").display().to_string();
        let args = [
            "--router",
            &router,
            "--proto",
            &proto,
            "--metrics-addr",
            "127.0.0.1:0",
            "--endpoint",
            &endpoints[0],
            "--endpoint",
            &endpoints[1],
        ];
        let mut worker = Process::start(&bin.join("worker"), args, &env)?;
        worker.wait_for("delivering").await?;
        show.step(&format!(
            "started relay (pid {}), worker (pid {}), NotificationService ({notification_listens}), AfterPayService ({afterpay_listens})",
            relay.pid(),
            worker.pid()
        ));
        Ok(Self {
            pool,
            calls,
            afterpay: Some(afterpay),
            afterpay_listens,
            bin: bin.to_owned(),
            processes: vec![relay, worker, notification],
            scratch,
            _cluster: cluster,
        })
    }

    pub(super) async fn kill_afterpay(&mut self) -> std::io::Result<()> {
        match self.afterpay.take() {
            Some(afterpay) => afterpay.kill().await,
            None => Ok(()),
        }
    }

    pub(super) async fn restart_afterpay(&mut self) -> Result<(), Failure> {
        let (afterpay, _) = serve(&self.bin, "afterpay", &self.afterpay_listens, &self.calls).await?;
        self.afterpay = Some(afterpay);
        Ok(())
    }

    pub(super) async fn stop(mut self) {
        let _ = self.kill_afterpay().await;
        for process in self.processes.drain(..) {
            let _ = process.stop().await;
        }
        self.pool.close().await;
        if let Some((mut conn, name)) = self.scratch.take() {
            let drop = AssertSqlSafe(format!("drop database if exists {name} with (force)"));
            let _ = sqlx::query(drop).execute(&mut conn).await;
        }
    }
}

type Database = (Option<Cluster>, String, Option<(PgConnection, String)>);

/// A throwaway cluster, or a scratch database on the server that DATABASE_URL names.
async fn database(show: &Show) -> Result<Database, Failure> {
    let (cluster, admin_url) = match std::env::var("DATABASE_URL") {
        Ok(url) => {
            show.step("using the server that DATABASE_URL names, in a database of the demo's own");
            (None, url)
        }
        Err(_) => {
            let cluster = Cluster::start()?;
            show.step(&format!("started a throwaway Postgres on 127.0.0.1:{}", cluster.port()));
            let url = cluster.url("postgres");
            (Some(cluster), url)
        }
    };
    let name = format!("outbox_demo_{:08x}", fastrand::u32(..));
    let mut admin = PgConnection::connect(&admin_url).await?;
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await?;
    let (address, parameters) = admin_url.split_once('?').unwrap_or((&admin_url, ""));
    let server = address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let url = if parameters.is_empty() {
        format!("{server}/{name}")
    } else {
        format!("{server}/{name}?{parameters}")
    };
    let scratch = cluster.is_none().then_some((admin, name));
    Ok((cluster, url, scratch))
}

async fn serve(bin: &Path, service: &str, listen: &str, calls: &Calls) -> Result<(Process, String), Failure> {
    #[derive(Deserialize)]
    struct Listening {
        listening: String,
    }
    let mut server =
        Process::start(&bin.join("sample-server"), ["--service", service, "--listen", listen], &[])?;
    let line = server.wait_for("listening").await?;
    let Listening { listening } = serde_json::from_str(&line)?;
    calls.watch(server.take_lines());
    Ok((server, listening))
}

impl Calls {
    fn watch(&self, mut lines: mpsc::UnboundedReceiver<String>) {
        #[derive(Deserialize)]
        struct Line {
            rpc: String,
            event_id: EventId,
            attempt: String,
            refused: Option<String>,
        }
        let calls = self.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                let at = Utc::now();
                let Ok(Line { rpc, event_id, attempt, refused }) = serde_json::from_str(&line) else {
                    continue;
                };
                let attempt = attempt.parse().unwrap_or(0);
                calls.list.lock().expect("no panic while held").push(Call {
                    rpc,
                    event: event_id,
                    attempt,
                    refused,
                    at,
                });
                calls.came.notify_waiters();
            }
        });
    }

    pub(super) fn all(&self) -> Vec<Call> {
        self.list.lock().expect("no panic while held").clone()
    }

    pub(super) fn of(&self, event: EventId) -> Vec<Call> {
        self.all().into_iter().filter(|call| call.event == event).collect()
    }

    /// Waits until `enough` holds for the calls of an event.
    pub(super) async fn wait(
        &self,
        event: EventId,
        enough: impl Fn(&[Call]) -> bool,
    ) -> Result<Vec<Call>, Failure> {
        let waiting = async {
            loop {
                let came = self.came.notified();
                let calls = self.of(event);
                if enough(&calls) {
                    return calls;
                }
                came.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .map_err(|_| format!("event {event} did not arrive within a minute: {:?}", self.of(event)).into())
    }
}
