//! Moves dead letters one by one: back into their queues, or away.

use std::pin::{Pin, pin};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use outbox_event::EventId;
use outbox_event_router::Rpc;
use outbox_transport::operate::{
    DeadLetters, Deliveries, Filter, Job, Kind as RepairKind, Letter, Operator, Repair, Repaired, SQS,
};

use super::args::{Drop, Redrive};
use super::bound::{bound, without_bound};
use super::counting::{count_in, count_while_running};
use super::result::{Kind, Moved};
use crate::counted::Counted;
use crate::filter;
use crate::pace::{Progress, interrupted};
use crate::repair::{self, Beside, Halt, RepairArgs, Rule, Running};
use crate::stopped::Stopped;
use crate::transport::Work;

pub(crate) const FORGETS: &str =
    "what is recorded as done is forgotten, so that each RPC runs again even if it had succeeded";
/// So many are redriven without a question: as many as `dlq list` shows.
const UNASKED_MAX: i64 = 100;
const FILTERS: &str = "--rpc, --event, --code, --older-than, --reason, --key, --name, --header or --limit";
/// So many are moved at a time.
const TOGETHER: usize = 8;

pub(super) struct Move<'a> {
    args: &'a RepairArgs,
    beside: &'a Beside,
    filter: Filter,
    /// What died later is left alone. Without one, what dies after the beginning.
    dead_by: Option<DateTime<Utc>>,
    kind: Kind,
    rule: Rule,
    /// So many are still to be moved first.
    canary: usize,
    /// So many may still be moved, of all transports.
    left: Option<u32>,
    /// What the question was about, if one was asked.
    asked: Option<Counted>,
}

impl<'a> Move<'a> {
    pub(super) fn redrive(args: &'a Redrive) -> Result<Self, Stopped> {
        let (filter, dead_by) = without_bound(args.few.of(args.which.filter()));
        let filter = args.repair.some(filter, "dlq redrive", FILTERS)?;
        Ok(Self {
            args: &args.repair,
            beside: &args.beside,
            left: filter.limit,
            filter,
            dead_by,
            kind: Kind::Redrive { rate: args.rate, force: args.force },
            rule: Rule::of(&args.rule),
            canary: args.rule.canary.map_or(0, |many| many as usize),
            asked: None,
        })
    }

    pub(super) fn drop(args: &'a Drop) -> Result<Self, Stopped> {
        let (filter, dead_by) = without_bound(args.few.of(args.which.filter()));
        let filter = args.repair.some(filter, "dlq drop", FILTERS)?;
        let (args, beside, rule) = (&args.repair, &args.beside, Rule::default());
        let left = filter.limit;
        Ok(Self { args, beside, filter, dead_by, kind: Kind::Drop, rule, canary: 0, left, asked: None })
    }
}

impl Work for Move<'_> {
    async fn on<O: Operator>(mut self, mut transports: Vec<O>) -> Result<ExitCode, Stopped> {
        filter::rpc(&self.args.options, &transports, self.filter.rpc.as_ref()).await?;
        filter::letter_code(&mut transports, self.filter.code.as_ref()).await?;
        filter::letter_name(&self.args.options, &mut transports, &self.filter.about).await?;
        filter::ordered(&transports, &self.filter)?;
        let mut moved = Moved { dry_run: self.args.dry_run, done_before: Some(0), ..Moved::default() };
        if self.args.dry_run || self.dead_by.is_some() {
            self.dead_by = Some(bound(&transports, self.dead_by, self.filter.older_than).await?);
        }
        if self.args.dry_run {
            moved.dead_by = self.dead_by;
            self.count_each(&mut transports, &mut moved).await?;
        } else {
            self.ask(&mut transports).await?;
            let mut running = self.start(&transports).await?;
            moved.repair = Some(running.repair.id);
            let went = self.each(&mut transports, &mut running, &mut moved).await;
            if let Err(stopped) = &went {
                moved.failed = Some(stopped.problem.clone());
            }
            running.end(&transports, &moved).await;
            went?;
        }
        let (kind, options) = (self.kind, &self.args.options);
        options.answer(&moved, || moved.text(kind, options))?;
        Ok(if moved.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Move<'_> {
    async fn start<O: Operator>(&mut self, transports: &[O]) -> Result<Running, Stopped> {
        let options = &self.args.options;
        let before = repair::continued(transports, self.beside, options).await?;
        let moved = repair::moved_before(&before);
        self.left = self.left.map(|left| left.saturating_sub(u32::try_from(moved).unwrap_or(u32::MAX)));
        let plan = before.iter().flatten().find_map(|kept| Some(kept.progress.as_ref()?.plan.clone()));
        let plan = plan.unwrap_or_else(|| repair::plan(&options.asked));
        let job = Job {
            kind: match self.kind {
                Kind::Redrive { .. } => RepairKind::Redrive,
                Kind::Drop => RepairKind::Drop,
            },
            rpc: self.filter.rpc.clone(),
            plan: repair::limited(plan, self.left),
            rate: self.kind.rate(),
            continues: None,
            bound: self.dead_by,
            older_than: self.filter.older_than,
            also: self.beside.also,
        };
        Running::start(transports, job, (self.kind.is_undoable(), self.rule), &before, options).await
    }

    /// Without an answer of yes in advance, the letters are counted for the question, and later ones are left alone.
    async fn ask(&mut self, transports: &mut [impl Operator]) -> Result<(), Stopped> {
        if self.kind.is_undoable() && self.filter != Filter::default() {
            return Ok(());
        }
        if !self.args.consent.is_given() {
            self.asked = Some(self.count(transports).await?);
        }
        let letters = match &self.asked {
            Some(asked) => asked.text("dead letter", "dead"),
            None => "the dead letters that the filter selects".to_owned(),
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

    fn counting(&self) -> Filter {
        Filter { dead_by: self.dead_by, ..self.filter.clone() }
    }

    async fn count(&self, transports: &mut [impl Operator]) -> Result<Counted, Stopped> {
        let (mut counted, filter) = (Counted::default(), self.counting());
        for transport in transports {
            let went = tokio::select! {
                went = count_in(transport, &filter, &mut counted) => went,
                () = interrupted() => Err(Stopped::failed("interrupted", "nothing was done")),
            };
            transport.put_back().await;
            went?;
        }
        Ok(counted)
    }

    /// For --dry-run.
    async fn count_each(&self, transports: &mut [impl Operator], moved: &mut Moved) -> Result<(), Stopped> {
        let mut interrupted = pin!(interrupted());
        let filter = Filter { without_bodies: true, ..self.counting() };
        for transport in transports {
            let went = loop {
                let letters = tokio::select! {
                    letters = transport.next(&filter) => letters,
                    () = &mut interrupted => {
                        moved.interrupted = true;
                        break Ok(());
                    }
                };
                let letters = match letters {
                    Ok(letters) if letters.is_empty() => break Ok(()),
                    Ok(letters) => letters,
                    Err(error) => break Err(error),
                };
                moved.found += letters.len() as i64;
                let done = self.done(transport, &letters, moved).await;
                moved.count_done(done.iter().filter(|done| **done).count());
            };
            transport.put_back().await;
            went?;
        }
        Ok(())
    }

    async fn each<O: Operator>(
        &mut self,
        transports: &mut [O],
        running: &mut Running,
        moved: &mut Moved,
    ) -> Result<(), Stopped> {
        let mut interrupted = pin!(interrupted());
        let mut progress = Progress::new(self.kind.verb(false), None);
        for n in 0..transports.len() {
            let went = self.all(transports, n, running, (moved, &mut progress), interrupted.as_mut()).await;
            transports[n].put_back().await;
            match went {
                Ok(None) => {}
                Ok(Some(halt)) => {
                    moved.halt(halt);
                    break;
                }
                // Nothing was moved yet, so the error is the whole result.
                Err(stopped) if moved.moved == 0 => return Err(stopped),
                Err(stopped) => {
                    moved.failed = Some(stopped.problem);
                    break;
                }
            }
        }
        Ok(())
    }

    /// One transport's letters. What was counted is what is moved.
    async fn all<O: Operator>(
        &mut self,
        transports: &mut [O],
        n: usize,
        running: &mut Running,
        (moved, progress): (&mut Moved, &mut Progress),
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Halt>, Stopped> {
        let filter = Filter { dead_by: Some(running.bound(n)), limit: self.left, ..self.filter.clone() };
        // On SQS a letter can only be counted by receiving it.
        if transports[n].source() != SQS {
            let with = (&mut *running, &filter);
            let counted = match count_while_running(transports, n, with, interrupted.as_mut()).await? {
                Ok(counted) => counted,
                Err(halt) => return Ok(Some(halt)),
            };
            running.counted(n, Some(counted.count()));
            progress.more(counted.count());
            running.beat(transports, false).await;
        }
        let mut pace = running.pace();
        loop {
            if let Some(halt) = running.hear(transports).await {
                return Ok(Some(halt));
            }
            let mut letters = tokio::select! {
                letters = transports[n].next(&filter) => letters?,
                () = interrupted.as_mut() => return Ok(Some(Halt::Interrupted)),
            };
            if letters.is_empty() {
                return Ok(None);
            }
            letters.truncate(self.left.map_or(usize::MAX, |left| left as usize));
            if letters.is_empty() {
                return Ok(None);
            }
            letters.retain(|letter| self.asked.as_ref().is_none_or(|asked| asked.covers(letter.dead_at)));
            let done = match self.kind {
                Kind::Redrive { .. } => self.done(&transports[n], &letters, moved).await,
                Kind::Drop => vec![false; letters.len()],
            };
            let (mut letters, mut done) = (&letters[..], &done[..]);
            while !letters.is_empty() {
                let many = if self.canary > 0 { self.canary.min(TOGETHER) } else { TOGETHER };
                let (some, rest) = letters.split_at(many.min(letters.len()));
                let (some_done, rest_done) = done.split_at(some.len());
                (letters, done) = (rest, rest_done);
                let halt = running.wait((&mut pace, some.len()), transports, interrupted.as_mut()).await;
                if halt.is_some() {
                    return Ok(halt);
                }
                if running.was_held() {
                    progress.was_held();
                    // On SQS they may have become visible to others meanwhile.
                    if transports[n].source() == SQS {
                        transports[n].put_back().await;
                        break;
                    }
                }
                let went = self.some(&transports[n], &running.repair, (some, some_done), moved).await;
                running.add(n, some.len());
                self.left = self.left.map(|left| left.saturating_sub(some.len() as u32));
                progress.add(some.len());
                let some_moved = went?;
                if self.canary > 0 {
                    self.canary -= some_moved.min(self.canary);
                    if self.canary == 0 {
                        let halt = running.canary(transports, interrupted.as_mut()).await;
                        if halt.is_some() {
                            return Ok(halt);
                        }
                        // On SQS the others may have become visible to others meanwhile.
                        transports[n].put_back().await;
                        break;
                    }
                }
            }
        }
    }

    /// Returns how many were moved.
    async fn some<O: DeadLetters>(
        &self,
        transport: &O,
        repair: &Repair,
        (letters, done): (&[Letter<O::Handle>], &[bool]),
        moved: &mut Moved,
    ) -> Result<usize, Stopped> {
        let (before, mut failure) = (moved.moved, None);
        moved.found += letters.len() as i64;
        let outcomes = match self.kind {
            Kind::Redrive { force, .. } => transport.redrive(repair, letters, force).await,
            Kind::Drop => transport.take_away(repair, letters).await,
        };
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
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(usize::try_from(moved.moved - before).unwrap_or(0)),
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
}
