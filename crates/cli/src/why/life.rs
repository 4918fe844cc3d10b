//! What is known of one event, as JSON has it.

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_postgres::operate::{Leader, Outbox, Parked, Putting, Stored, Transaction};
use outbox_transport::operate::{Count, Delivery, State};
use serde::Serialize;

use crate::options::Options;
use crate::stopped::Stopped;

/// Everything known of an event; the names are stable.
#[derive(Debug, Serialize)]
pub(super) struct Life {
    pub(super) id: EventId,
    /// Whether an outbox has it; unknown without a database.
    pub(super) found: Option<bool>,
    pub(super) enqueued: Option<Enqueued>,
    pub(super) put: Option<PutAt>,
    /// Why it is unknown whether it was put.
    pub(super) put_not_known: Option<&'static str>,
    pub(super) waiting: Option<Waiting>,
    pub(super) parked: Option<Parked>,
    pub(super) deliveries: Vec<SourceDelivery>,
    pub(super) nowhere: Option<Nowhere>,
    pub(super) commands: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Enqueued {
    pub(super) source: String,
    #[serde(flatten)]
    pub(super) event: Stored,
}

#[derive(Debug, Serialize)]
pub(super) struct PutAt {
    /// `null` if the time is impossible, because a clock was set.
    pub(super) at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub(super) cursor_at: Option<DateTime<Utc>>,
    pub(super) relay: String,
    /// Older cursors are gone.
    pub(super) or_before: bool,
}

/// It is committed and not put yet.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    pub(super) leader: Option<Leader>,
    pub(super) events_ahead: Count,
    pub(super) lag_seconds: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceDelivery {
    pub(super) source: String,
    #[serde(flatten)]
    pub(super) delivery: Delivery,
}

/// No outbox has it: where it may still be, and why it may be nowhere.
#[derive(Debug, Default, Serialize)]
pub(super) struct Nowhere {
    /// When its id was made.
    pub(super) made_at: Option<DateTime<Utc>>,
    pub(super) sources: Vec<NotIn>,
}

#[derive(Debug, Serialize)]
pub(super) struct NotIn {
    pub(super) source: String,
    pub(super) oldest_event_at: Option<DateTime<Utc>>,
    pub(super) writing_transactions: Vec<Transaction>,
    pub(super) prepared_transactions: Vec<String>,
}

impl Life {
    pub(super) async fn tell(&mut self, outbox: &Outbox, stored: Stored) -> Result<(), Stopped> {
        match outbox.put(&stored).await? {
            Putting::Put(put) => {
                let cursor_at = put.at.known();
                // Nothing is put before it is enqueued.
                let late =
                    |at: &DateTime<Utc>| stored.occurred_at.known().is_none_or(|enqueued| enqueued <= *at);
                let at = cursor_at.filter(late);
                self.put = Some(PutAt { at, cursor_at, relay: put.relay, or_before: put.or_before });
            }
            Putting::NotYet => {
                let cursor = outbox.cursor().await?;
                let (leader, all, ahead) = tokio::try_join!(
                    outbox.leader(),
                    outbox.backlog(&cursor, None),
                    outbox.backlog(&cursor, Some(stored.seq)),
                )?;
                self.waiting = all.zip(ahead).map(|(all, ahead)| Waiting {
                    leader,
                    events_ahead: ahead.events,
                    lag_seconds: all.lag_seconds,
                });
            }
            Putting::NotKnown(why) => self.put_not_known = Some(why),
        }
        self.enqueued = Some(Enqueued { source: outbox.source().to_owned(), event: stored });
        Ok(())
    }

    /// Removes what is without meaning, and adds the commands.
    pub(super) fn settle(&mut self, options: &Options) {
        let id = self.id.to_string();
        // The relay passed it without putting it.
        if self.parked.is_some() {
            (self.put, self.put_not_known) = (None, None);
        }
        // An event that is not put, or that the bus refused, can't be anywhere yet. For an unknown event no delivery is
        // expected.
        let expected = self.put.is_some();
        let unknown = self.found != Some(true);
        self.deliveries.retain(|one| match one.delivery.state {
            State::Absent => expected,
            State::NotReceived => expected || (unknown && self.found.is_none()),
            _ => true,
        });
        if unknown && self.deliveries.iter().any(|one| one.delivery.state != State::NotReceived) {
            self.deliveries.retain(|one| one.delivery.state != State::NotReceived);
        }
        if let Some(parked) = &self.parked {
            let change = if parked.cut { "drop" } else { "retry" };
            self.commands.push(options.command(["parked", change, &id]));
        }
        for SourceDelivery { delivery, .. } in &self.deliveries {
            let rpc = &delivery.rpc;
            match &delivery.state {
                State::Dead { .. } if self.is_done(rpc) => {
                    self.commands.push(options.command(["dlq", "drop", "--event", &id, "--rpc", rpc]));
                }
                State::Dead { .. } => {
                    self.commands.push(options.command(["dlq", "redrive", "--event", &id, "--rpc", rpc]));
                }
                State::Absent => {
                    self.commands.push(options.command(["replay", "--event", &id, "--rpc", rpc, "--run"]));
                }
                _ => {}
            }
        }
        self.commands.dedup();
    }

    pub(super) fn is_done(&self, rpc: &str) -> bool {
        self.deliveries
            .iter()
            .any(|one| one.delivery.rpc == rpc && matches!(one.delivery.state, State::Done { .. }))
    }

    /// Whether no operator is needed.
    pub(super) fn is_well(&self) -> bool {
        let bad = |state: &State| matches!(state, State::Dead { .. } | State::Absent);
        let done = |one: &SourceDelivery| matches!(one.delivery.state, State::Done { .. });
        let known = match self.put_not_known {
            Some(_) => self.deliveries.iter().any(done),
            None => self.found != Some(false) || !self.deliveries.is_empty(),
        };
        known && self.parked.is_none() && !self.deliveries.iter().any(|one| bad(&one.delivery.state))
    }
}
