use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::pin;

use outbox_transport::operate::{Heard, OperateError};

use super::*;

/// A transport whose repair answers so, and whose beats bring these, one after the other.
struct Answers(Asked, RefCell<VecDeque<Heard>>);

impl Repairs for Answers {
    async fn start(&self, _: &Repair, _: &Job, _: bool) -> Result<Started, OperateError> {
        Err(OperateError::failed("not asked", "none"))
    }

    async fn beat(&self, _: &Repair, _: &Reached) -> Result<Heard, OperateError> {
        self.1.borrow_mut().pop_front().ok_or_else(|| OperateError::failed("no answer", "none"))
    }

    async fn stop(&self, _: Uuid, _: &str) -> Result<Asked, OperateError> {
        Ok(self.0)
    }

    async fn take_back(&self, _: &Repair, _: Uuid) -> Result<Option<i64>, OperateError> {
        Ok(None)
    }
}

/// Guards promise 3: nothing is continued or taken back while its command, which was silent, runs again.
#[tokio::test]
async fn what_runs_again_is_left_alone() {
    for (answer, runs) in
        [(Asked::Asked, true), (Asked::Ended, false), (Asked::Over, false), (Asked::Unknown, false)]
    {
        let ended = end_silent(&Answers(answer, RefCell::default()), Uuid::nil(), "me@host").await;
        assert_eq!(ended.is_err(), runs, "{answer:?}");
        assert!(ended.err().is_none_or(|stopped| stopped.problem.contains("runs again")));
    }
}

/// At one a second.
fn running() -> Running {
    let (id, who) = (Uuid::nil(), "me@host".to_owned());
    let speed = Speed { rate: Some(1), ..Speed::default() };
    Running {
        repair: Repair { id, at: Utc::now(), who, command: String::new(), result: None },
        rule: Rule::default(),
        bounds: Vec::new(),
        reached: vec![Reached::default()],
        beat: Instant::now(),
        fates: Fates::default(),
        stop_by: None,
        speeds: vec![speed.clone()],
        speed,
        was_held: false,
        resume: "outbox repair resume".to_owned(),
    }
}

fn heard(rate: u32, is_paused: bool, is_stopped: bool) -> Heard {
    let you = || "you@host".to_owned();
    let speed = Speed { rate: Some(rate), rate_by: None, paused_by: is_paused.then(you) };
    Heard { stop_by: is_stopped.then(you), speed, fates: None }
}

/// Guards promise 8: a paused repair moves nothing and keeps its beat. Resumed at another rate, it goes on at that one. A beat without an
/// answer ends no pause, and a stop or an interruption ends the wait.
#[tokio::test(start_paused = true)]
async fn a_paused_repair_waits() {
    let stopped = Some(Halt::Stopped("by you@host".to_owned()));
    let (held, resumed) = (heard(1, true, false), heard(1000, false, false));
    let failed = Vec::new();
    for (beats, seconds, halt, was_held) in [
        (vec![heard(1, false, false)], 8.0, None, false),
        (vec![resumed.clone()], 2.0, None, false),
        (vec![held.clone(), held.clone(), resumed], 6.0, None, true),
        (vec![held.clone(), heard(1, true, true)], 4.0, stopped, true),
        (vec![held], 21.0, Some(Halt::Interrupted), true),
        (failed, 8.0, None, false),
    ] {
        let case = format!("{beats:?}");
        let (mut running, transports) = (running(), [Answers(Asked::Over, RefCell::new(beats.into()))]);
        let mut interrupted = pin!(tokio::time::sleep(Duration::from_secs(21)));
        let mut pace = running.pace();
        let began = Instant::now();
        assert_eq!(running.wait((&mut pace, 8), &transports, interrupted.as_mut()).await, None);
        let went = running.wait((&mut pace, 8), &transports, interrupted.as_mut()).await;
        assert_eq!((went, running.was_held()), (halt, was_held), "{case}");
        let took = began.elapsed().as_secs_f64();
        assert!((seconds..seconds + 0.5).contains(&took), "{took}: {case}");
        assert!(!running.was_held(), "it was asked before");
    }
}
