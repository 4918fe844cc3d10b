//! What this relay says of itself, in the database that it relays.

use std::time::Duration;

use outbox_postgres::PostgresBus;
use outbox_runtime::Readiness;
use outbox_transport::process::{Process, Program, Report, Waits, shortened};

/// A shorter wait is normal.
const HALTED_AFTER: Duration = Duration::from_secs(3);

pub(crate) fn process(name: &str, address: Option<String>, routes: Option<&PostgresBus>) -> Process {
    let process = Process::new(Program::Relay, name, env!("CARGO_PKG_VERSION"), address);
    match routes {
        Some(routes) => process.routed_by(routes.router()),
        None => process,
    }
}

/// The readiness is that of the whole process: it may relay other databases, too.
pub(crate) fn now(process: &Process, readiness: &Readiness) -> Process {
    let waits = readiness.halted(HALTED_AFTER).into_iter().map(|halted| Waits {
        part: halted.part,
        reason: shortened(&halted.reason),
        seconds: halted.seconds,
    });
    let report = Report { ready: readiness.is_ready(), waits: waits.collect(), rpcs: Vec::new() };
    Process { report, ..process.clone() }
}
