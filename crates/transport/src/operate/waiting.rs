//! What is in the queues, and what an operator does with it. SQS can't list a queue: there each of these is a failure that says
//! what to use instead.

use outbox_event::EventId;
use outbox_event_router::Rpc;
use serde::Serialize;

use super::Repair;
use super::about::About;
use super::at::At;
use super::error::OperateError;

/// So many messages are looked at for one answer; what lies beyond is not counted.
pub const LOOKED_AT_MAX: usize = 100_000;

/// What a transport is able to do with what is in a queue.
pub trait Able {
    /// Why it can't do this, and what to use instead.
    fn refusal(&self, hand: Hand) -> Option<OperateError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    List,
    RetryNow,
    GiveUp,
    Move,
    Drop,
}

/// Single messages of a queue.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Waiting {
    /// The RPCs that have a queue, with or without a route.
    async fn queues(&self) -> Result<Vec<Rpc>, OperateError>;

    /// The next messages of a queue, in the order in which they came. None at the end.
    async fn look(&self, look: &Look, after: Option<Spot>) -> Result<Vec<InQueue>, OperateError>;

    /// Those that wait for their next attempt are due now. Returns how many that was.
    async fn retry_now(&self, repair: &Repair, rpc: &Rpc, those: &[Spot]) -> Result<u64, OperateError>;

    /// They become dead letters now, unless a worker calls them. Returns how many.
    async fn give_up(
        &self,
        repair: &Repair,
        rpc: &Rpc,
        those: &[Spot],
        reason: &str,
    ) -> Result<u64, OperateError>;
}

/// Whole queues, of RPCs that got another name or were taken away.
#[expect(async_fn_in_trait, reason = "only the command asks, in one task")]
pub trait Retire {
    /// Moves some messages to another RPC's queue, with their attempts. What the one has done is done at the other. Returns how
    /// many that was, and whether there are more.
    async fn move_some(
        &self,
        repair: &Repair,
        from: &Rpc,
        to: &Rpc,
        part: Part,
    ) -> Result<(u64, bool), OperateError>;

    /// Copies some of the dedup record to another RPC's. Returns how much that was, and where to go on.
    async fn carry(
        &self,
        repair: &Repair,
        from: &Rpc,
        to: &Rpc,
        after: Carried,
    ) -> Result<(u64, Option<Carried>), OperateError>;

    /// Drops some messages and dead letters of a queue for good. Returns how many that was: none at the end.
    async fn drop_some(&self, repair: &Repair, rpc: &Rpc) -> Result<u64, OperateError>;

    /// Removes an empty queue. `false` if something is left in it.
    async fn remove(&self, repair: &Repair, rpc: &Rpc) -> Result<bool, OperateError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What waits or is retried.
    Live,
    Dead,
}

/// How far a dedup record is copied: a slot, and an id in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    pub slot: i16,
    pub after: Option<EventId>,
}

/// Which messages of which queue are looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub rpc: Rpc,
    /// What a worker may receive now.
    pub due: bool,
    /// What waits for its next attempt.
    pub later: bool,
    pub calling: bool,
    /// The newest first.
    pub newest: bool,
    /// The header whose value is read.
    pub header: Option<String>,
}

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    pub seq: i64,
    pub event: EventId,
    /// In the log, without a row of its own.
    pub logged: bool,
}

/// A message, without its payload; the names are stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InQueue {
    pub rpc: String,
    pub event: EventId,
    /// Unknown if the body is malformed.
    pub event_name: Option<String>,
    pub key: Option<String>,
    #[serde(skip)]
    pub header: Option<String>,
    pub state: Stage,
    /// When it came into the queue, or was redriven or replayed.
    pub since: At,
    pub attempts: i32,
    /// Of the last attempt, or why it waits.
    pub code: Option<String>,
    pub reason: Option<String>,
    pub due_at: Option<At>,
    pub worker: Option<String>,
    #[serde(skip)]
    pub spot: Spot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Waiting,
    Retrying,
    /// Its RPC refuses different events alike.
    Held,
    Calling,
}

/// Which of the messages that were looked at are meant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Which {
    pub stage: Option<Stage>,
    pub event: Option<EventId>,
    pub code: Option<String>,
    pub about: About,
}

impl Which {
    pub fn fits(&self, one: &InQueue) -> bool {
        let reason = || one.reason.as_deref().unwrap_or_default();
        self.stage.is_none_or(|stage| stage == one.state)
            && self.event.is_none_or(|event| event == one.event)
            && self.code.as_ref().is_none_or(|code| one.code.as_ref() == Some(code))
            && self.about.reason.as_deref().is_none_or(|part| reason().contains(part))
            && self.about.fits_event(one.event_name.as_deref(), one.key.as_deref(), one.header.as_deref())
    }
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::Calling => "calling",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: a message is meant if every condition holds.
    #[test]
    fn a_message_fits_all_conditions_or_is_not_meant() {
        let event = EventId::new();
        let one = InQueue {
            rpc: "A/B".to_owned(),
            event,
            event_name: Some("event_one".to_owned()),
            key: Some("k-1".to_owned()),
            header: Some("t-9".to_owned()),
            state: Stage::Retrying,
            since: chrono::Utc::now().into(),
            attempts: 3,
            code: Some("unavailable".to_owned()),
            reason: Some("down for the night".to_owned()),
            due_at: None,
            worker: None,
            spot: Spot { seq: 1, event, logged: false },
        };
        let text = |text: &str| Some(text.to_owned());
        let about = |about| Which { about, ..Which::default() };
        for (which, fits) in [
            (Which::default(), true),
            (Which { stage: Some(Stage::Retrying), ..Which::default() }, true),
            (Which { stage: Some(Stage::Held), ..Which::default() }, false),
            (Which { event: Some(event), ..Which::default() }, true),
            (Which { event: Some(EventId::new()), ..Which::default() }, false),
            (Which { code: text("unavailable"), ..Which::default() }, true),
            (Which { code: text("unavail"), ..Which::default() }, false),
            (about(About { key: text("k-1"), ..About::default() }), true),
            (about(About { key: text("k-2"), ..About::default() }), false),
            (about(About { name: text("event_two"), ..About::default() }), false),
            (about(About { header: Some(("tenant".into(), "t-9".into())), ..About::default() }), true),
            (about(About { header: Some(("tenant".into(), "t-8".into())), ..About::default() }), false),
            (about(About { reason: text("night"), ..About::default() }), true),
            (about(About { reason: text("day"), ..About::default() }), false),
        ] {
            assert_eq!(which.fits(&one), fits, "{which:?}");
        }
    }
}
