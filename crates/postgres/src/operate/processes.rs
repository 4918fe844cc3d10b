//! The rows of relays and workers.

use outbox_transport::operate::{At, OperateError, Processes};
use outbox_transport::process::{Process, Program, Report, Seen};
use sqlx::query_as;

use crate::from_row::from_row;
use crate::operate::database::Database;
use crate::operate::queues::PostgresOperator;

/// Any role of a relay or worker can write rows.
const PROCESSES_MAX: i64 = 500;

struct Row {
    name: String,
    program: String,
    version: String,
    revision: Option<String>,
    address: Option<String>,
    router: Option<String>,
    routes: Vec<String>,
    started_at: At,
    every: f64,
    report: String,
    ago: f64,
}

from_row!(Row { name, program, version, revision, address, router, routes, started_at, every, report, ago });

impl Database {
    /// Relays and workers that wrote here, by name. Those that were killed some time ago are among them.
    pub async fn processes(&self) -> Result<Vec<Seen>, OperateError> {
        let look = query_as(
            "select name, program, version, revision, address, router, routes, started_at, every_seconds as every, report,
                    extract(epoch from clock_timestamp() - outbox.sane_time(seen_at))::float8 as ago
             from outbox.process order by seen_at desc limit $1",
        );
        let rows: Vec<Row> = self.all(look.bind(PROCESSES_MAX)).await?;
        let mut seen: Vec<Seen> = rows.into_iter().filter_map(|row| self.seen(row)).collect();
        seen.sort_by(|one, other| {
            (one.process.program, &one.process.name).cmp(&(other.process.program, &other.process.name))
        });
        Ok(seen)
    }

    fn seen(&self, row: Row) -> Option<Seen> {
        let Row { name, program, version, revision, address, router, routes, started_at, every, report, ago } =
            row;
        let (program, report) = (Program::parse(&program)?, Report::read(&report));
        Some(Seen {
            source: self.name().to_owned(),
            process: Process {
                name,
                program,
                version,
                revision,
                address,
                router,
                routes,
                started_at,
                report,
            },
            seen_seconds_ago: ago,
            silent_after_seconds: 1.8 * every,
        })
    }
}

impl Processes for PostgresOperator {
    async fn processes(&self) -> Result<Vec<Seen>, OperateError> {
        self.database.processes().await
    }
}
