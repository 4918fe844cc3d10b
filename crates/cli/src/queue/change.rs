//! Messages of one queue: tried again at once, or given up.

use std::process::ExitCode;

use outbox_event_router::Rpc;
use outbox_transport::operate::{Hand, Operator, Repair, Spot, Stage, Which, thousands};
use serde::Serialize;

use super::args::{GiveUp, Retry, Uncalled, look};
use super::gather::{Reach, gather};
use crate::counted::Counted;
use crate::filter;
use crate::pace::{Progress, interrupted};
use crate::repair::{self, RepairArgs};
use crate::show::counted;
use crate::stopped::Stopped;
use crate::transport::Work;

/// So many are changed without a question: as many as `queue list` shows.
const UNASKED_MAX: i64 = 100;
const TOGETHER: usize = 500;
const FILTERS: &str = "--event, --code, --error, --key, --name or --header";

pub(super) struct Change<'a> {
    args: &'a RepairArgs,
    rpc: &'a Rpc,
    which: Which,
    kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    Retry,
    GiveUp { reason: &'a str },
}

/// The result; the names are stable.
#[derive(Debug, Default, Serialize)]
struct Changed {
    dry_run: bool,
    found: i64,
    changed: i64,
    /// Not all of the queue was looked at.
    more: bool,
    interrupted: bool,
    failed: Option<String>,
}

impl<'a> Change<'a> {
    pub(super) fn retry(args: &'a Retry) -> Result<Self, Stopped> {
        let which = args.repair.some(args.which.which(), "queue retry", FILTERS)?;
        Ok(Self { args: &args.repair, rpc: &args.rpc, which, kind: Kind::Retry })
    }

    pub(super) fn give_up(args: &'a GiveUp) -> Result<Self, Stopped> {
        let stage = args.state.map(Uncalled::stage);
        let which = Which { stage, ..args.which.which() };
        let which = args.repair.some(which, "queue give-up", &format!("--state, {FILTERS}"))?;
        let kind = Kind::GiveUp { reason: &args.reason };
        Ok(Self { args: &args.repair, rpc: &args.rpc, which, kind })
    }
}

impl Work for Change<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let hand = if self.kind == Kind::Retry { Hand::RetryNow } else { Hand::GiveUp };
        if let Some(refused) = transports.iter().find_map(|transport| transport.refusal(hand)) {
            return Err(refused.into());
        }
        filter::rpc(&self.args.options, &transports, Some(self.rpc)).await?;
        let (mut meant, mut all, mut reach) = (Vec::new(), Counted::default(), Reach::default());
        for transport in &transports {
            meant.push(self.meant(transport, &mut all, &mut reach).await?);
        }
        if reach.interrupted {
            return Err(Stopped::failed("interrupted", "nothing was done"));
        }
        let mut changed = Changed {
            dry_run: self.args.dry_run,
            found: all.count(),
            more: reach.stopped,
            ..Changed::default()
        };
        if changed.found == 0 {
            let about = &self.which.about;
            filter::found_nothing(&self.args.options, self.which.code.as_deref(), about.name.as_deref())?;
        }
        if !self.args.dry_run {
            if all.count() > UNASKED_MAX {
                let what = format!("{} {}", self.verbs().0, all.text("message", "in the queue"));
                self.args.consent.confirm(&what)?;
            }
            let repair = repair::begin(&self.args.options.asked, &transports, true).await?;
            let went = self.all(&transports, &repair, &meant, &mut changed).await;
            if let Err(stopped) = &went {
                changed.failed = Some(stopped.problem.clone());
            }
            repair::end(repair, &transports, &changed).await;
            if changed.changed == 0 {
                went?;
            }
        }
        self.args.options.answer(&changed, || self.text(&changed, &all))?;
        let is_whole = !changed.interrupted && !changed.more && changed.failed.is_none();
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Change<'_> {
    /// What is there now: what comes later is not part of it.
    async fn meant<O: Operator>(
        &self,
        transport: &O,
        all: &mut Counted,
        reach: &mut Reach,
    ) -> Result<Vec<Spot>, Stopped> {
        let header = self.which.about.header.as_ref().map(|(name, _)| name.as_str());
        let mut look = look(self.rpc, self.which.stage, header, false);
        look.calling = false;
        look.due &= self.kind != Kind::Retry;
        let mut spots = Vec::new();
        gather(transport, &look, &self.which, reach, |one| {
            let code = one.code.as_deref().filter(|_| one.state != Stage::Waiting);
            let kind = format!("{} with {}", one.rpc, code.unwrap_or("no failed attempt"));
            all.add(&kind, one.since, || match &one.reason {
                Some(reason) => format!("event {} ({reason})", one.event),
                None => format!("event {}", one.event),
            });
            spots.push(one.spot);
            true
        })
        .await?;
        Ok(spots)
    }

    async fn all<O: Operator>(
        &self,
        transports: &[O],
        repair: &Repair,
        meant: &[Vec<Spot>],
        changed: &mut Changed,
    ) -> Result<(), Stopped> {
        let mut progress = Progress::new(self.verbs().1, Some(changed.found));
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        for (transport, spots) in transports.iter().zip(meant) {
            for some in spots.chunks(TOGETHER) {
                let step = async {
                    match self.kind {
                        Kind::Retry => transport.retry_now(repair, self.rpc, some).await,
                        Kind::GiveUp { reason } => transport.give_up(repair, self.rpc, some, reason).await,
                    }
                };
                tokio::select! {
                    biased;
                    () = &mut interrupted => {
                        changed.interrupted = true;
                        return Ok(());
                    }
                    () = std::future::ready(()) => {}
                }
                changed.changed += i64::try_from(step.await?).unwrap_or(0);
                progress.add(some.len());
            }
        }
        Ok(())
    }

    /// In a question, and after it is done.
    fn verbs(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::Retry => ("tries again at once", "retried"),
            Kind::GiveUp { .. } => ("gives up", "given up"),
        }
    }

    fn text(&self, changed: &Changed, all: &Counted) -> String {
        let (_, done) = self.verbs();
        let mut lines = vec![match changed.dry_run {
            true => match self.kind {
                Kind::Retry => format!("would retry {}", all.text("message", "in the queue")),
                Kind::GiveUp { .. } => format!("would give up {}", all.text("message", "in the queue")),
            },
            false => format!("{done} {}", counted(thousands(changed.changed), "message")),
        }];
        let left = changed.found - changed.changed;
        if !changed.dry_run && !changed.interrupted && changed.failed.is_none() && left > 0 {
            lines.push(format!("  {} are being called, or were done or moved meanwhile", thousands(left)));
        }
        if changed.more {
            lines.push("  there may be more than were looked at: the same command goes on".to_owned());
        }
        if changed.interrupted {
            lines.push("interrupted: the rest is as it was; the same command goes on".to_owned());
        }
        if let Some(failed) = &changed.failed {
            lines.push(format!("then it failed: {failed}; the rest is as it was"));
        }
        if matches!(self.kind, Kind::GiveUp { .. }) && changed.changed > 0 {
            let rpc = self.rpc.as_str();
            let back = ["dlq", "redrive", "--rpc", rpc, "--code", "given_up"];
            lines.push(format!("to take it back: {}", self.args.options.command(back)));
        }
        lines.join("\n")
    }
}
