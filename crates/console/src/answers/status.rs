use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) sources: Vec<Source>,
    pub(crate) rpcs: Vec<Rpc>,
    pub(crate) processes: Vec<Process>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notices: Vec<Problem>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    pub(crate) problem: String,
    pub(crate) command: Option<String>,
    pub(crate) remedy: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    pub(crate) source: String,
    pub(crate) leader: Option<Leader>,
    pub(crate) lag_seconds: Option<f64>,
    pub(crate) waiting_events: Option<i64>,
    pub(crate) parked: Option<i64>,
    pub(crate) sees_transactions: bool,
    pub(crate) oldest_transaction: Option<Transaction>,
    pub(crate) outbox_bytes: Option<i64>,
    pub(crate) restored: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Leader {
    pub(crate) application: String,
    pub(crate) pid: i32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Transaction {
    pub(crate) pid: i32,
    pub(crate) application: String,
    pub(crate) age_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Rpc {
    pub(crate) source: String,
    pub(crate) rpc: String,
    pub(crate) waiting: Option<i64>,
    pub(crate) hidden: Option<i64>,
    pub(crate) retrying: Option<i64>,
    pub(crate) dead: Option<i64>,
    pub(crate) oldest_seconds: Option<f64>,
    pub(crate) oldest_event: Option<String>,
    pub(crate) missing: Option<String>,
    pub(crate) breaker: Option<String>,
    pub(crate) held: Vec<String>,
    pub(crate) pause: Option<Brake>,
    pub(crate) limit: Option<Brake>,
    pub(crate) serving: Serving,
    pub(crate) routed: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Brake {
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) who: String,
    pub(crate) why: String,
    pub(crate) concurrency: Option<i64>,
    pub(crate) rate_per_second: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Serving {
    pub(crate) workers: i64,
    pub(crate) calls: i64,
    pub(crate) calls_max: i64,
    pub(crate) mean_seconds: f64,
    pub(crate) longest_seconds: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) program: String,
    pub(crate) version: String,
    pub(crate) address: Option<String>,
    pub(crate) router: Option<String>,
    pub(crate) routes: Vec<String>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) ready: bool,
    pub(crate) waits: Vec<Waits>,
    pub(crate) rpcs: Vec<RpcReport>,
    pub(crate) seen_seconds_ago: Option<f64>,
    pub(crate) silent_after_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Waits {
    pub(crate) part: String,
    pub(crate) reason: String,
    pub(crate) seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct RpcReport {
    pub(crate) rpc: String,
    pub(crate) breaker: String,
    pub(crate) breaker_since: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<LastError>,
    pub(crate) calls: i64,
    pub(crate) calls_max: i64,
    pub(crate) minute: Minute,
    pub(crate) set_aside: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct LastError {
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Minute {
    pub(crate) ended: i64,
    pub(crate) mean_seconds: f64,
}

impl Process {
    /// Where it serves its metrics: host and port.
    pub(crate) fn address(&self) -> &str {
        self.address.as_deref().map_or("not known", |address| address.trim_start_matches("http://"))
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.seen_seconds_ago.zip(self.silent_after_seconds).is_some_and(|(ago, after)| ago > after)
    }
}

/// A part that waits for longer is no longer busy, as `outbox status` has it.
const HALTED_SECONDS: f64 = 8.0;

impl Status {
    /// Whether as many workers make no progress for this RPC as serve it.
    pub(crate) fn stands_still(&self, rpc: &Rpc) -> bool {
        let part = format!("{} {}", rpc.source, rpc.rpc);
        let is_halted = |waits: &Waits| {
            waits.part == part && waits.seconds.is_none_or(|seconds| seconds >= HALTED_SECONDS)
        };
        let workers = self.processes.iter().filter(|one| one.program == "worker" && !one.is_silent());
        let halted = workers.filter(|worker| worker.waits.iter().any(is_halted)).count();
        halted > 0 && halted as i64 >= rpc.serving.workers
    }

    /// Calls that ended in the last minute, by all workers that are not silent. `None` if no worker reports it.
    pub(crate) fn ended_in_a_minute(&self, rpc: &Rpc) -> Option<i64> {
        let workers = self.processes.iter().filter(|one| one.source == rpc.source && !one.is_silent());
        let reports = workers.flat_map(|worker| worker.rpcs.iter().filter(|report| report.rpc == rpc.rpc));
        reports.map(|report| report.minute.ended).reduce(|all, more| all + more)
    }
}
