//! The row of this process in `outbox.process`. `docs/decisions/processes.md` has the reasons.

use std::time::{Duration, Instant};

use outbox_runtime::Chain;
use outbox_transport::process::{Process, Store};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Connections, SESSION, Source, within_time};

const EVERY: Duration = Duration::from_secs(5);
/// A row with another key then: under an old snapshot, the former versions of one key stay in the index.
const RENEWED_AFTER: Duration = Duration::from_secs(600);
/// A row that was not written for this long is of a process that was killed.
const KEPT: Duration = Duration::from_secs(600);
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct ProcessRow {
    connections: Connections,
    /// The key, and since when. A write without an answer may have taken effect, so it is kept.
    key: Option<(Uuid, Instant)>,
    /// The key before, until its row is removed.
    former: Option<Uuid>,
    /// Whether rows of others were removed, too, since the key is this one.
    made_room: bool,
}

impl Source {
    /// The row of this process in this database. It has a connection of its own, because those for work may all be busy.
    pub fn process_row(&self, application: &'static str) -> ProcessRow {
        let connections = self.connections(application, &SESSION, 1);
        ProcessRow { connections, key: None, former: None, made_room: false }
    }
}

impl ProcessRow {
    fn key(&mut self, now: Instant) -> Uuid {
        match self.key {
            Some((key, since)) if now.duration_since(since) < RENEWED_AFTER => key,
            former => {
                let key = Uuid::now_v7();
                (self.key, self.former, self.made_room) =
                    (Some((key, now)), former.map(|(key, _)| key), false);
                key
            }
        }
    }
}

impl Store for ProcessRow {
    fn every(&self) -> Duration {
        EVERY
    }

    async fn write(&mut self, process: &Process) -> Result<(), String> {
        let report = serde_json::to_string(&process.report).map_err(|error| error.to_string())?;
        let (key, former, made_room) = (self.key(Instant::now()), self.former, self.made_room);
        let written = async {
            let mut loan = self.connections.lend().await?;
            write(loan.conn(), key, process, &report).await?;
            if !made_room {
                make_room(loan.conn(), former).await?;
            }
            loan.give_back();
            Ok(())
        };
        within_time(WRITTEN_WITHIN, written).await.map_err(|error| Chain(&error).to_string())?;
        (self.former, self.made_room) = (None, true);
        Ok(())
    }

    async fn remove(&mut self) -> Result<(), String> {
        let Some((key, _)) = self.key.take() else { return Ok(()) };
        let removed = async {
            let mut loan = self.connections.lend().await?;
            let remove = sqlx::query("delete from outbox.process where id = $1").bind(key);
            remove.execute(loan.conn()).await?;
            loan.give_back();
            Ok(())
        };
        let removed = within_time(WRITTEN_WITHIN, removed).await;
        self.connections.close().await;
        removed.map_err(|error| Chain(&error).to_string())
    }
}

/// Removes the former row of this process, and rows of processes that were killed.
async fn make_room(conn: &mut PgConnection, former: Option<Uuid>) -> Result<(), sqlx::Error> {
    sqlx::query("delete from outbox.process where id = $1 or seen_at < clock_timestamp() - $2")
        .bind(former)
        .bind(crate::interval(KEPT))
        .execute(conn)
        .await
        .map(|_| ())
}

/// The routes never change, and a report seldom does: values that stay the same are not written again.
async fn write(
    conn: &mut PgConnection,
    key: Uuid,
    process: &Process,
    report: &str,
) -> Result<(), sqlx::Error> {
    let rpcs: Vec<String> = process.rpcs().map(str::to_owned).collect();
    sqlx::query(
        "insert into outbox.process as p
             (id, name, program, version, revision, address, router, routes, rpcs, started_at, every_seconds, report)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, clock_timestamp()), $11, $12)
         on conflict (id) do update
         set seen_at = clock_timestamp(),
             report = case when p.report = excluded.report then p.report else excluded.report end",
    )
    .bind(key)
    .bind(&process.name)
    .bind(process.program.as_str())
    .bind(&process.version)
    .bind(&process.revision)
    .bind(&process.address)
    .bind(&process.router)
    .bind(&process.routes)
    .bind(rpcs)
    .bind(process.started_at.known())
    .bind(EVERY.as_secs_f64())
    .bind(report)
    .execute(conn)
    .await
    .map(|_| ())
}
