//! Dead letters: which are meant, what each says, and what became of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;

use super::about::About;
use super::at::At;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    pub rpc: Option<Rpc>,
    pub event: Option<EventId>,
    pub code: Option<String>,
    pub older_than: Option<Duration>,
    /// Letters that were dead at this time. What died at a time that is no date, or is more than a day ahead of the clock, is not
    /// compared.
    pub dead_by: Option<DateTime<Utc>>,
    /// The id as a list shows it.
    pub id: Option<String>,
    pub about: About,
    /// The last ones that died are the first. SQS has no order.
    pub newest_first: bool,
    /// Their bodies are left out, where that saves reading them: not on SQS.
    pub without_bodies: bool,
    /// So many at most, until they are put back.
    pub limit: Option<u32>,
}

#[expect(missing_debug_implementations, reason = "its body is never shown")]
pub struct Letter<H> {
    pub id: String,
    pub handle: H,
    /// The RPC of the queue; the body may name another one.
    pub rpc: Rpc,
    pub event: Option<EventId>,
    pub attempts: Option<i32>,
    pub code: String,
    pub reason: String,
    pub dead_at: At,
    /// Without the payload and the values of headers, if the role may not see them.
    pub body: String,
    pub body_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    Moved,
    /// Another operator or a worker has moved it meanwhile. On SQS also if another client holds it.
    Gone,
    /// It stays: a worker is calling its RPC at this moment, so a past success can't be forgotten.
    Busy,
    /// It stays: the queue refuses it, and may accept others.
    Refused(String),
}

#[expect(missing_debug_implementations, reason = "its body is never shown")]
pub struct Addressed {
    pub event: EventId,
    pub rpc: Rpc,
    pub body: String,
}
