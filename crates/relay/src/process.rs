//! The report of this relay, in the database that it relays.

use std::time::Duration;

use outbox_postgres::PostgresBus;
use outbox_runtime::Readiness;
use outbox_transport::process::{Process, Program, Report, Waits, shortened};

/// A shorter wait is normal.
const HALTED_AFTER: Duration = Duration::from_secs(3);

pub(crate) fn process(name: &str, address: Option<String>, routes: Option<&PostgresBus>) -> Process {
    let process = Process::new(Program::Relay, name, env!("CARGO_PKG_VERSION"), address)
        .built_from(outbox_revision::known());
    let process = match routes {
        Some(routes) => process.routed_by(routes.router()),
        None => process,
    };
    let router = process.router.clone().unwrap_or_default();
    metrics::gauge!("outbox_process_info", "program" => "relay", "router" => router).set(1.0);
    process
}

/// The process may relay other databases, too. So only the parts of this one count.
pub(crate) fn now(process: &Process, source: &str, readiness: &Readiness) -> Process {
    let halted = readiness.halted(HALTED_AFTER).into_iter().filter(|halted| halted.is_of(source));
    let waits = halted.map(|halted| Waits {
        part: halted.part,
        reason: shortened(&halted.reason),
        seconds: halted.seconds,
    });
    let report =
        Report { ready: readiness.is_ready(Some(source)), waits: waits.collect(), ..Report::default() };
    Process { report, ..process.clone() }
}
