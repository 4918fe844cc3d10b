//! Who watches a quiet queue: the workers of the same queues show each other in a roster that they live, and each queue is
//! watched by one of them. `member.rs` decides; this reads, writes and says what was decided.

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

/// An answer that takes longer would come too late for the workers that wait for the next entry.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// 36 to the power of this is many more than there are workers.
const ID_CHARS: usize = 8;

pub(crate) struct Watch {
    pub(crate) roster: Roster,
    /// The name of each queue, in order, and the part that this worker takes in it.
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
    /// Until `stop`. Then the other workers take over.
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
            // It ends itself, so that no entry is written after the last one was taken away.
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

/// Without this task there is nothing to keep to.
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
                    // If it fails, it is tried again after the next read.
                    let _ = within(roster.strike(&worker, &entry)).await;
                }
            }
            self.watch.tick().await;
        }
    }

    /// By the clock, too: a worker that is not seen any more dies without an answer from the table.
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
                "the workers that live share the queues: this one watches its part"
            );
        }
    }

    /// Returns whether it succeeded. A trouble is logged when it begins and when it ends.
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

    /// If it fails, the others take over as if this worker had died.
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
                "can't read which other workers live: this one will receive from every queue, as if it were alone"
            }
            Self::Write => "can't write that this worker lives: the others will receive from its queues, too",
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
