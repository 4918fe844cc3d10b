//! Sends what was planned.

use chrono::{DateTime, SecondsFormat, Utc};
use outbox_event::Message;
use outbox_event_router::Rpc;
use outbox_transport::Entry;
use outbox_transport::operate::{Addressed, Deliveries, Queues, Repair, thousands};
use serde::Serialize;

use super::meant::{Meant, Replay, exact};
use super::plan::Plan;
use crate::pace::{Pace, Progress, interrupted};
use crate::repair;
use crate::show::counted;
use crate::stopped::Stopped;

/// So many are sent at a time.
const TOGETHER: usize = 8;
const HEADER: &str = "outbox-replay";

/// The result; the names are stable.
#[derive(Debug, Default, Serialize)]
pub(super) struct Sent {
    sent: i64,
    /// How many of those had succeeded before: the worker calls these again only with --force. Unknown if the record does not
    /// answer.
    done_before: Option<i64>,
    /// Their RPC is being called at this moment. With --force they are left alone.
    busy: i64,
    /// Rows that no bus can carry.
    malformed: i64,
    interrupted: bool,
    failed: Option<String>,
    /// The time of the last event sent: an interrupted replay goes on from there.
    reached: Option<DateTime<Utc>>,
}

pub(super) async fn all<O: Queues + Deliveries>(
    repair: &Repair,
    meant: &[Meant],
    transports: &[O],
    replay: &Replay<'_>,
    plan: &Plan,
) -> Result<Sent, Stopped> {
    let mut sending = Sending {
        repair,
        replay,
        at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        pace: Pace::new(replay.args.rate),
        progress: Progress::new("sent", plan.total()),
        sent: Sent { done_before: Some(0), ..Sent::default() },
    };
    let mut interrupted = Box::pin(interrupted());
    for one in meant {
        // On AWS one transport serves all databases.
        let is_its = |transport: &&O| transport.source() == one.outbox.source();
        let Some(transport) = transports.iter().find(is_its).or(transports.first()) else { continue };
        if let Err(stopped) = sending.outbox(one, transport, &mut interrupted).await {
            if sending.sent.sent == 0 {
                return Err(stopped);
            }
            sending.sent.failed = Some(stopped.problem);
        }
        if !sending.sent.is_going_on() {
            break;
        }
    }
    Ok(sending.sent)
}

struct Sending<'a> {
    repair: &'a Repair,
    replay: &'a Replay<'a>,
    at: String,
    pace: Pace,
    progress: Progress,
    sent: Sent,
}

impl Sending<'_> {
    /// An interruption takes effect between messages: a message that was begun is finished and counted.
    async fn outbox<O: Queues + Deliveries>(
        &mut self,
        meant: &Meant,
        transport: &O,
        interrupted: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<(), Stopped> {
        let mut span = meant.span.clone();
        loop {
            let past = meant.outbox.page(&meant.cursor, &span).await?;
            let Some(last) = past.last() else { return Ok(()) };
            (span.seqs.first, span.after) = (last.seq, Some(last.id.as_uuid()));
            let reached = past.iter().rev().find(|event| event.flaw.is_none()).map(|event| event.occurred_at);
            let mut messages: Vec<Addressed> = Vec::new();
            for event in &past {
                let rpcs = self.replay.subscribers(&event.name);
                let Some(body) = message(event, meant.outbox.source(), &self.at) else {
                    self.sent.malformed += rpcs.len() as i64;
                    continue;
                };
                messages.extend(rpcs.into_iter().map(|rpc| Addressed {
                    event: event.id,
                    rpc: rpc.clone(),
                    body: body(rpc),
                }));
            }
            let pairs: Vec<_> = messages.iter().map(|message| (message.event, message.rpc.clone())).collect();
            let done = repair::done(transport, &pairs, &mut self.sent.done_before).await;
            for (messages, done) in messages.chunks(TOGETHER).zip(done.chunks(TOGETHER)) {
                tokio::select! {
                    () = self.pace.wait(messages.len()) => {}
                    () = &mut *interrupted => {
                        self.sent.interrupted = true;
                        return Ok(());
                    }
                }
                self.some(transport, messages, done).await?;
            }
            self.sent.reached = reached.or(self.sent.reached);
        }
    }

    async fn some<O: Queues>(
        &mut self,
        transport: &O,
        messages: &[Addressed],
        done: &[bool],
    ) -> Result<(), Stopped> {
        let outcomes = transport.replay(self.repair, messages, self.replay.args.force).await;
        let mut failure = None;
        for (outcome, done) in outcomes.into_iter().zip(done) {
            match outcome {
                Ok(true) => {
                    self.sent.sent += 1;
                    self.sent.done_before = self.sent.done_before.map(|before| before + i64::from(*done));
                }
                Ok(false) => self.sent.busy += 1,
                Err(error) => failure = Some(error),
            }
        }
        self.progress.add(messages.len());
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// The event as the relay put it, with the header that marks a replay, as a body for each RPC. `None` for a row that no bus can
/// carry.
fn message<'a>(event: &'a Entry, source: &'a str, at: &str) -> Option<impl Fn(&Rpc) -> String + use<'a>> {
    let mut envelope = event.envelope(source).ok()?;
    envelope.headers.insert(HEADER.to_owned(), at.to_owned());
    Some(move |rpc: &Rpc| Message { rpc: rpc.as_str().into(), event: envelope.clone() }.encode())
}

impl Sent {
    fn is_going_on(&self) -> bool {
        !self.interrupted && self.failed.is_none()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_going_on() && self.busy == 0
    }

    pub(super) fn text(&self, replay: &Replay<'_>, until: DateTime<Utc>) -> String {
        let mut lines = vec![format!("sent {}", counted(thousands(self.sent), "message"))];
        lines.extend(repair::done_before(self.done_before, replay.args.force, " (--force does)"));
        if self.busy > 0 {
            lines.push(format!(
                "  {} were left alone: their RPC is being called at this moment",
                thousands(self.busy)
            ));
        }
        if self.malformed > 0 {
            lines.push(format!(
                "  {} can't be carried: `outbox.enqueue` would have refused them, or their time is no date",
                thousands(self.malformed)
            ));
        }
        if let Some(failed) = &self.failed {
            lines.push(format!("then it failed: {failed}"));
        }
        if self.interrupted {
            lines.push("interrupted".to_owned());
        }
        let stopped = !self.is_going_on();
        if let (true, Some(reached), Some(_)) = (stopped, self.reached, replay.args.since) {
            let which = ["--since".to_owned(), exact(reached), "--until".to_owned(), exact(until)];
            lines.push(format!("to go on: {}", replay.command_with(which.to_vec())));
        }
        lines.join("\n")
    }
}
