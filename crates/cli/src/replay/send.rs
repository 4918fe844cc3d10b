//! Sends what was planned.

use std::pin::{Pin, pin};

use chrono::{DateTime, SecondsFormat, Utc};
use outbox_event::Message;
use outbox_event_router::Rpc;
use outbox_transport::Entry;
use outbox_transport::operate::{Addressed, Operator, Queues, thousands};
use serde::Serialize;
use uuid::Uuid;

use super::meant::{Meant, Replay, place};
use super::plan::Plan;
use crate::pace::{Pace, Progress, interrupted};
use crate::repair::{self, Halt, Running};
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
    /// Who stopped it, or why it stopped by itself.
    stopped: Option<String>,
    failed: Option<String>,
    /// The time of the last event sent.
    reached: Option<DateTime<Utc>>,
}

pub(super) async fn all<O: Operator>(
    running: &mut Running,
    meant: &[Meant],
    transports: &[O],
    replay: &Replay<'_>,
    plan: &Plan,
) -> Result<Sent, Stopped> {
    let total = if replay.args.beside.continues.is_some() { None } else { plan.total() };
    let pace = running.pace();
    let mut sending = Sending {
        running,
        replay,
        at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        pace,
        progress: Progress::new("sent", total),
        sent: Sent { done_before: Some(0), ..Sent::default() },
    };
    let mut interrupted = pin!(interrupted());
    if let [_] = transports {
        sending.running.counted(0, total);
    }
    for one in meant {
        // On AWS one transport serves all databases.
        let is_its = |transport: &O| transport.source() == one.outbox.source();
        let n = transports.iter().position(is_its).unwrap_or(0);
        match sending.outbox(one, transports, n, interrupted.as_mut()).await {
            Ok(None) => {}
            Ok(Some(Halt::Interrupted)) => sending.sent.interrupted = true,
            Ok(Some(Halt::Stopped(why))) => sending.sent.stopped = Some(why),
            Err(stopped) if sending.sent.sent == 0 => return Err(stopped),
            Err(stopped) => sending.sent.failed = Some(stopped.problem),
        }
        if !sending.sent.is_going_on() {
            break;
        }
    }
    Ok(sending.sent)
}

struct Sending<'a> {
    running: &'a mut Running,
    replay: &'a Replay<'a>,
    at: String,
    pace: Pace,
    progress: Progress,
    sent: Sent,
}

impl Sending<'_> {
    /// An interruption takes effect between messages: a message that was begun is finished and counted.
    async fn outbox<O: Operator>(
        &mut self,
        meant: &Meant,
        transports: &[O],
        n: usize,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Halt>, Stopped> {
        let mut span = meant.span.clone();
        loop {
            let past = meant.outbox.page(&meant.cursor, &span).await?;
            let Some(last) = past.last() else { return Ok(None) };
            (span.seqs.first, span.after) = (last.seq, Some(last.id.as_uuid()));
            let mut messages: Vec<(usize, Addressed)> = Vec::new();
            for (n, event) in past.iter().enumerate() {
                let rpcs = self.replay.subscribers(&event.name);
                let Some(body) = message(event, meant.outbox.source(), &self.at) else {
                    self.sent.malformed += rpcs.len() as i64;
                    continue;
                };
                let to = |rpc: &Rpc| Addressed { event: event.id, rpc: rpc.clone(), body: body(rpc) };
                messages.extend(rpcs.into_iter().map(|rpc| (n, to(rpc))));
            }
            let (of, messages): (Vec<usize>, Vec<Addressed>) = messages.into_iter().unzip();
            let pairs: Vec<_> = messages.iter().map(|message| (message.event, message.rpc.clone())).collect();
            let done = repair::done(&transports[n], &pairs, &mut self.sent.done_before).await;
            let parts = messages.chunks(TOGETHER).zip(done.chunks(TOGETHER)).zip(of.chunks(TOGETHER));
            for (part, ((messages, done), these)) in parts.enumerate() {
                let many = (&mut self.pace, messages.len());
                let halt = self.running.wait(many, transports, interrupted.as_mut()).await;
                if halt.is_some() {
                    return Ok(halt);
                }
                if self.running.was_held() {
                    self.progress.was_held();
                }
                self.some(&transports[n], messages, done).await?;
                self.running.add(n, messages.len());
                if let Some(reached) = reached(&past, these, of.get((part + 1) * TOGETHER)) {
                    self.running.came_to(n, place(meant.outbox.source(), reached));
                }
            }
            self.running.came_to(n, place(meant.outbox.source(), last));
            let reached = past.iter().rev().find(|event| event.flaw.is_none()).map(|event| event.occurred_at);
            self.sent.reached = reached.or(self.sent.reached);
        }
    }

    async fn some<O: Queues>(
        &mut self,
        transport: &O,
        messages: &[Addressed],
        done: &[bool],
    ) -> Result<(), Stopped> {
        let outcomes = transport.replay(&self.running.repair, messages, self.replay.args.force).await;
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
        !self.interrupted && self.stopped.is_none() && self.failed.is_none()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_going_on() && self.busy == 0
    }

    pub(super) fn text(&self, replay: &Replay<'_>, id: Uuid) -> String {
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
        if let Some(why) = &self.stopped {
            lines.push(format!("stopped {why}"));
        }
        if !self.is_going_on() {
            let id = id.to_string();
            lines.push(format!("to go on: {}", replay.args.options.command(["repair", "continue", &id])));
        }
        lines.join("\n")
    }
}

/// How far a replay has come with a part, whose messages are of `these` events of the page. If the next part goes on with the
/// same event, that one is not reached: it would miss some. So a part of its messages is sent twice then.
fn reached<'a, T>(page: &'a [T], these: &[usize], next: Option<&usize>) -> Option<&'a T> {
    let last = these.last()?;
    if next == Some(last) { page[..*last].last() } else { page.get(*last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards `outbox repair continue`: an event whose messages were all sent is not sent again, and none is left out.
    #[test]
    fn a_part_reaches_the_last_event_that_is_whole() {
        let page = ["a", "b", "c"];
        for (these, next, is) in [
            (&[0, 1][..], Some(2), Some("b")),
            (&[0, 1], Some(1), Some("a")),
            (&[0, 0], Some(0), None),
            (&[1, 2], None, Some("c")),
            (&[], Some(0), None),
        ] {
            assert_eq!(reached(&page, these, next.as_ref()).copied(), is, "{these:?} {next:?}");
        }
    }
}
