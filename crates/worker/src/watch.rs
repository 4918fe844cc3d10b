//! Which worker watches a quiet queue. The workers of the same queues write entries to a roster, and one of them watches each
//! queue. `member.rs` decides. This file reads and writes the roster, and sets the roles.

mod member;
mod rank;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::iter::repeat_with;
use std::time::Duration;

use metrics::{counter, gauge};
use outbox_aws::{Failure, Roster};
use outbox_runtime::Guarded;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::duty::{Duty, Role, Said};
use member::Member;

/// A longer wait would delay the next entry, and other workers would count this one as ended.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// 36 to this power is far more than the number of workers, so ids do not collide.
const ID_CHARS: usize = 8;

pub(crate) struct Watch {
    pub(crate) roster: Roster,
    /// The queues in the order of their names, each with the role of this worker.
    pub(crate) duties: Vec<(String, Duty)>,
    /// The time between two entries.
    pub(crate) every: Duration,
}

/// One run, with an id of its own.
struct Run<'a> {
    watch: &'a Watch,
    id: String,
    member: Guarded<Member>,
    troubles: [Guarded<Option<String>>; 2],
    shown: Guarded<(usize, usize)>,
}

#[derive(Clone, Copy)]
enum Request {
    Read,
    Write,
}

impl Watch {
    /// Runs until `stop`. Then the other workers take over.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        for request in [Request::Read, Request::Write] {
            request.errors(0);
        }
        let id: String = repeat_with(fastrand::alphanumeric).take(ID_CHARS).collect();
        let id = id.to_ascii_lowercase();
        let names = self.duties.iter().map(|(name, _)| name.as_str());
        let member = Member::new(id.clone(), names, self.every, Instant::now(), fastrand::Rng::new());
        let (member, troubles) = (Guarded::new(member), Default::default());
        let run = Run { watch: self, id, member, troubles, shown: Guarded::default() };
        tokio::select! {
            // It is not cut off at the stop, so that no entry is written after its removal.
            () = run.write(stop) => {}
            () = run.read() => {}
            () = run.decide() => {}
        }
        run.leave().await;
    }

    fn said(&self, now: Instant) -> Vec<Said> {
        self.duties.iter().map(|(_, duty)| duty.said(now, self.every)).collect()
    }

    fn tick(&self) -> impl Future<Output = ()> {
        tokio::time::sleep(self.every / 20)
    }
}

/// Without this task no role changes, so the worker watches every queue.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        for (_, duty) in &self.watch.duties {
            duty.set(Role::Watch);
        }
    }
}

impl Run<'_> {
    async fn write(&self, stop: &CancellationToken) {
        let roster = &self.watch.roster;
        loop {
            let now = Instant::now();
            let entry = self.member.lock().writes(&self.watch.said(now), now);
            if let Some(entry) = entry
                && !self.done(Request::Write, within(roster.sign(&self.id, &entry)).await)
            {
                self.member.lock().has_not_written(Instant::now());
            }
            if stop.run_until_cancelled(self.watch.tick()).await.is_none() {
                return;
            }
        }
    }

    async fn read(&self) {
        let roster = &self.watch.roster;
        loop {
            let began = Instant::now();
            if self.member.lock().reads(began) {
                match within(roster.read()).await {
                    Ok(entries) => {
                        self.member.lock().has_read(entries, began);
                        self.done(Request::Read, Ok(()));
                    }
                    Err(failure) => _ = self.done(Request::Read, Err(failure)),
                }
                let left = self.member.lock().left_behind(began);
                for (worker, entry) in left {
                    // After a failure it is repeated after the next read.
                    let _ = within(roster.strike(&worker, &entry)).await;
                }
            }
            self.watch.tick().await;
        }
    }

    /// It also decides without an answer from the table, because an entry that no longer changes ends by time.
    async fn decide(&self) {
        loop {
            let now = Instant::now();
            let (roles, members) = {
                let mut member = self.member.lock();
                (member.decides(&self.watch.said(now), now), member.members(now))
            };
            for (role, (_, duty)) in roles.iter().flatten().zip(&self.watch.duties) {
                duty.set(*role);
            }
            if let Some(roles) = roles {
                self.show(members, roles.iter().filter(|role| **role == Role::Watch).count());
            }
            self.watch.tick().await;
        }
    }

    fn show(&self, members: usize, watched: usize) {
        gauge!("outbox_worker_roster_members").set(members as f64);
        if std::mem::replace(&mut *self.shown.lock(), (members, watched)) != (members, watched) {
            let queues = self.watch.duties.len();
            tracing::info!(
                workers = members,
                queues,
                watched,
                worker = self.id,
                "the running workers share the queues: this one watches its part"
            );
        }
    }

    /// Returns whether the request succeeded. Of several equal failures the first is logged, and then the next success.
    fn done(&self, request: Request, answer: Result<(), Failure>) -> bool {
        let mut trouble = self.troubles[request as usize].lock();
        match answer {
            Ok(()) if trouble.is_some() => {
                *trouble = None;
                tracing::info!(request = request.name(), "the roster of workers answers again");
                true
            }
            Ok(()) => true,
            Err(failure) => {
                request.errors(1);
                if trouble.as_ref() != Some(&failure.code) {
                    tracing::warn!(request = request.name(), error = %failure, "{}", request.consequence());
                    *trouble = Some(failure.code);
                }
                false
            }
        }
    }

    /// After a failure the others take over once the entry has not changed for a while.
    async fn leave(&self) {
        let left = within(self.watch.roster.leave(&self.id)).await;
        self.done(Request::Write, left);
    }
}

impl Request {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::Read => {
                "can't read which other workers are running: this one will receive from every queue"
            }
            Self::Write => {
                "can't write that this worker is running: the others will receive from its queues, too"
            }
        }
    }

    fn errors(self, many: u64) {
        counter!("outbox_worker_roster_errors_total", "operation" => self.name()).increment(many);
    }
}

async fn within<T>(request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure {
        code: "Timeout".to_owned(),
        message: format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        refused: false,
    };
    Box::pin(tokio::time::timeout(ANSWER_WITHIN, request)).await.unwrap_or_else(|_| Err(late()))
}
