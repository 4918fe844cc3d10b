//! `outbox queue move`: what one RPC's queue has goes to the queue of its new name.

use std::process::ExitCode;

use outbox_transport::operate::{Carried, Hand, Operator, Part, Repair, thousands};
use serde::Serialize;

use super::args::Rename;
use super::removing::{Left, having, left};
use crate::filter;
use crate::pace::{Progress, interrupted};
use crate::repair;
use crate::running::Running;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, counted};
use crate::stopped::Stopped;
use crate::transport::Work;

/// The result; the names are stable.
#[derive(Debug, Default, Serialize)]
struct Moved {
    from: String,
    to: String,
    dry_run: bool,
    messages: u64,
    dead_letters: u64,
    /// Successes that were copied from the old record.
    records: u64,
    /// Messages that a worker calls under the old name, as far as they were counted.
    calling: i64,
    /// Messages that were not moved: a lease under the old name still lasts, or they came meanwhile.
    left: i64,
    /// Relays and workers that still have the old name.
    still: Vec<String>,
    interrupted: bool,
    failed: Option<String>,
}

pub(super) struct Moving<'a>(pub(super) &'a Rename);

impl Work for Moving<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Rename { from, to, dry_run, consent, options } = self.0;
        if let Some(refused) = transports.iter().find_map(|transport| transport.refusal(Hand::Move)) {
            return Err(refused.into());
        }
        if from == to {
            return Err(Stopped::unusable("--from and --to are the same RPC", "name two"));
        }
        for rpc in [from, to] {
            filter::rpc(options, &transports, Some(rpc)).await?;
        }
        let there: Left = left(&transports, from).await?;
        let running = Running::ask(&transports, &[]).await?;
        let mut moved = Moved {
            from: from.to_string(),
            to: to.to_string(),
            dry_run: *dry_run,
            still: having(&running, from.as_str()),
            ..Moved::default()
        };
        if *dry_run {
            (moved.messages, moved.dead_letters) = (unsigned(there.live.get()), unsigned(there.dead.get()));
            moved.calling = there.calling.get();
        } else {
            if !there.is_empty() {
                consent.confirm(&format!("moves {} from {from} to {to}", there.text()))?;
            }
            let repair = repair::begin(&options.asked, &transports, false).await?;
            let went = self.all(&transports, &repair, &mut moved).await;
            if let Err(stopped) = &went {
                moved.failed = Some(stopped.problem.clone());
            }
            repair::end(repair, &transports, &moved).await;
            if moved.messages + moved.dead_letters + moved.records == 0 {
                went?;
            }
            let still = left(&transports, from).await?;
            (moved.calling, moved.left) = (still.calling.get(), still.live.get());
        }
        options.answer(&moved, || self.text(&moved))?;
        let all = moved.failed.is_none() && !moved.interrupted && moved.calling == 0 && moved.left == 0;
        Ok(if all || *dry_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Moving<'_> {
    /// The record first: what is called under the new name is looked up there.
    async fn all<O: Operator>(
        &self,
        transports: &[O],
        repair: &Repair,
        moved: &mut Moved,
    ) -> Result<(), Stopped> {
        let Rename { from, to, .. } = self.0;
        let mut progress = Progress::new("moved", None);
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        let mut is_interrupted = async || {
            tokio::select! {
                biased;
                () = &mut interrupted => true,
                () = std::future::ready(()) => false,
            }
        };
        for transport in transports {
            if !transport.queues().await?.contains(from) {
                continue;
            }
            let mut next = Some(Carried::default());
            while let Some(after) = next {
                if is_interrupted().await {
                    moved.interrupted = true;
                    return Ok(());
                }
                let (carried, rest) = transport.carry(repair, from, to, after).await?;
                (moved.records, next) = (moved.records + carried, rest);
            }
            for part in [Part::Live, Part::Dead] {
                let mut more = true;
                while more {
                    if is_interrupted().await {
                        moved.interrupted = true;
                        return Ok(());
                    }
                    let (some, rest) = transport.move_some(repair, from, to, part).await?;
                    more = rest;
                    match part {
                        Part::Live => moved.messages += some,
                        Part::Dead => moved.dead_letters += some,
                    }
                    progress.add(usize::try_from(some).unwrap_or(0));
                }
            }
        }
        Ok(())
    }

    fn text(&self, moved: &Moved) -> String {
        let Rename { from, to, options, .. } = self.0;
        let number = |count: u64| thousands(i64::try_from(count).unwrap_or(i64::MAX));
        let what = format!(
            "{} and {} from {from} to {to}",
            counted(number(moved.messages), "message"),
            counted(number(moved.dead_letters), "dead letter")
        );
        let mut lines =
            vec![if moved.dry_run { format!("would move {what}") } else { format!("moved {what}") }];
        if !moved.dry_run {
            lines.push(format!(
                "  copied from the record of the old name: {}; those events are not called again under the new name",
                number(moved.records)
            ));
            lines.push(
                "  not copied: failed attempts of the past, and what is done under the old name from now on"
                    .to_owned(),
            );
        }
        if moved.calling > 0 {
            lines.push(format!(
                "  {} called under the old name at this moment: run it again",
                match moved.calling {
                    1 => "1 message is".to_owned(),
                    calling => format!("{} messages are", thousands(calling)),
                }
            ));
        }
        if moved.left > 0 {
            lines.push(format!(
                "  {} under the old name: run it again",
                match moved.left {
                    1 => "1 message still waits".to_owned(),
                    left => format!("{} messages still wait", thousands(left)),
                }
            ));
        }
        let still: Vec<String> = moved.still.iter().map(|name| line(name, NAME_CHARS_MAX)).collect();
        if still.is_empty() {
            let drop = options.command(["queue", "drop", "--rpc", from.as_str()]);
            lines.push(format!("once the old queue is empty: {drop}"));
        } else {
            lines.push(format!("  still with {from}: {}: run it again when none has it", still.join(", ")));
        }
        if moved.interrupted {
            lines.push("interrupted: the rest is where it was; the same command goes on".to_owned());
        }
        if let Some(failed) = &moved.failed {
            lines.push(format!("then it failed: {failed}; the same command goes on"));
        }
        lines.join("\n")
    }
}

fn unsigned(count: i64) -> u64 {
    count.unsigned_abs()
}
