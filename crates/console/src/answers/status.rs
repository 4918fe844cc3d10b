use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::lately::{FiveMinutes, Forecast};
use crate::shown::NOT_KNOWN;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) sources: Vec<Source>,
    pub(crate) rpcs: Vec<Rpc>,
    pub(crate) processes: Vec<Process>,
    /// Processes with other routes than most of their database.
    pub(crate) differing: Vec<Differing>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notices: Vec<Problem>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Differing {
    pub(crate) source: String,
    pub(crate) processes: Vec<String>,
    pub(crate) digest: String,
    pub(crate) usual: String,
    pub(crate) others: i64,
    pub(crate) differences: Vec<String>,
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
    pub(crate) forecast: Forecast,
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
    pub(crate) five_minutes: Option<FiveMinutes>,
    /// None of them makes progress for this RPC.
    pub(crate) stands_still: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) program: String,
    /// In one word.
    pub(crate) state: String,
    pub(crate) version: String,
    pub(crate) address: Option<String>,
    pub(crate) router: Option<String>,
    pub(crate) routes: Vec<String>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) waits: Vec<Waits>,
    pub(crate) rpcs: Vec<RpcReport>,
    pub(crate) seen_seconds_ago: Option<f64>,
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
        self.address.as_deref().map_or(NOT_KNOWN, |address| address.trim_start_matches("http://"))
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.state == "silent"
    }
}

impl Status {
    /// Calls that ended in the last minute, by all workers that are not silent. `None` if no worker reports it.
    pub(crate) fn ended_in_a_minute(&self, rpc: &Rpc) -> Option<i64> {
        let workers = self.processes.iter().filter(|one| one.source == rpc.source && !one.is_silent());
        let reports = workers.flat_map(|worker| worker.rpcs.iter().filter(|report| report.rpc == rpc.rpc));
        reports.map(|report| report.minute.ended).reduce(|all, more| all + more)
    }
}
