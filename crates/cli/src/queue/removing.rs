//! `outbox queue drop`: a queue without a route is removed, with what is in it.

use std::process::ExitCode;

use outbox_event_router::Rpc;
use outbox_transport::operate::{Count, Hand, Operator, Repair, Which, thousands};
use serde::Serialize;

use super::args::{Remove, look};
use super::gather::{Reach, gather};
use crate::counted::Counted;
use crate::filter;
use crate::pace::{Progress, interrupted};
use crate::repair;
use crate::running::Running;
use crate::show::counted;
use crate::stopped::Stopped;
use crate::transport::Work;

/// What is in the queues of an RPC.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) live: Count,
    pub(super) dead: Count,
    pub(super) calling: Count,
}

impl Left {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_zero() && self.dead.is_zero() && self.calling.is_zero()
    }

    pub(super) fn text(&self) -> String {
        format!("{} and {}", counted(self.live, "message"), counted(self.dead, "dead letter"))
    }
}

pub(super) async fn left(transports: &[impl Operator], rpc: &Rpc) -> Result<Left, Stopped> {
    let mut left = Left::default();
    for transport in transports {
        let depths = transport.depths(&[]).await?;
        for depth in depths.into_iter().filter(|depth| depth.rpc == rpc.as_str()) {
            left.live = left.live + depth.waiting + depth.retrying.unwrap_or_default();
            left.dead = left.dead + depth.dead;
            left.calling = left.calling + depth.hidden;
        }
    }
    Ok(left)
}

/// The names of running processes that have a route to this RPC, or serve it.
pub(super) fn having(running: &Running, rpc: &str) -> Vec<String> {
    let routes = |mark: &String| mark.split(' ').nth(1) == Some(rpc);
    let live = running.0.iter().filter(|seen| !seen.is_silent());
    let having = live.filter(|seen| seen.process.serves(rpc) || seen.process.routes.iter().any(routes));
    having.map(|seen| format!("{} {}", seen.process.program.as_str(), seen.process.name)).collect()
}

/// The result; the names are stable.
#[derive(Debug, Default, Serialize)]
struct Removed {
    rpc: String,
    dry_run: bool,
    /// What is in it; only counted before it is dropped.
    found: Option<u64>,
    dropped: u64,
    removed: bool,
    interrupted: bool,
    failed: Option<String>,
}

pub(super) struct Removing<'a>(pub(super) &'a Remove);

impl Work for Removing<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Remove { rpc, dry_run, consent, options, .. } = self.0;
        if let Some(refused) = transports.iter().find_map(|transport| transport.refusal(Hand::Drop)) {
            return Err(refused.into());
        }
        filter::rpc(options, &transports, Some(rpc)).await?;
        self.refuse_routed(&transports).await?;
        let mut removed = Removed { rpc: rpc.to_string(), dry_run: *dry_run, ..Removed::default() };
        if *dry_run {
            let what = self.counted(&transports).await?;
            let left = left(&transports, rpc).await?;
            removed.found = u64::try_from((left.live + left.dead + left.calling).get()).ok();
            options.answer(&removed, || format!("would drop {what}, and remove the queue"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let what = match consent.is_given() {
            true => "what is in it".to_owned(),
            false => self.counted(&transports).await?,
        };
        consent.ask(&format!("removes the queue of {rpc}, and drops {what}"))?;
        let repair = repair::begin(&options.asked, &transports, false).await?;
        let went = self.all(&transports, &repair, &mut removed).await;
        if let Err(stopped) = &went {
            removed.failed = Some(stopped.problem.clone());
        }
        repair::end(repair, &transports, &removed).await;
        if removed.dropped == 0 {
            went?;
        }
        options.answer(&removed, || text(&removed))?;
        Ok(if removed.removed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Removing<'_> {
    async fn refuse_routed(&self, transports: &[impl Operator]) -> Result<(), Stopped> {
        let Remove { rpc, options, .. } = self.0;
        if options.router()?.is_some_and(|router| router.rpcs().any(|(routed, _)| routed == rpc)) {
            return Err(Stopped::unusable(
                format!("{} has a route to {rpc}", options.router_file().display()),
                "take it out, deploy that to every relay and worker, and run this again",
            ));
        }
        let having = having(&Running::ask(transports, &[]).await?, rpc.as_str());
        match having.is_empty() {
            true => Ok(()),
            false => Err(Stopped::failed(
                format!("{rpc} is still in the event_router.yaml of {}", having.join(", ")),
                "restart them with a file without it, and run this again",
            )),
        }
    }

    /// With the oldest, as a sample. Dead letters are only counted.
    async fn counted<O: Operator>(&self, transports: &[O]) -> Result<String, Stopped> {
        let rpc = &self.0.rpc;
        let (mut all, mut reach) = (Counted::default(), Reach::default());
        for transport in transports {
            let look = look(rpc, None, None, false);
            gather(transport, &look, &Which::default(), &mut reach, |one| {
                let name = one.event_name.as_deref().unwrap_or("malformed events");
                all.add(name, one.since, || format!("event {}", one.event));
                true
            })
            .await?;
        }
        if reach.interrupted {
            return Err(Stopped::failed("interrupted", "nothing was done"));
        }
        let more = if reach.stopped { " or more" } else { "" };
        let dead = left(transports, rpc).await?.dead;
        Ok(format!("{}{more} and {}", all.text("message", "in the queue"), counted(dead, "dead letter")))
    }

    async fn all<O: Operator>(
        &self,
        transports: &[O],
        repair: &Repair,
        removed: &mut Removed,
    ) -> Result<(), Stopped> {
        let rpc = &self.0.rpc;
        let mut progress = Progress::new("dropped", None);
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        let mut all = true;
        for transport in transports {
            if !transport.queues().await?.contains(rpc) {
                continue;
            }
            loop {
                tokio::select! {
                    biased;
                    () = &mut interrupted => {
                        removed.interrupted = true;
                        return Ok(());
                    }
                    () = std::future::ready(()) => {}
                }
                let dropped = transport.drop_some(repair, rpc).await?;
                if dropped == 0 {
                    break;
                }
                removed.dropped += dropped;
                progress.add(usize::try_from(dropped).unwrap_or(0));
            }
            all &= transport.remove(repair, rpc).await?;
        }
        removed.removed = all;
        Ok(())
    }
}

fn text(removed: &Removed) -> String {
    let dropped = counted(thousands(i64::try_from(removed.dropped).unwrap_or(i64::MAX)), "message");
    let mut lines = vec![match removed.removed {
        true => format!("dropped {dropped}, and removed the queue of {}", removed.rpc),
        false => format!("dropped {dropped}; the queue of {} is still there", removed.rpc),
    }];
    if removed.interrupted {
        lines.push("interrupted: the rest is where it was; the same command goes on".to_owned());
    } else if let Some(failed) = &removed.failed {
        lines.push(format!("then it failed: {failed}; the same command goes on"));
    } else if !removed.removed {
        lines.push("something is left in it, or came meanwhile: run it again".to_owned());
    }
    lines.join("\n")
}
