//! A repair of many things that runs: it writes its progress, and looks whether it shall stop.

use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_transport::operate::{
    Asked, At, BEAT_EVERY, Fates, Job, Kept, Operator, RATE_MAX, Reached, Repair, Repairs, Speed, Standing,
    Started, thousands,
};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::pacing::{Step, changed, slowest, step};
use super::rule::{Halt, Rule};
use crate::options::Options;
use crate::pace::{self, Pace};
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, moment_of};
use crate::stopped::Stopped;

/// How often it is asked what became of the first ones.
const CANARY_EVERY: Duration = Duration::from_millis(500);

/// Beside another repair, or after one.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Beside {
    /// Begin although another repair of this kind runs for the same RPC.
    #[arg(long)]
    pub(crate) also: bool,

    /// Only `outbox repair continue` passes it.
    #[arg(long, hide = true, value_name = "ID")]
    pub(crate) continues: Option<Uuid>,
}

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) repair: Repair,
    rule: Rule,
    /// By transport.
    bounds: Vec<DateTime<Utc>>,
    reached: Vec<Reached>,
    beat: Instant,
    fates: Fates,
    stop_by: Option<String>,
    /// By transport, as it was heard last.
    speeds: Vec<Speed>,
    speed: Speed,
    /// Since it was asked, it was paused.
    was_held: bool,
    /// The command that ends a pause.
    resume: String,
}

impl Running {
    /// Begins it on each transport, or on none. `before` has the repair that it continues, by transport.
    pub(crate) async fn start<O: Operator>(
        transports: &[O],
        mut job: Job,
        (undoable, rule): (bool, Rule),
        before: &[Option<Kept>],
        options: &Options,
    ) -> Result<Self, Stopped> {
        let (repair, given, rate) = (super::new(&options.asked), job.bound, job.rate);
        let (mut bounds, mut speeds) = (Vec::new(), Vec::new());
        let mut reached = vec![Reached::default(); transports.len()];
        for (n, transport) in transports.iter().enumerate() {
            let kept = before.get(n).and_then(Option::as_ref).filter(|kept| kept.progress.is_some());
            let progress = kept.and_then(|kept| kept.progress.as_ref());
            job.continues = kept.map(|kept| kept.id);
            job.bound = progress.and_then(|progress| progress.bound?.known()).or(given);
            // It keeps the rate that it had at its end.
            job.rate = progress.and_then(|progress| progress.speed.rate).or(rate);
            speeds.push(Speed { rate: job.rate, ..Speed::default() });
            // It may be killed before it comes further.
            reached[n].place = progress.and_then(|progress| progress.place.clone());
            let refused = match transport.start(&repair, &job, undoable).await {
                Ok(Started::Begun { bound }) => {
                    bounds.push(bound);
                    continue;
                }
                Ok(Started::InTheWay(other)) => in_the_way(&other, options),
                Err(error) => error.into(),
            };
            let nothing = serde_json::json!({"moved": 0, "failed": refused.problem});
            super::end(repair, &transports[..n], &nothing).await;
            return Err(refused);
        }
        let id = repair.id.to_string();
        crate::terminal::say(&format!(
            "repair {id}; to stop it: {}",
            options.command(["repair", "stop", &id])
        ));
        options.asked.has_begun(repair.id);
        let (beat, fates) = (Instant::now(), Fates::default());
        let (speed, resume) = (slowest(&speeds), options.command(["repair", "resume", &id]));
        let (stop_by, was_held) = (None, false);
        Ok(Self { repair, rule, bounds, reached, beat, fates, stop_by, speeds, speed, was_held, resume })
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.speed.rate.unwrap_or(RATE_MAX))
    }

    /// Whether it was paused since this was asked.
    pub(crate) fn was_held(&mut self) -> bool {
        std::mem::take(&mut self.was_held)
    }

    /// What died later is left alone.
    pub(crate) fn bound(&self, transport: usize) -> DateTime<Utc> {
        self.bounds[transport]
    }

    pub(crate) fn counted(&mut self, transport: usize, total: Option<i64>) {
        self.reached[transport].total = total;
    }

    pub(crate) fn add(&mut self, transport: usize, many: usize) {
        self.reached[transport].reached += i64::try_from(many).unwrap_or(0);
    }

    pub(crate) fn came_to(&mut self, transport: usize, place: String) {
        self.reached[transport].place = Some(place);
    }

    /// Says that it runs, if it is time for that. Returns why it shall not go on.
    pub(crate) async fn hear(&mut self, transports: &[impl Repairs]) -> Option<Halt> {
        if self.beat.elapsed() >= BEAT_EVERY {
            self.beat(transports, self.rule.stop_if_dead.is_some()).await;
        }
        self.halt()
    }

    /// Waits until so many more may go, at the rate that it has by then, and says meanwhile that it runs. While it is paused, none
    /// may go.
    pub(crate) async fn wait(
        &mut self,
        (pace, many): (&mut Pace, usize),
        transports: &[impl Repairs],
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Halt> {
        loop {
            let may_go = match step(self.hear(transports).await, &self.speed) {
                Step::Halt(halt) => return Some(halt),
                Step::Hold => {
                    self.was_held = true;
                    false
                }
                Step::Go(rate) => {
                    pace.keep(rate);
                    true
                }
            };
            tokio::select! {
                () = pace.wait(many), if may_go => return None,
                () = interrupted.as_mut() => return Some(Halt::Interrupted),
                () = tokio::time::sleep(BEAT_EVERY) => {}
            }
        }
    }

    /// Waits until the first ones are done. None if it goes on.
    pub(crate) async fn canary(
        &mut self,
        transports: &[impl Repairs],
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Halt> {
        let began = Instant::now();
        loop {
            self.beat(transports, true).await;
            if let Some(by) = &self.stop_by {
                return Some(stopped_by(by));
            }
            if let Some(ends) = self.rule.canary(self.fates, began.elapsed()) {
                return ends;
            }
            tokio::select! {
                () = interrupted.as_mut() => return Some(Halt::Interrupted),
                () = tokio::time::sleep(CANARY_EVERY) => {}
            }
        }
    }

    fn halt(&self) -> Option<Halt> {
        self.stop_by.as_deref().map(stopped_by).or_else(|| self.rule.dead(self.fates))
    }

    /// A failure is no reason to stop: the next change would fail, too.
    pub(crate) async fn beat(&mut self, transports: &[impl Repairs], fates: bool) {
        let mut all = Some(Fates::default());
        let its = self.reached.iter_mut().zip(&mut self.speeds);
        for (transport, (reached, speed)) in transports.iter().zip(its) {
            reached.fates = fates;
            let Ok(heard) = transport.beat(&self.repair, reached).await else {
                all = None;
                continue;
            };
            self.stop_by = self.stop_by.take().or(heard.stop_by);
            *speed = heard.speed;
            all = all
                .zip(heard.fates)
                .map(|(all, more)| Fates { waiting: all.waiting + more.waiting, dead: all.dead + more.dead });
        }
        let before = std::mem::replace(&mut self.speed, slowest(&self.speeds));
        for said in changed(&before, &self.speed, &self.resume) {
            pace::say(&said);
        }
        match all {
            Some(all) => self.fates = all,
            // What is not known must not look as if all were done.
            None if fates => self.fates.waiting = self.fates.waiting.max(1),
            None => {}
        }
        self.beat = Instant::now();
    }

    pub(crate) async fn end<O: Operator>(mut self, transports: &[O], result: &impl Serialize) {
        self.beat(transports, false).await;
        super::end(self.repair, transports, result).await;
    }
}

/// How many the repairs have moved that are continued. On AWS only what it has looked at is known of a command that was killed.
pub(crate) fn moved_before(before: &[Option<Kept>]) -> i64 {
    let moved = |kept: &Kept| kept.changed().or(kept.progress.as_ref().map(|progress| progress.reached));
    before.iter().flatten().filter_map(moved).sum()
}

/// The repair that is continued, by transport. One that was killed is ended first: if its command still lives, its next change
/// fails.
pub(crate) async fn continued<O: Operator>(
    transports: &[O],
    beside: &Beside,
    options: &Options,
) -> Result<Vec<Option<Kept>>, Stopped> {
    let Some(id) = beside.continues else { return Ok(Vec::new()) };
    let mut before = Vec::new();
    for transport in transports {
        let mut kept = transport.find(id).await?;
        match kept.as_ref().map(|kept| (kept.standing(), kept)) {
            Some((Standing::Running, kept)) => return Err(in_the_way(kept, options)),
            Some((Standing::Silent, _)) => {
                end_silent(transport, id, &super::who(&options.asked)).await?;
                // It may have moved more until then.
                kept = transport.find(id).await?;
            }
            _ => {}
        }
        before.push(kept);
    }
    if before.iter().all(Option::is_none) {
        return Err(Stopped::failed(format!("there is no repair {id}"), "see `outbox repair list`"));
    }
    Ok(before)
}

/// Before anything is done for a repair that was silent. Its command may live, and have been cut off for a while.
pub(crate) async fn end_silent(transport: &impl Repairs, id: Uuid, who: &str) -> Result<(), Stopped> {
    match transport.stop(id, who).await? {
        Asked::Asked => Err(Stopped::failed(
            format!("repair {id} runs again"),
            "it was asked to stop: run this again in a few seconds",
        )),
        Asked::Ended | Asked::Silent | Asked::Over | Asked::Unknown => Ok(()),
    }
}

fn stopped_by(by: &str) -> Halt {
    Halt::Stopped(format!("by {}", line(by, NAME_CHARS_MAX)))
}

fn in_the_way(other: &Kept, options: &Options) -> Stopped {
    let Kept { id, at, who, progress, .. } = other;
    let id = id.to_string();
    let at: At = *at;
    let (kind, rpc, done) = match progress {
        Some(progress) => (
            progress.kind.to_string(),
            progress.rpc.clone().unwrap_or_else(|| "every RPC".to_owned()),
            match (progress.total, &progress.speed.paused_by) {
                (_, Some(by)) => format!("paused by {}", line(by, NAME_CHARS_MAX)),
                (Some(total), None) => format!("{} of {}", thousands(progress.reached), thousands(total)),
                (None, None) => format!("{} so far", thousands(progress.reached)),
            },
        ),
        None => ("repair".to_owned(), "some RPCs".to_owned(), "how far is not known".to_owned()),
    };
    let on_id = |what: &str| options.command(["repair", what, &id]);
    let wait = match progress.as_ref().is_some_and(|progress| progress.speed.paused_by.is_some()) {
        true => format!("let it go on: {},", on_id("resume")),
        false => "wait for it,".to_owned(),
    };
    Stopped::failed(
        format!(
            "another {kind} runs for {}: repair {id} of {}, since {}, {done}; nothing was done",
            line(&rpc, NAME_CHARS_MAX),
            line(who, NAME_CHARS_MAX),
            moment_of(at)
        ),
        format!("{wait} pass --also to run beside it, or stop it: {}", on_id("stop")),
    )
}

#[cfg(test)]
mod tests;
