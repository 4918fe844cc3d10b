//! What a replay would send.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use outbox_postgres::operate::Seqs;
use outbox_transport::Entry;
use outbox_transport::operate::{Operator, thousands};
use serde::Serialize;

use super::meant::{Counts, Meant, Replay};
use crate::pace::Progress;
use crate::repair;
use crate::show::{age, counted, table};
use crate::stopped::Stopped;

/// Above this, a replay is only known to be large.
const COUNTED_MAX: i64 = 1_000_000;
/// So many are named in a question.
const ROUTES_MAX: usize = 3;
/// So many are looked up in the record.
const ASKED_MAX: i64 = 10_000;
/// Per statement.
const PIECE: i64 = 50_000;

/// The names are stable.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    /// The time that was asked for; none for one event.
    since: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
    /// False if there are more than were counted.
    counted_all: bool,
    messages: i64,
    /// How many of those had succeeded before. Unknown if the record does not answer, or if there are too many to ask.
    pub(super) done_before: Option<i64>,
    routes: Vec<PlannedRoute>,
    /// The relay will put them.
    not_put: i64,
    /// The bus refused them.
    parked: i64,
    oldest_event_at: Option<DateTime<Utc>>,
    /// How many per second.
    pub(super) rate: u32,
    /// RPCs whose servers do not answer now, in words.
    pub(super) breakers: Vec<String>,
    pub(super) command: String,
}

#[derive(Debug, Serialize)]
struct PlannedRoute {
    event: String,
    /// None if nothing subscribes, or not the given RPC.
    rpc: Option<String>,
    events: i64,
}

impl Plan {
    pub(super) async fn of(meant: &[Meant], replay: &Replay<'_>) -> Result<Self, Stopped> {
        let (mut counts, mut not_put, mut parked, mut seen) = (Counts::new(), 0, 0, 0);
        let mut progress = Progress::new("counted", None);
        let mut oldest_event_at: Option<DateTime<Utc>> = None;
        for Meant { outbox, cursor, span } in meant {
            if let Some(oldest) = outbox.oldest().await? {
                oldest_event_at = Some(oldest_event_at.map_or(oldest, |other| other.min(oldest)));
            }
            let mut first = span.seqs.first;
            while first <= span.seqs.last && seen < COUNTED_MAX {
                let last = span.seqs.last.min(first + PIECE - 1);
                let mut piece = span.clone();
                piece.seqs = Seqs { first, last };
                for (name, put, later, refused) in outbox.tally(cursor, &piece).await? {
                    (seen, not_put, parked) =
                        (seen + put + later + refused, not_put + later, parked + refused);
                    if put > 0 {
                        let rpcs = replay.subscribers(&name);
                        let none = rpcs.is_empty().then_some(None);
                        for rpc in rpcs.iter().map(|rpc| Some(rpc.to_string())).chain(none) {
                            *counts.entry((name.clone(), rpc)).or_default() += put;
                        }
                    }
                }
                progress.add(usize::try_from(last - first + 1).unwrap_or(0));
                first = last + 1;
            }
        }
        let routes: Vec<PlannedRoute> =
            counts.into_iter().map(|((event, rpc), events)| PlannedRoute { event, rpc, events }).collect();
        let messages = routes.iter().filter(|route| route.rpc.is_some()).map(|route| route.events).sum();
        let counted_all = seen < COUNTED_MAX;
        Ok(Self {
            since: replay.since,
            until: replay.until,
            counted_all,
            messages,
            done_before: None,
            routes,
            not_put,
            parked,
            oldest_event_at,
            rate: 0,
            breakers: Vec::new(),
            command: String::new(),
        })
    }

    /// Asks the record about all of them, unless they are many.
    pub(super) async fn ask_done<O: Operator>(
        &mut self,
        meant: &[Meant],
        transports: &[O],
        replay: &Replay<'_>,
    ) -> Result<(), Stopped> {
        if !self.counted_all || self.messages > ASKED_MAX {
            return Ok(());
        }
        let mut done_before = Some(0);
        for Meant { outbox, cursor, span } in meant {
            let mut span = span.clone();
            loop {
                let past = outbox.page(cursor, &span).await?;
                let Some(last) = past.last() else { break };
                (span.seqs.first, span.after) = (last.seq, Some(last.id.as_uuid()));
                let pairs: Vec<_> = past
                    .iter()
                    .flat_map(|event| {
                        replay.subscribers(&event.name).into_iter().map(|rpc| (event.id, rpc.clone()))
                    })
                    .collect();
                let transport = transports.iter().find(|one| one.source() == outbox.source());
                let Some(transport) = transport.or(transports.first()) else { return Ok(()) };
                let done = repair::done(transport, &pairs, &mut done_before).await;
                let many = done.iter().filter(|done| **done).count();
                done_before = done_before.map(|before| before + i64::try_from(many).unwrap_or(0));
            }
        }
        self.done_before = done_before;
        Ok(())
    }

    /// What there is to send, if all was counted.
    pub(super) fn total(&self) -> Option<i64> {
        self.counted_all.then_some(self.messages)
    }

    /// Which RPCs get messages.
    pub(super) fn rpcs(&self) -> BTreeSet<String> {
        self.routes.iter().filter_map(|route| route.rpc.clone()).collect()
    }

    /// Whether no event is selected.
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.not_put == 0 && self.parked == 0
    }

    /// `3 messages (3 of event_one to A/B; the oldest event is ID, of TIME)`
    pub(super) fn meant(&self, oldest: Option<&Entry>) -> String {
        let more = if self.counted_all { "" } else { "+" };
        let routes: Vec<String> = self
            .routes
            .iter()
            .filter_map(|route| {
                Some(format!("{} of {} to {}", thousands(route.events), route.event, route.rpc.as_ref()?))
            })
            .take(ROUTES_MAX)
            .collect();
        let oldest = oldest.map(|event| {
            format!("; the oldest event is {}, of {}", event.id, crate::show::moment(event.occurred_at))
        });
        let messages = counted(format!("{}{more}", thousands(self.messages)), "message");
        format!("{messages} ({}{})", routes.join(", "), oldest.unwrap_or_default())
    }

    pub(super) fn text(&self) -> String {
        let more = if self.counted_all { "" } else { "+" };
        let mut parts = Vec::new();
        if !self.routes.is_empty() {
            let mut rows = table(["EVENT", "RPC", "EVENTS"]);
            for route in &self.routes {
                let rpc = route.rpc.as_deref().unwrap_or("no subscriber");
                rows.add_row([route.event.as_str(), rpc, &format!("{}{more}", thousands(route.events))]);
            }
            parts.push(rows.trim_fmt());
        }
        let mut lines = Vec::new();
        if self.not_put > 0 {
            lines.push(format!("{} not put yet: left alone, they come by themselves", events(self.not_put)));
        }
        if self.parked > 0 {
            lines.push(format!("{} parked: left alone, see outbox parked list", events(self.parked)));
        }
        if let Some(oldest) = self.oldest_event_at {
            let missing = self.since.map_or(0, |since| (oldest.min(self.until) - since).num_seconds());
            let before = match missing {
                1.. => format!(", and has no events of the {} before that", age(missing as f64)),
                _ => String::new(),
            };
            lines.push(format!("the outbox goes back to {}{before}", crate::show::moment(oldest)));
        }
        if let Some(done @ 1..) = self.done_before {
            let of = counted(format!("{} of {}", thousands(done), thousands(self.messages)), "message");
            lines.push(format!("{of} had been done before: the worker does not call them again"));
        }
        if self.messages > 0 && self.rate > 0 {
            let seconds = age(self.messages as f64 / f64::from(self.rate));
            let least = if self.counted_all { "" } else { "at least " };
            lines.push(format!("at {} a second it takes {least}{seconds}", self.rate));
        }
        lines.extend(self.breakers.iter().map(|why| format!("{why}: the messages will wait in its queue")));
        if !lines.is_empty() {
            parts.push(lines.join("\n"));
        }
        parts.push(match self.messages {
            0 => "Nothing to send.".to_owned(),
            messages => format!(
                "Nothing was sent. What was done in the last 21 days is not called again, unless with --force. To send {}{more}:\n  {}",
                counted(thousands(messages), "message"),
                self.command
            ),
        });
        parts.join("\n\n")
    }
}

fn events(count: i64) -> String {
    counted(thousands(count), "event")
}
