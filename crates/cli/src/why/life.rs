//! What is known of one event, as JSON has it.

use chrono::{DateTime, TimeDelta, Utc};
use outbox_event::EventId;
use outbox_postgres::operate::{Dropped, Leader, Outbox, Parked, Putting, Stored, Transaction};
use outbox_transport::operate::{At, Count, Delivery, Past, State};
use serde::{Serialize, Serializer};

use crate::options::Options;
use crate::running::Serving;
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
    /// It was parked, and an operator dropped it.
    pub(super) dropped: Option<Dropped>,
    pub(super) deliveries: Vec<SourceDelivery>,
    /// Failed attempts and repairs, oldest first.
    pub(super) history: Vec<Past>,
    /// Whether its deliveries are on SQS.
    #[serde(skip)]
    pub(super) on_sqs: bool,
    /// Why no RPC gets it, if event_router.yaml does not list its name.
    pub(super) unlisted: Option<String>,
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
    /// `null` if older cursors are gone, or if the time is impossible, because a clock was set.
    pub(super) at: Option<DateTime<Utc>>,
    /// If older cursors are gone: some time after it was put.
    pub(super) before: Option<DateTime<Utc>>,
    /// `null` if older cursors are gone.
    pub(super) relay: Option<String>,
    /// Its deliveries were written between these times.
    #[serde(skip)]
    pub(super) between: (DateTime<Utc>, DateTime<Utc>),
}

/// It is committed and not put yet.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    pub(super) leader: Option<Leader>,
    pub(super) events_ahead: Count,
    pub(super) lag_seconds: f64,
    /// Relays that make no progress, or silent ones if no relay runs.
    pub(super) causes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceDelivery {
    pub(super) source: String,
    /// Whether event_router.yaml has the RPC; unknown without one.
    pub(super) routed: Option<bool>,
    #[serde(flatten)]
    pub(super) delivery: Delivery,
    /// Why it may wait, by the reports of the running workers.
    pub(super) causes: Vec<String>,
    /// Whether it waits, and no running worker serves its RPC.
    pub(super) unserved: bool,
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
    /// Those that may contain it.
    pub(super) writing_transactions: Vec<Transaction>,
    pub(super) prepared_transactions: Vec<String>,
    /// Whether other transactions are open, which can't contain it.
    pub(super) others_open: bool,
    /// This role, if it does not see when transactions of other roles began. In JSON: whether it sees that.
    #[serde(rename = "sees_transactions", serialize_with = "is_none")]
    pub(super) blind_role: Option<String>,
}

fn is_none<S: Serializer>(one: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(one.is_none())
}

/// How much the clock that made an id may differ from the database's.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(10);

impl NotIn {
    /// Keeps transactions that began before the id was made, or at an unknown time, and those that were prepared after it.
    pub(super) fn keep_possible(&mut self, made_at: Option<DateTime<Utc>>, prepared: Vec<(String, At)>) {
        let all = self.writing_transactions.len() + prepared.len();
        let known = |at: At| at.known().zip(made_at);
        self.writing_transactions.retain(|transaction| {
            let times = transaction.began_at.and_then(known);
            times.is_none_or(|(began, made)| began <= made + CLOCKS_DIFFER)
        });
        let possible = prepared
            .into_iter()
            .filter(|(_, at)| known(*at).is_none_or(|(at, made)| at >= made - CLOCKS_DIFFER));
        self.prepared_transactions = possible.map(|(gid, _)| gid).collect();
        self.others_open = self.writing_transactions.len() + self.prepared_transactions.len() < all;
    }
}

impl Life {
    pub(super) async fn tell(&mut self, outbox: &Outbox, stored: Stored) -> Result<(), Stopped> {
        match outbox.put(&stored).await? {
            Putting::Put(put) => {
                let (cursor_at, enqueued) = (put.at.known(), stored.occurred_at.known());
                // Nothing is put before it is enqueued.
                let at = cursor_at.filter(|at| enqueued.is_none_or(|enqueued| enqueued <= *at));
                let last = cursor_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
                self.put = Some(match put.or_before || cursor_at.is_none() {
                    true => PutAt {
                        at: None,
                        before: at,
                        relay: (!put.or_before).then_some(put.relay),
                        between: (enqueued.unwrap_or(DateTime::<Utc>::MIN_UTC).min(last), last),
                    },
                    false => PutAt { at, before: None, relay: Some(put.relay), between: (last, last) },
                });
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
                    causes: Vec::new(),
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
        if self.parked.is_some() || self.dropped.is_some() {
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
        self.narrow_put();
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

    /// Nothing becomes of a delivery before it is put.
    fn narrow_put(&mut self) {
        let enqueued = self.enqueued.as_ref().and_then(|enqueued| enqueued.event.occurred_at.known());
        let Some(PutAt { before: Some(before), .. }) = &mut self.put else { return };
        for SourceDelivery { delivery, .. } in &self.deliveries {
            let at = match delivery.state {
                State::Queued { since, .. } => Some(since),
                State::Failed { at, .. } | State::Dropped { at, .. } => Some(at),
                State::Done { at } | State::Dead { at, .. } => at,
                _ => None,
            };
            if let Some(at) = at.and_then(At::known).filter(|at| enqueued.is_none_or(|first| first <= *at)) {
                *before = at.min(*before);
            }
        }
    }

    pub(super) fn is_done(&self, rpc: &str) -> bool {
        self.deliveries
            .iter()
            .any(|one| one.delivery.rpc == rpc && matches!(one.delivery.state, State::Done { .. }))
    }

    /// Whether no operator is needed.
    pub(super) fn is_well(&self) -> bool {
        let bad = |one: &SourceDelivery| {
            one.is_stranded()
                || one.unserved
                || matches!(one.delivery.state, State::Dead { .. } | State::Absent)
        };
        let done = |one: &SourceDelivery| matches!(one.delivery.state, State::Done { .. });
        let known = match self.put_not_known {
            Some(_) => self.deliveries.iter().any(done),
            None => self.found != Some(false) || !self.deliveries.is_empty(),
        };
        known && self.parked.is_none() && !self.deliveries.iter().any(bad)
    }
}

impl SourceDelivery {
    pub(super) fn new(
        source: &str,
        routed: Option<bool>,
        delivery: Delivery,
        serving: &Serving,
        paused: Option<String>,
    ) -> Self {
        let waits =
            matches!(delivery.state, State::Queued { .. } | State::Failed { .. } | State::NotReceived);
        Self {
            source: source.to_owned(),
            routed,
            causes: if waits { paused.into_iter().chain(serving.causes()).collect() } else { Vec::new() },
            unserved: serving.workers == 0 && matches!(delivery.state, State::Queued { .. }),
            delivery,
        }
    }

    /// Whether it waits in a queue that event_router.yaml lacks.
    pub(super) fn is_stranded(&self) -> bool {
        let waits = matches!(
            self.delivery.state,
            State::Queued { .. } | State::Abandoned { .. } | State::Failed { .. }
        );
        waits && self.routed == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: an event can only be in a transaction that began before its id was made, in one whose beginning is
    /// not visible, and in one that was prepared after it.
    #[test]
    fn only_possible_transactions_are_kept() {
        let made: DateTime<Utc> = "2026-11-26T06:00:00Z".parse().unwrap();
        let at = |seconds| made + TimeDelta::seconds(seconds);
        for (made_at, begun, prepared, kept, kept_prepared, others) in [
            (Some(made), vec![Some(-60), Some(0), Some(9)], vec![0, 60, -9], 3, 3, false),
            (Some(made), vec![Some(-60), Some(11), Some(100)], vec![-11], 1, 0, true),
            (Some(made), vec![None, Some(100)], vec![], 1, 0, true),
            (Some(made), vec![], vec![], 0, 0, false),
            (None, vec![Some(-60), Some(100), None], vec![-60, 60], 3, 2, false),
        ] {
            let transaction = |seconds: Option<i64>| Transaction {
                pid: 1,
                application: String::new(),
                user: None,
                state: None,
                began_at: seconds.map(|seconds| at(seconds).into()),
                age_seconds: None,
                last_statement_at: None,
                writes: true,
            };
            let mut not_in = NotIn {
                source: "cards".to_owned(),
                oldest_event_at: None,
                writing_transactions: begun.iter().copied().map(transaction).collect(),
                prepared_transactions: Vec::new(),
                others_open: false,
                blind_role: None,
            };
            let gids = prepared.iter().map(|seconds| (seconds.to_string(), at(*seconds).into()));
            not_in.keep_possible(made_at, gids.collect());
            let said =
                (not_in.writing_transactions.len(), not_in.prepared_transactions.len(), not_in.others_open);
            assert_eq!(said, (kept, kept_prepared, others), "{made_at:?} {begun:?} {prepared:?}");
        }
    }

    /// Guards promise 8: JSON says whether this role sees the transactions of others, and not which role it is.
    #[test]
    fn a_blind_role_is_said() {
        for (blind_role, sees) in [(None, true), (Some("outbox_view".to_owned()), false)] {
            let not_in = NotIn {
                source: "cards".to_owned(),
                oldest_event_at: None,
                writing_transactions: Vec::new(),
                prepared_transactions: Vec::new(),
                others_open: false,
                blind_role,
            };
            let json = serde_json::to_value(&not_in).unwrap();
            assert_eq!(
                (&json["sees_transactions"], json.get("blind_role")),
                (&serde_json::json!(sees), None)
            );
        }
    }
}
