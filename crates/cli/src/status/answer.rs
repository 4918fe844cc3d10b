//! What `outbox status` answers, for people and as JSON.

use std::fmt;

use outbox_postgres::operate::{Behind, Leader, StuckRing, Transaction, UnknownEvent};
use outbox_transport::operate::{At, Count, Depth, SetBrake, Undeliverable};
use outbox_transport::process::Seen;
use serde::Serialize;

use super::forecast::Forecast;
use super::workers::Breaker;
use crate::running::{Differing, Serving};
use crate::safe::line;

const PROBLEM_CHARS_MAX: usize = 2000;

/// The whole answer; the names are stable.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// A count of this value means this many or more.
    pub(super) counted_max: i64,
    pub(super) sources: Vec<SourceStatus>,
    pub(super) rpcs: Vec<RpcStatus>,
    /// Relays and workers, by their reports.
    pub(super) processes: Vec<ProcessStatus>,
    /// Processes whose routes differ from those of most others of their database.
    pub(super) differing: Vec<Differing>,
    /// On aws: the events that EventBridge could not deliver.
    pub(super) undeliverable: Option<Undeliverable>,
    pub(super) problems: Vec<Problem>,
    /// What operators set, and nothing stands still for.
    pub(super) notices: Vec<Problem>,
    /// With `--links`: the address of the console, and what is said of it.
    #[serde(skip)]
    pub(super) console: Option<(String, &'static str)>,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceStatus {
    pub(super) source: String,
    pub(super) leader: Option<Leader>,
    /// `null` under a cursor of another server, as are the waiting events.
    pub(super) lag_seconds: Option<f64>,
    pub(super) waiting_events: Option<Count>,
    pub(super) oldest_event: Option<String>,
    pub(super) put_at: Option<At>,
    pub(super) put_by: Option<String>,
    pub(super) parked: Count,
    /// Whether this role sees the transactions of other roles. If not, the oldest is unknown.
    pub(super) sees_transactions: bool,
    #[serde(skip)]
    pub(super) blind_role: Option<String>,
    pub(super) oldest_transaction: Option<Transaction>,
    pub(super) outbox_bytes: i64,
    /// Whether the cursor is of another server.
    pub(super) restored: bool,
    pub(super) sequences_behind: Vec<Behind>,
    pub(super) rings_stuck: Vec<StuckRing>,
    /// Names of the last day that event_router.yaml does not list.
    pub(super) unknown_events: Vec<UnknownEvent>,
    #[serde(skip)]
    pub(super) known_events: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct RpcStatus {
    pub(super) source: String,
    #[serde(flatten)]
    pub(super) depth: Depth,
    pub(super) breaker: Option<Breaker>,
    /// The reasons, if it is held.
    pub(super) held: Vec<String>,
    pub(super) calls: Option<i64>,
    /// What operators set for it.
    pub(super) pause: Option<SetBrake>,
    pub(super) limit: Option<SetBrake>,
    /// The running workers that serve it.
    pub(super) serving: Serving,
    /// If the rates of the last five minutes stay.
    pub(super) forecast: Forecast,
    /// Whether event_router.yaml has it; unknown without one.
    pub(super) routed: Option<bool>,
    /// With `--links`: its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) console_url: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ProcessStatus {
    /// In one word, as the table has it.
    pub(super) state: &'static str,
    #[serde(flatten)]
    pub(super) seen: Seen,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) problem: String,
    /// Explains or repairs it; `None` if no command of ours does.
    pub(super) command: Option<String>,
    pub(super) remedy: Option<String>,
    /// With `--links`: the page of the console on which it is repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) console_url: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.problem, PROBLEM_CHARS_MAX))?;
        for more in self.command.iter().chain(&self.remedy) {
            write!(f, ": {}", line(more, PROBLEM_CHARS_MAX))?;
        }
        Ok(())
    }
}

impl Problem {
    pub(super) fn command(problem: String, command: String) -> Self {
        Self { problem, command: Some(command), remedy: None, console_url: None }
    }

    pub(super) fn remedy(problem: String, remedy: &str) -> Self {
        Self { problem, command: None, remedy: Some(remedy.to_owned()), console_url: None }
    }

    pub(super) fn both(problem: String, command: String, remedy: &str) -> Self {
        Self { remedy: Some(remedy.to_owned()), ..Self::command(problem, command) }
    }
}
