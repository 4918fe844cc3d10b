//! The report of this relay, in the database that it relays.

use std::sync::Arc;
use std::time::Duration;

use outbox_event_router::Router;
use outbox_postgres::PostgresBus;
use outbox_runtime::Readiness;
use outbox_transport::process::{Process, Program, Report, Waits, shortened};
use tokio::sync::watch;

/// A shorter wait is normal.
const HALTED_AFTER: Duration = Duration::from_secs(3);

/// What others see of this relay. Its routes are those of the newest file.
pub(crate) struct Shown {
    process: Process,
    newest: Option<watch::Receiver<Arc<Router>>>,
    router: Option<Arc<Router>>,
}

impl Shown {
    pub(crate) fn new(name: &str, address: Option<String>, routes: Option<&PostgresBus>) -> Self {
        let process = Process::new(Program::Relay, name, env!("CARGO_PKG_VERSION"), address)
            .built_from(outbox_revision::known());
        Self { process, newest: routes.map(PostgresBus::newest), router: None }
    }

    /// The process may relay other databases, too. So only the parts of this one count.
    pub(crate) fn now(&mut self, source: &str, readiness: &Readiness) -> Process {
        self.follow();
        let halted = readiness.halted(HALTED_AFTER).into_iter().filter(|halted| halted.is_of(source));
        let waits = halted.map(|halted| Waits {
            part: halted.part,
            reason: shortened(&halted.reason),
            seconds: halted.seconds,
        });
        let report =
            Report { ready: readiness.is_ready(Some(source)), waits: waits.collect(), ..Report::default() };
        Process { report, ..self.process.clone() }
    }

    fn follow(&mut self) {
        let newest = self.newest.as_ref().map(|newest| Arc::clone(&newest.borrow()));
        let is_shown = match (&self.router, &newest) {
            (Some(shown), Some(newest)) => Arc::ptr_eq(shown, newest),
            (None, None) => true,
            _ => false,
        };
        if let (false, Some(newest)) = (is_shown, &newest) {
            self.process = self.process.clone().routed_by(newest);
        }
        self.router = newest;
    }
}
