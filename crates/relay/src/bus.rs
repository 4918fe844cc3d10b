//! Where events go. The relay knows no more of a bus than this.

#[cfg(feature = "aws")]
mod eventbridge;
mod postgres;

#[cfg(feature = "aws")]
pub use eventbridge::EventBridge;
pub use postgres::PostgresBus;

use std::collections::BTreeSet;

use event::{Envelope, Headers};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::outbox::Entry;

/// How much one call of [`Bus::put`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub entries_max: usize,
    pub bytes_max: usize,
    pub concurrency: usize,
    /// All of a put or nothing takes effect: entries of one key may share it without overtaking each other.
    pub atomic: bool,
}

/// A bus: it takes entries, and says of each what became of it.
pub trait Bus: Send + Sync {
    fn limits(&self) -> Limits;

    /// Called at the start of a leader's term.
    fn begin(&mut self, conn: &mut PgConnection) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Puts entries; one result per entry, in their order.
    fn put(&self, entries: &[&Entry]) -> impl Future<Output = Vec<Result<(), PutError>>> + Send;

    /// How many copies of an event [`Bus::deliveries`] writes into this database: they bound a page as its bytes do.
    fn copies(&self, _name: &str) -> usize {
        0
    }

    /// What belongs into this database's queues, in the very transaction that advances the cursor past these entries.
    /// Nothing, for a bus that is elsewhere.
    fn deliveries(&self, _acked: &[&Entry]) -> Deliveries {
        Deliveries::default()
    }
}

/// Deliveries to be, column by column. An envelope stands here once, however many subscribers its event has.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Of each event.
    pub events: Vec<Uuid>,
    pub envelopes: Vec<String>,
    /// Where its subscribers begin and end in the two columns below; from 1, and with both ends.
    pub first: Vec<i32>,
    pub last: Vec<i32>,
    /// Of each subscriber.
    pub queues: Vec<i32>,
    pub rpcs: Vec<String>,
}

impl Deliveries {
    /// Each queue once.
    pub(crate) fn woken(&self) -> Vec<i32> {
        self.queues.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Why the bus did not take an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// It takes nothing now, or not so much: that says nothing of the entry, which waits however long it takes.
    #[error("{code}: {reason}")]
    Unavailable { code: String, reason: String },
    /// It failed at this entry. It may take it later; if it goes on taking others and not this one, it never will.
    #[error("{code}: {reason}")]
    Failed { code: String, reason: String },
    /// It never will: the entry is parked, and everyone else goes on.
    #[error("{code}: {reason}")]
    Refused { code: String, reason: String },
}

impl PutError {
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Unavailable { code, .. } | Self::Failed { code, .. } | Self::Refused { code, .. } => code,
        }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unavailable { reason, .. } | Self::Failed { reason, .. } | Self::Refused { reason, .. } => {
                reason
            }
        }
    }
}

/// The entry as it travels, or why it can't: rows written past `outbox.enqueue` may hold anything.
fn envelope(entry: &Entry) -> Result<Envelope<'_>, PutError> {
    let refuse = |code: &str, reason: String| PutError::Refused { code: code.to_owned(), reason };
    if let Some((code, reason)) = entry.flaw {
        return Err(refuse(code, reason.to_owned()));
    }
    let payload: &RawValue = serde_json::from_str(&entry.payload).map_err(|error| {
        refuse(
            "MalformedDetail",
            format!("the payload is not JSON (line {} column {})", error.line(), error.column()),
        )
    })?;
    if !payload.get().starts_with('{') {
        return Err(refuse("MalformedDetail", "the payload is not a JSON object".to_owned()));
    }
    let headers: Headers = match &entry.headers {
        None => Headers::new(),
        Some(text) => serde_json::from_str(text).map_err(|_| {
            refuse("MalformedDetail", "the headers are not a JSON object of texts".to_owned())
        })?,
    };
    Ok(Envelope {
        id: entry.id,
        name: entry.name.as_str().into(),
        key: entry.key.as_deref().map(Into::into),
        occurred_at: entry.occurred_at,
        headers,
        payload,
    })
}
