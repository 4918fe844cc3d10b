//! The report of this relay, in the database that it relays.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use outbox_event_router::Router;
use outbox_postgres::PostgresBus;
use outbox_runtime::{Halted, Readiness};
use outbox_transport::process::{Process, Program, Report, Shows, Waits, shortened};
use tokio::sync::watch;

/// A shorter wait is normal.
const HALTED_AFTER: Duration = Duration::from_secs(3);

/// What others see of this relay. Its routes are those of the newest file.
pub(crate) struct Shown<'a> {
    source: &'a str,
    readiness: &'a Readiness,
    process: Process,
    newest: Option<watch::Receiver<Arc<Router>>>,
    router: Option<Arc<Router>>,
}

impl<'a> Shown<'a> {
    /// The process may relay other databases, too. So only the parts of this source count.
    pub(crate) fn new(
        (source, readiness): (&'a str, &'a Readiness),
        name: &str,
        address: Option<String>,
        routes: Option<&PostgresBus>,
    ) -> Self {
        let process = Process::new(Program::Relay, name, env!("CARGO_PKG_VERSION"), address)
            .built_from(outbox_revision::known());
        Self { source, readiness, process, newest: routes.map(PostgresBus::newest), router: None }
    }

    fn halted(&self) -> Vec<Halted> {
        self.readiness.halted_of(Some(self.source), HALTED_AFTER)
    }

    fn is_ready(&self) -> bool {
        self.readiness.is_ready(Some(self.source))
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

impl Shows for Shown<'_> {
    fn news(&mut self) -> u64 {
        self.follow();
        let mut news = DefaultHasher::new();
        (self.is_ready(), &self.process.router).hash(&mut news);
        for halted in self.halted() {
            halted.part.hash(&mut news);
        }
        news.finish()
    }

    fn now(&mut self) -> Process {
        self.follow();
        let waits = self.halted().into_iter().map(|halted| Waits {
            part: halted.part,
            reason: shortened(&halted.reason),
            seconds: halted.seconds,
        });
        let report = Report { ready: self.is_ready(), waits: waits.collect(), ..Report::default() };
        Process { report, ..self.process.clone() }
    }
}
