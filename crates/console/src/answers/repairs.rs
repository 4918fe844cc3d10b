use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    pub(crate) source: String,
    pub(crate) id: String,
    /// As the list of repairs has it.
    pub(crate) state: String,
    /// As the audit has the state.
    pub(crate) outcome: String,
    /// The subcommands of `outbox repair` that still do something with it.
    pub(crate) can: Vec<String>,
    pub(crate) moved: Option<i64>,
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) who: String,
    pub(crate) role: Option<String>,
    pub(crate) command: String,
    pub(crate) result: Option<Value>,
    pub(crate) progress: Option<Progress>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) kind: String,
    pub(crate) rpc: Option<String>,
    pub(crate) reached: i64,
    pub(crate) total: Option<i64>,
    pub(crate) beat_seconds_ago: f64,
    pub(crate) stop_by: Option<String>,
    pub(crate) rate: Option<u32>,
    /// Who asked for that rate, in place of its command.
    pub(crate) rate_by: Option<String>,
    pub(crate) paused_by: Option<String>,
    pub(crate) taken_back: i64,
}

impl Kept {
    /// Who has paused it. It still runs.
    pub(crate) fn paused_by(&self) -> Option<&str> {
        let progress = self.progress.as_ref().filter(|_| self.state == "running")?;
        progress.paused_by.as_deref()
    }

    /// Why it ended before its end.
    pub(crate) fn why_ended(&self) -> Option<&str> {
        let result = self.result.as_ref()?;
        ["failed", "stopped"].iter().find_map(|name| result.get(name)?.as_str()).or(result.as_str())
    }

    pub(crate) fn changed(&self) -> Option<i64> {
        let count = |name: &&str| self.result.as_ref()?.get(*name)?.as_i64();
        self.moved.or_else(|| ["moved", "changed", "sent", "taken_back"].iter().find_map(count))
    }
}

/// What a replay would send.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
    /// False if there are more than were counted.
    pub(crate) counted_all: bool,
    pub(crate) messages: i64,
    pub(crate) done_before: Option<i64>,
    pub(crate) routes: Vec<Planned>,
    pub(crate) not_put: i64,
    pub(crate) parked: i64,
    pub(crate) oldest_event_at: Option<DateTime<Utc>>,
    pub(crate) breakers: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Planned {
    pub(crate) event: String,
    pub(crate) rpc: Option<String>,
    pub(crate) events: i64,
}
