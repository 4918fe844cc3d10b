use outbox_event_router::Router;
use serde::Serialize;

use super::report::Report;
use crate::operate::At;

/// A file with more routes than this is refused on AWS, and these are enough to find a difference.
const ROUTES_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    Relay,
    Worker,
}

/// One process, by its report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// As in claims and cursors.
    pub name: String,
    pub program: Program,
    pub version: String,
    /// Of the source, if the build knew it.
    pub revision: Option<String>,
    /// Where it serves `/metrics` and `/readyz`.
    pub address: Option<String>,
    /// A hash of its routes and policies; none for a process without an event_router.yaml.
    pub router: Option<String>,
    /// See [`Router::marks`].
    pub routes: Vec<String>,
    pub started_at: At,
    #[serde(flatten)]
    pub report: Report,
}

/// One process, as its store has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    /// The database, or [`SQS`](crate::operate::SQS).
    pub source: String,
    #[serde(flatten)]
    pub process: Process,
    /// How long ago it wrote.
    pub seen_seconds_ago: f64,
    /// After this time without a write it counts as silent.
    pub silent_after_seconds: f64,
}

impl Program {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Worker => "worker",
        }
    }

    /// `None` for a text that is no program of ours.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Relay, Self::Worker].into_iter().find(|program| program.as_str() == text)
    }
}

impl Process {
    /// A process that starts now.
    pub fn new(program: Program, name: &str, version: &str, address: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            program,
            version: version.to_owned(),
            revision: None,
            address,
            router: None,
            routes: Vec::new(),
            started_at: chrono::Utc::now().into(),
            report: Report::default(),
        }
    }

    #[must_use]
    pub fn built_from(mut self, revision: Option<&str>) -> Self {
        self.revision = revision.map(str::to_owned);
        self
    }

    #[must_use]
    pub fn routed_by(mut self, router: &Router) -> Self {
        self.router = Some(router.digest());
        self.routes = router.marks();
        self.routes.truncate(ROUTES_MAX);
        self
    }

    /// The RPCs that it serves: those whose service has an address.
    pub fn rpcs(&self) -> impl Iterator<Item = &str> {
        self.report.rpcs.iter().filter(|rpc| rpc.unaddressed.is_none()).map(|rpc| rpc.rpc.as_str())
    }

    pub fn serves(&self, rpc: &str) -> bool {
        self.program == Program::Worker && self.rpcs().any(|served| served == rpc)
    }
}

impl Seen {
    /// It has not written for longer than a running process would.
    pub fn is_silent(&self) -> bool {
        self.seen_seconds_ago > self.silent_after_seconds
    }
}
