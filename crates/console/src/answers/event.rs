use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::dead::Parked;
use super::status::Transaction;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Life {
    pub(crate) id: String,
    pub(crate) found: Option<bool>,
    pub(crate) enqueued: Option<Enqueued>,
    pub(crate) put: Option<Put>,
    pub(crate) put_not_known: Option<String>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) parked: Option<Parked>,
    pub(crate) dropped: Option<Dropped>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) history: Vec<Past>,
    pub(crate) unlisted: Option<String>,
    pub(crate) nowhere: Option<Nowhere>,
    pub(crate) commands: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Enqueued {
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) payload_bytes: Option<i64>,
    pub(crate) occurred_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Put {
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) before: Option<DateTime<Utc>>,
    pub(crate) relay: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Waiting {
    pub(crate) events_ahead: Option<i64>,
    pub(crate) lag_seconds: Option<f64>,
    pub(crate) causes: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Dropped {
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) by: String,
}

/// Where it may still be, and why it may be in no outbox.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Nowhere {
    pub(crate) made_at: Option<DateTime<Utc>>,
    pub(crate) sources: Vec<NotIn>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct NotIn {
    pub(crate) source: String,
    pub(crate) oldest_event_at: Option<DateTime<Utc>>,
    /// Whether this role sees when those of others began.
    pub(crate) sees_transactions: bool,
    pub(crate) writing_transactions: Vec<Transaction>,
    pub(crate) prepared_transactions: Vec<String>,
}

/// At one subscriber. Which fields it has depends on its state.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Delivery {
    pub(crate) rpc: String,
    pub(crate) state: String,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) ahead: Option<i64>,
    pub(crate) why: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) attempt: Option<i64>,
    pub(crate) attempts: Option<i64>,
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) by: Option<String>,
    pub(crate) causes: Vec<String>,
}

/// A failed attempt or a repair.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Past {
    pub(crate) rpc: Option<String>,
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) what: String,
    pub(crate) attempt: Option<i64>,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) by: Option<String>,
    pub(crate) entries: Option<i64>,
}

/// By key, name or header.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Searched {
    /// The newest first.
    pub(crate) events: Vec<Found>,
    /// There are more than were asked for.
    pub(crate) more: bool,
    /// Everything in that time was searched.
    pub(crate) whole: bool,
    /// Without it, only dead letters were.
    pub(crate) outbox_searched: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Found {
    pub(crate) source: String,
    pub(crate) event: String,
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) occurred_at: Option<DateTime<Utc>>,
    pub(crate) parked: bool,
    pub(crate) dead: Vec<String>,
}

/// How many messages a change of a queue would be about.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Meant {
    pub(crate) found: i64,
    /// Not all of the queue was looked at.
    pub(crate) more: bool,
}

/// In a queue.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Queued {
    pub(crate) event: String,
    pub(crate) event_name: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) attempts: i64,
    pub(crate) code: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) due_at: Option<DateTime<Utc>>,
}
