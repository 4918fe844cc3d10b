//! Another rate for a running repair, and its pause.

use std::process::ExitCode;

use outbox_transport::operate::{Asked, Change, Kept, OperateError, Operator, Paced, Standing, thousands};
use uuid::Uuid;

use super::told::unknown;
use crate::options::Options;
use crate::repair;
use crate::safe::line;
use crate::show::NAME_CHARS_MAX;
use crate::stopped::Stopped;
use crate::transport::Work;

pub(super) struct Pacing<'a> {
    pub(super) id: Uuid,
    pub(super) change: Change,
    pub(super) options: &'a Options,
}

impl Work for Pacing<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Self { id, change, options } = self;
        let (mut found, mut its) = (Vec::new(), Vec::new());
        for transport in transports {
            if let Some(kept) = transport.find(id).await? {
                found.push(kept);
                its.push(transport);
            }
        }
        if found.is_empty() {
            return Err(unknown(id, options));
        }
        if let Some((problem, remedy)) = refusal(&found, change) {
            let id = id.to_string();
            let remedy = match remedy {
                Remedy::Run(what) => options.command(["repair", what, &id]),
                Remedy::Know(text) => text,
            };
            return Err(Stopped::failed(format!("repair {id} {problem}"), remedy));
        }
        let repair = repair::begin(&options.asked, &its, true).await?;
        let asked = ask(&its, id, &repair.who, change).await;
        match asked {
            Ok(()) => {
                let said = said(&found, change, &options.command(["repair", "resume", &id.to_string()]));
                let result = serde_json::json!({"repair": id, "said": said});
                repair::end(repair, &its, &result).await;
                options.answer(&result, || format!("repair {id}: {said}"))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                repair::end(repair, &its, &error.problem).await;
                Err(error.into())
            }
        }
    }
}

/// A repair ends in one database after the other.
async fn ask(its: &[impl Paced], id: Uuid, who: &str, change: Change) -> Result<(), OperateError> {
    let mut is_asked = false;
    for transport in its {
        is_asked |= transport.pace(id, who, change).await? == Asked::Asked;
    }
    if is_asked {
        return Ok(());
    }
    let remedy = format!("see `outbox repair show {id}`");
    Err(OperateError::failed(format!("repair {id} runs no more: nothing was changed"), remedy))
}

#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// A subcommand of `outbox repair`.
    Run(&'static str),
    Know(String),
}

/// Pure: why it is not asked.
fn refusal(found: &[Kept], change: Change) -> Option<(String, Remedy)> {
    let is = |standing: Standing| found.iter().any(|kept| kept.standing() == standing);
    let running = found.iter().filter(|kept| kept.standing() == Standing::Running);
    let speeds: Vec<_> = running.filter_map(|kept| Some(&kept.progress.as_ref()?.speed)).collect();
    if speeds.is_empty() {
        return Some(if is(Standing::Silent) {
            ("is silent: no command would follow".to_owned(), Remedy::Run("continue"))
        } else if is(Standing::NotEnded) {
            let remedy = "only a redrive, a drop or a replay can be paused".to_owned();
            ("does not say that it runs".to_owned(), Remedy::Know(remedy))
        } else {
            ("has ended".to_owned(), Remedy::Run("show"))
        });
    }
    if change == Change::Resume && speeds.iter().all(|speed| speed.paused_by.is_none()) {
        return Some(("is not paused".to_owned(), Remedy::Run("show")));
    }
    let refused = speeds.iter().find_map(|speed| change.check(speed).err())?;
    Some((format!("goes on as before: {}", refused.problem), Remedy::Know(refused.remedy)))
}

/// Pure: what was asked, and when it will be so.
fn said(found: &[Kept], change: Change, resume: &str) -> String {
    let speeds = || found.iter().filter_map(|kept| Some(&kept.progress.as_ref()?.speed));
    let paused_by = speeds().find_map(|speed| speed.paused_by.as_deref());
    let by = |by: &str| line(by, NAME_CHARS_MAX);
    match (change, paused_by) {
        (Change::Rate(rate), None) => {
            let rate = thousands(rate.into());
            format!("asked to go at {rate} a second: its command follows within a few seconds")
        }
        (Change::Rate(rate), Some(paused_by)) => {
            let (rate, by) = (thousands(rate.into()), by(paused_by));
            format!("will go at {rate} a second, and stays paused by {by}; to let it go on: {resume}")
        }
        (Change::Pause, None) => {
            format!("asked to pause: nothing is moved after a few seconds; to let it go on: {resume}")
        }
        (Change::Pause, Some(paused_by)) => {
            format!("it was paused before by {}; to let it go on: {resume}", by(paused_by))
        }
        (Change::Resume, _) => {
            let rate = speeds().filter_map(|speed| speed.rate).min();
            let at = rate.map(|rate| format!(", at {} a second", thousands(rate.into()))).unwrap_or_default();
            format!("asked to go on: its command follows within a few seconds{at}")
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use outbox_transport::operate::{Kind, Progress, Speed};
    use serde_json::json;

    use super::*;

    fn kept(ended: bool, beat_seconds_ago: f64, rate: Option<u32>, paused_by: Option<&str>) -> Kept {
        let speed = Speed { rate, rate_by: None, paused_by: paused_by.map(str::to_owned) };
        Kept {
            source: "cards".to_owned(),
            id: Uuid::nil(),
            at: Utc::now().into(),
            who: "a@b".to_owned(),
            role: None,
            command: String::new(),
            ended,
            result: ended.then(|| json!({"moved": 3})),
            progress: Some(Progress {
                kind: if rate.is_some() { Kind::Redrive } else { Kind::Drop },
                rpc: None,
                plan: Vec::new(),
                bound: None,
                reached: 3,
                total: None,
                place: None,
                beat_seconds_ago,
                stop_by: None,
                speed,
                taken_back: 0,
            }),
        }
    }

    /// Guards promise 8: only a repair that runs, and has what is changed, is asked. Otherwise nothing is asked, and the remedy is named.
    #[test]
    fn what_can_not_follow_is_not_asked() {
        let (running, paused) = (kept(false, 1.0, Some(50), None), kept(false, 1.0, Some(50), Some("a@b")));
        let (drop, silent) = (kept(false, 1.0, None, None), kept(false, 90.0, Some(50), None));
        let (ended, other) = (kept(true, 90.0, Some(50), None), Kept { progress: None, ..running.clone() });
        for (found, change, why) in [
            (vec![&running], Change::Rate(25), None),
            (vec![&running], Change::Pause, None),
            (vec![&paused], Change::Resume, None),
            (vec![&paused], Change::Rate(25), None),
            (vec![&paused], Change::Pause, None),
            (vec![&drop], Change::Pause, None),
            (vec![&ended, &running], Change::Pause, None),
            (vec![&running], Change::Resume, Some("is not paused")),
            (vec![&drop], Change::Rate(25), Some("goes on as before: this repair has no rate")),
            (vec![&silent], Change::Pause, Some("is silent: no command would follow")),
            (vec![&ended, &silent], Change::Rate(25), Some("is silent: no command would follow")),
            (vec![&ended], Change::Resume, Some("has ended")),
            (vec![&other], Change::Pause, Some("does not say that it runs")),
        ] {
            let found: Vec<Kept> = found.into_iter().cloned().collect();
            let refused = refusal(&found, change).map(|(problem, _)| problem);
            assert_eq!(refused.as_deref(), why, "{change:?} {found:?}");
        }
    }

    /// Guards promise 8: the answer says who has paused a repair, and the command that ends the pause.
    #[test]
    fn an_answer_says_what_will_be() {
        let (running, paused) = (kept(false, 1.0, Some(50), None), kept(false, 1.0, Some(50), Some("a@b")));
        for (found, change, parts) in [
            (&running, Change::Rate(2000), &["asked to go at 2,000 a second"][..]),
            (&paused, Change::Rate(25), &["will go at 25 a second", "stays paused by a@b", "RESUME"]),
            (&running, Change::Pause, &["asked to pause", "RESUME"]),
            (&paused, Change::Pause, &["paused before by a@b", "RESUME"]),
            (&paused, Change::Resume, &["asked to go on", "at 50 a second"]),
        ] {
            let said = said(std::slice::from_ref(found), change, "RESUME");
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }
}
