use chrono::{DateTime, Utc};
use serde::Deserialize;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) groups: Vec<Group>,
    pub(crate) letters: i64,
    pub(crate) read_all: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) rpc: String,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) count: i64,
    pub(crate) first_at: Option<DateTime<Utc>>,
    pub(crate) last_at: Option<DateTime<Utc>>,
    pub(crate) sample: String,
    pub(crate) sample_event: Option<String>,
    /// A part of each reason of the group.
    pub(crate) part: Option<String>,
    pub(crate) redrive: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Letter {
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) rpc: String,
    pub(crate) event: Option<String>,
    pub(crate) event_name: Option<String>,
    pub(crate) attempts: Option<i64>,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) dead_at: Option<DateTime<Utc>>,
    pub(crate) key: Option<String>,
    pub(crate) occurred_at: Option<DateTime<Utc>>,
    pub(crate) headers: Vec<String>,
    pub(crate) body_bytes: Option<i64>,
}

/// What a redrive or a drop would move.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Moved {
    pub(crate) found: i64,
    /// Letters that died later are not counted, by the clock that gave them their times.
    pub(crate) dead_by: Option<DateTime<Utc>>,
    pub(crate) done_before: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Parked {
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) cut: bool,
    pub(crate) parked_at: Option<DateTime<Utc>>,
}
