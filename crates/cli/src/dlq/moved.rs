//! Moves dead letters one by one: back into their queues, or away.

use std::process::ExitCode;

use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{
    DeadLetters, Deliveries, Filter, Letter, Operator, Repair, Repaired, thousands,
};
use serde::Serialize;

use super::args::{Drop, Redrive};
use crate::counted::Counted;
use crate::filter;
use crate::pace::{Pace, Progress, interrupted};
use crate::repair::{self, RepairArgs};
use crate::safe::line;
use crate::show::counted;
use crate::stopped::Stopped;
use crate::transport::Work;

pub(crate) const FORGETS: &str =
    "what is recorded as done is forgotten, so that each RPC runs again even if it had succeeded";
/// So many are redriven without a question: as many as `dlq list` shows.
const UNASKED_MAX: i64 = 100;
const FILTERS: &str = "--rpc, --event, --code, --older-than, --reason, --key, --name, --header or --limit";
/// So many are moved at a time.
const TOGETHER: usize = 8;
/// So many refusals are shown, with so many characters of each.
const REFUSALS_MAX: usize = 5;
const REFUSAL_CHARS_MAX: usize = 400;

pub(super) struct Move<'a> {
    args: &'a RepairArgs,
    filter: Filter,
    kind: Kind,
    /// What the question was about, if one was asked.
    asked: Option<Counted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redrive { rate: u32, force: bool },
    Drop,
}

/// The result; the names are stable.
#[derive(Debug, Default, Serialize)]
struct Moved {
    dry_run: bool,
    found: i64,
    moved: i64,
    /// How many of those had succeeded before: the worker calls these again only with --force. Unknown if the record does not
    /// answer.
    done_before: Option<i64>,
    /// Their RPC is being called at this moment. Their success can't be forgotten, so they stay.
    busy: i64,
    /// Their queue refuses them and accepts others, so they stay.
    refused: i64,
    /// The reasons of the first few, with the letters' ids.
    refusals: Vec<String>,
    interrupted: bool,
    failed: Option<String>,
}

impl Moved {
    fn refuse(&mut self, id: &str, why: &str) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(format!("{id}: {why}"));
        }
    }

    fn count_done(&mut self, many: usize) {
        self.done_before = self.done_before.map(|done| done + many as i64);
    }
}

impl<'a> Move<'a> {
    pub(super) fn redrive(args: &'a Redrive) -> Result<Self, Stopped> {
        let filter = args.repair.some(args.few.of(args.which.filter()), "dlq redrive", FILTERS)?;
        Ok(Self {
            args: &args.repair,
            filter,
            kind: Kind::Redrive { rate: args.rate, force: args.force },
            asked: None,
        })
    }

    pub(super) fn drop(args: &'a Drop) -> Result<Self, Stopped> {
        let filter = args.repair.some(args.few.of(args.which.filter()), "dlq drop", FILTERS)?;
        Ok(Self { args: &args.repair, filter, kind: Kind::Drop, asked: None })
    }
}

impl Work for Move<'_> {
    async fn on<O: Operator>(mut self, mut transports: Vec<O>) -> Result<ExitCode, Stopped> {
        filter::rpc(&self.args.options, &transports, self.filter.rpc.as_ref()).await?;
        filter::letter_code(&mut transports, self.filter.code.as_ref()).await?;
        filter::letter_name(&self.args.options, &mut transports, &self.filter.about).await?;
        filter::ordered(&transports, &self.filter)?;
        let mut moved = Moved { dry_run: self.args.dry_run, done_before: Some(0), ..Moved::default() };
        if self.args.dry_run {
            self.each(&mut transports, None, &mut moved).await?;
        } else {
            self.ask(&mut transports).await?;
            let is_undoable = matches!(self.kind, Kind::Redrive { force: false, .. });
            let repair = repair::begin(&transports, is_undoable).await?;
            let went = self.each(&mut transports, Some(&repair), &mut moved).await;
            if let Err(stopped) = &went {
                moved.failed = Some(stopped.problem.clone());
            }
            repair::end(repair, &transports, &moved).await;
            went?;
        }
        self.args.options.answer(&moved, || self.text(&moved))?;
        let all = moved.failed.is_none() && !moved.interrupted && moved.busy == 0 && moved.refused == 0;
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Move<'_> {
    /// Without an answer of yes in advance, the letters are counted for the question, and later ones are left alone.
    async fn ask(&mut self, transports: &mut [impl Operator]) -> Result<(), Stopped> {
        let is_undoable = matches!(self.kind, Kind::Redrive { force: false, .. });
        if is_undoable && self.filter != Filter::default() {
            return Ok(());
        }
        if !self.args.consent.is_given() {
            self.asked = Some(self.count(transports).await?);
        }
        let letters = match &self.asked {
            Some(asked) => asked.text("dead letter", "dead"),
            None => "these dead letters".to_owned(),
        };
        match self.kind {
            Kind::Redrive { force: true, .. } => {
                self.args.consent.ask(&format!("redrives {letters}, with --force: {FORGETS}"))
            }
            Kind::Redrive { .. } if self.asked.as_ref().is_none_or(|asked| asked.count() <= UNASKED_MAX) => {
                Ok(())
            }
            Kind::Redrive { .. } => self.args.consent.confirm(&format!("redrives {letters}")),
            Kind::Drop => self.args.consent.ask(&format!("drops {letters}")),
        }
    }

    async fn count(&self, transports: &mut [impl Operator]) -> Result<Counted, Stopped> {
        let mut counted = Counted::default();
        for transport in transports {
            let went = tokio::select! {
                went = count_in(transport, &self.filter, &mut counted) => went,
                () = interrupted() => Err(Stopped::failed("interrupted", "nothing was done")),
            };
            transport.put_back().await;
            went?;
        }
        Ok(counted)
    }

    /// Without a repair it only counts them.
    async fn each(
        &self,
        transports: &mut [impl Operator],
        repair: Option<&Repair>,
        moved: &mut Moved,
    ) -> Result<(), Stopped> {
        for transport in transports {
            let went = self.all(transport, repair, moved).await;
            transport.put_back().await;
            if let Err(stopped) = went {
                // Nothing was moved yet, so the error is the whole result.
                if moved.moved == 0 {
                    return Err(stopped);
                }
                moved.failed = Some(stopped.problem);
                break;
            }
        }
        Ok(())
    }

    async fn all<O: DeadLetters + Deliveries>(
        &self,
        transport: &mut O,
        repair: Option<&Repair>,
        moved: &mut Moved,
    ) -> Result<(), Stopped> {
        let rate = match self.kind {
            Kind::Redrive { rate, .. } => rate,
            Kind::Drop => 10_000,
        };
        let (mut pace, mut progress) = (Pace::new(rate), Progress::new(self.verb(), None));
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        loop {
            let mut letters = tokio::select! {
                letters = transport.next(&self.filter) => letters?,
                () = &mut interrupted => {
                    moved.interrupted = true;
                    return Ok(());
                }
            };
            if letters.is_empty() {
                return Ok(());
            }
            letters.retain(|letter| self.asked.as_ref().is_none_or(|asked| asked.covers(letter.dead_at)));
            moved.found += letters.len() as i64;
            let done = match self.kind {
                Kind::Redrive { .. } => self.done(transport, &letters, moved).await,
                Kind::Drop => vec![false; letters.len()],
            };
            let Some(repair) = repair else {
                moved.count_done(done.iter().filter(|done| **done).count());
                continue;
            };
            for (letters, done) in letters.chunks(TOGETHER).zip(done.chunks(TOGETHER)) {
                tokio::select! {
                    () = pace.wait(letters.len()) => {}
                    () = &mut interrupted => {
                        moved.interrupted = true;
                        return Ok(());
                    }
                }
                let outcomes = match self.kind {
                    Kind::Redrive { force, .. } => transport.redrive(repair, letters, force).await,
                    Kind::Drop => transport.take_away(repair, letters).await,
                };
                let mut failure = None;
                for ((outcome, letter), done) in outcomes.into_iter().zip(letters).zip(done) {
                    match outcome {
                        Ok(Repaired::Moved) => {
                            moved.moved += 1;
                            moved.count_done(usize::from(*done));
                        }
                        Ok(Repaired::Gone) => {}
                        Ok(Repaired::Busy) => moved.busy += 1,
                        Ok(Repaired::Refused(why)) => moved.refuse(&letter.id, &why),
                        Err(error) => failure = Some(error),
                    }
                }
                progress.add(letters.len());
                if let Some(error) = failure {
                    return Err(error.into());
                }
            }
        }
    }

    async fn done<O: DeadLetters + Deliveries>(
        &self,
        transport: &O,
        letters: &[Letter<O::Handle>],
        moved: &mut Moved,
    ) -> Vec<bool> {
        let pairs: Vec<(EventId, Rpc)> =
            letters.iter().filter_map(|letter| Some((letter.event?, letter.rpc.clone()))).collect();
        let mut done = repair::done(transport, &pairs, &mut moved.done_before).await.into_iter();
        letters.iter().map(|letter| letter.event.is_some() && done.next().unwrap_or(false)).collect()
    }

    fn verb(&self) -> &'static str {
        match (self.kind, self.args.dry_run) {
            (_, true) => "counted",
            (Kind::Redrive { .. }, _) => "redriven",
            (Kind::Drop, _) => "dropped",
        }
    }

    fn text(&self, moved: &Moved) -> String {
        let letters = |count: i64| counted(thousands(count), "dead letter");
        let mut lines = vec![match (self.args.dry_run, self.kind) {
            (true, Kind::Redrive { .. }) => format!("would redrive {}", letters(moved.found)),
            (true, Kind::Drop) => format!("would drop {}", letters(moved.found)),
            (false, _) => format!("{} {}", self.verb(), letters(moved.moved)),
        }];
        let force = matches!(self.kind, Kind::Redrive { force: true, .. });
        lines.extend(repair::done_before(moved.done_before, force, ""));
        if moved.busy > 0 {
            lines.push(format!(
                "  {} stay: their RPC is being called at this moment; run it again",
                thousands(moved.busy)
            ));
        }
        if moved.refused > 0 {
            lines.push(format!("  {} stay, for their queue refuses them:", thousands(moved.refused)));
            lines.extend(moved.refusals.iter().map(|why| format!("    {}", line(why, REFUSAL_CHARS_MAX))));
        }
        if moved.interrupted {
            lines.push("interrupted: the rest is where it was; the same command goes on".to_owned());
        }
        if let Some(failed) = &moved.failed {
            lines.push(format!(
                "then it failed: {failed}; the rest is where it was, and the same command goes on"
            ));
        }
        lines.join("\n")
    }
}

async fn count_in<O: DeadLetters>(
    transport: &mut O,
    filter: &Filter,
    counted: &mut Counted,
) -> Result<(), Stopped> {
    loop {
        let letters = transport.next(filter).await?;
        if letters.is_empty() {
            return Ok(());
        }
        for Letter { id, rpc, event, code, reason, dead_at, .. } in &letters {
            counted.add(&format!("{rpc} with {code}"), *dead_at, || match event {
                Some(event) => format!("event {event} ({reason})"),
                None => format!("{id} ({reason})"),
            });
        }
    }
}
