//! The row of this process in `outbox.process`. `docs/decisions/processes.md` has the reasons.

use std::time::{Duration, Instant};

use outbox_runtime::Chain;
use outbox_transport::process::{Process, Report, Store};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::beside::{Beside, Statements};
use crate::{SESSION, Source};

const EVERY: Duration = Duration::from_secs(5);
/// A row with another key then: under an old snapshot, the former versions of one key stay in the index.
const RENEWED_AFTER: Duration = Duration::from_secs(600);
/// A row that was not written for this long is of a process that was killed.
const KEPT: Duration = Duration::from_secs(600);
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
/// Under an old snapshot each report that was written takes its space. Numbers change all the time under load.
const NUMBERS_BYTES_PER_SECOND: f64 = 250.0;
const NUMBERS_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct ProcessRow {
    beside: Beside,
    /// The key, and since when. A write without an answer may have taken effect, so it is kept.
    key: Option<(Uuid, Instant)>,
    /// The key before, until its row is removed.
    former: Option<Uuid>,
    /// Whether rows of others were removed, too, since the key is this one.
    made_room: bool,
    reported: Option<Reported>,
}

/// The report as it was written last.
#[derive(Debug)]
struct Reported {
    report: Report,
    text: String,
    at: Instant,
}

impl Reported {
    /// While a part waits, its time and its reason must be recent.
    fn is_outdated(&self, report: &Report, now: Instant) -> bool {
        let lasts = Duration::from_secs_f64(self.text.len() as f64 / NUMBERS_BYTES_PER_SECOND);
        let may_change = !report.waits.is_empty() || now.duration_since(self.at) >= lasts.min(NUMBERS_WITHIN);
        report.is_news_after(&self.report) || (may_change && *report != self.report)
    }
}

impl Source {
    /// The row of this process in this database, over a connection of its own.
    pub fn process_row(&self, application: &'static str) -> ProcessRow {
        ProcessRow::beside(Beside::of(self.connections(application, &SESSION, 1)))
    }
}

impl ProcessRow {
    /// Not over the connections for work, which may all be busy.
    pub fn beside(beside: Beside) -> Self {
        Self { beside, key: None, former: None, made_room: false, reported: None }
    }

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

    async fn convenient(&self) {
        self.beside.opened().await;
    }

    async fn write(&mut self, process: &Process) -> Result<(), String> {
        let now = Instant::now();
        if self.reported.as_ref().is_none_or(|reported| reported.is_outdated(&process.report, now)) {
            let text = serde_json::to_string(&process.report).map_err(|error| error.to_string())?;
            self.reported = Some(Reported { report: process.report.clone(), text, at: now });
        }
        let (key, former, made_room) = (self.key(now), self.former, self.made_room);
        let report = self.reported.as_ref().map_or("", |reported| reported.text.as_str());
        let row = Row { key, former, made_room, process, report };
        self.beside.run(WRITTEN_WITHIN, &row).await.map_err(|error| Chain(&error).to_string())?;
        (self.former, self.made_room) = (None, true);
        Ok(())
    }

    async fn remove(&mut self) -> Result<(), String> {
        let Some((key, _)) = self.key.take() else { return Ok(()) };
        let removed = self.beside.run(WRITTEN_WITHIN, &Removed(key)).await;
        self.beside.close().await;
        removed.map_err(|error| Chain(&error).to_string())
    }
}

struct Row<'a> {
    key: Uuid,
    former: Option<Uuid>,
    made_room: bool,
    process: &'a Process,
    report: &'a str,
}

impl Statements for Row<'_> {
    type Answer = ();

    async fn run(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        write(conn, self.key, self.process, self.report).await?;
        if self.made_room { Ok(()) } else { make_room(conn, self.former).await }
    }
}

struct Removed(Uuid);

impl Statements for Removed {
    type Answer = ();

    async fn run(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("delete from outbox.process where id = $1").bind(self.0).execute(conn).await.map(|_| ())
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

/// The routes change only with a reload, and a report seldom does: values that stay the same are not written again.
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
             router = excluded.router,
             routes = case when p.routes = excluded.routes then p.routes else excluded.routes end,
             rpcs = case when p.rpcs = excluded.rpcs then p.rpcs else excluded.rpcs end,
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

#[cfg(test)]
mod tests {
    use outbox_transport::process::{Breaker, RpcReport, Waits};

    use super::*;

    /// Guards promise 7: changed numbers of a large report are written seldom. News is written at once, and so is what changes
    /// while a part waits.
    #[test]
    fn a_large_report_is_written_seldom() {
        let of = |calls, breaker, waits: Vec<Waits>| {
            let rpc = RpcReport { rpc: "A/B".into(), calls, breaker, ..RpcReport::default() };
            Report { ready: true, waits, rpcs: vec![rpc], ..Report::default() }
        };
        let waits = |reason: &str| vec![Waits { reason: reason.into(), ..Waits::default() }];
        let start = Instant::now();
        let reported = |bytes, report| Reported { report, text: "x".repeat(bytes), at: start };
        let (quiet, busy) = (of(0, Breaker::Closed, vec![]), of(3, Breaker::Closed, vec![]));
        for (before, bytes, after, seconds, is_outdated) in [
            (&quiet, 900, &quiet, 3000, false),
            (&quiet, 900, &busy, 3, false),
            (&quiet, 900, &busy, 4, true),
            (&quiet, 5000, &busy, 19, false),
            (&quiet, 5000, &busy, 20, true),
            (&quiet, 90_000, &busy, 59, false),
            (&quiet, 90_000, &busy, 60, true),
            (&quiet, 90_000, &of(0, Breaker::Away, vec![]), 1, true),
            (&of(0, Breaker::Closed, waits("3 s")), 90_000, &of(0, Breaker::Closed, waits("8 s")), 5, true),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(
                reported(bytes, before.clone()).is_outdated(after, now),
                is_outdated,
                "{bytes} bytes, {seconds} s, {after:?}"
            );
        }
    }
}
