//! Workers in simulated time, with their roster, their queues, and faults drawn from a seed. It must find each flaw.

mod fault;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use outbox_aws::Entry;
use tokio::time::Instant;

use super::member::Member;
use crate::codes::Says;
use crate::duty::{FAILS_FOR, Role, Said, Work};
pub(super) use fault::{Flaw, Wrong};

const EVERY: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_secs(1);
const SLOTS: usize = 10;
/// The longest time without a worker that receives, after a kill or a partition.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// The same after a start or a stop, which the workers read in the roster.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(8);

pub(super) struct Worker {
    member: Member,
    /// The queues of its router.
    queues: Vec<usize>,
    receivers: Vec<Receiver>,
    roles: Vec<Role>,
    lives: bool,
    reads: bool,
    writes: bool,
    /// By queue.
    wrong: BTreeMap<usize, Wrong>,
    ahead: Duration,
    last_read: BTreeMap<String, Entry>,
}

struct Receiver {
    work: Work,
    polls_until: Option<Duration>,
    found: bool,
    /// When each ends, and when its message was sent.
    calls: VecDeque<(Duration, Duration)>,
    /// Its last call failed, and is not forgotten.
    fails_until: Duration,
}

pub(super) struct Fleet {
    start: Instant,
    now: Duration,
    random: fastrand::Rng,
    flaw: Flaw,
    names: Vec<String>,
    pub(super) workers: Vec<Worker>,
    /// One roster for each set of queues. Each entry has the time of its writer's clock.
    rosters: BTreeMap<Vec<usize>, BTreeMap<String, (Entry, Duration)>>,
    /// An older copy of the rosters, which some reads get.
    lagging: BTreeMap<Vec<usize>, BTreeMap<String, (Entry, Duration)>>,
    messages: Vec<VecDeque<Duration>>,
    /// After failed calls: the queue, and when the message was sent.
    hidden: Vec<(usize, Duration)>,
    received_from: Vec<Duration>,
    changed: (Duration, Duration),
    pub(super) polls: usize,
    pub(super) turns: usize,
    pub(super) longest_wait: Duration,
}

impl Fleet {
    pub(super) fn new(queues: usize, seed: u64, flaw: Flaw) -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            random: fastrand::Rng::with_seed(seed),
            flaw,
            names: (0..queues).map(|n| format!("outbox-Test--Rpc{n:03}")).collect(),
            workers: Vec::new(),
            rosters: BTreeMap::new(),
            lagging: BTreeMap::new(),
            messages: vec![VecDeque::new(); queues],
            hidden: Vec::new(),
            received_from: vec![Duration::ZERO; queues],
            changed: (Duration::ZERO, AWAY_MAX),
            polls: 0,
            turns: 0,
            longest_wait: Duration::ZERO,
        }
    }

    pub(super) fn join(&mut self, queues: impl IntoIterator<Item = usize>) {
        let queues: Vec<usize> = queues.into_iter().collect();
        let (now, seed) = (self.start + self.now, self.random.u64(..));
        let id: String = std::iter::repeat_with(|| self.random.lowercase()).take(8).collect();
        let names = queues.iter().map(|queue| self.names[*queue].as_str());
        let member = Member::new(id, names, EVERY, now, fastrand::Rng::with_seed(seed));
        let receiver = |_| Receiver {
            work: Work::new(now),
            polls_until: None,
            found: false,
            calls: VecDeque::new(),
            fails_until: Duration::ZERO,
        };
        self.workers.push(Worker {
            member,
            receivers: queues.iter().map(receiver).collect(),
            roles: vec![Role::Watch; queues.len()],
            queues,
            lives: true,
            reads: true,
            writes: true,
            wrong: BTreeMap::new(),
            ahead: Duration::from_secs(self.random.u64(..1200)),
            last_read: BTreeMap::new(),
        });
        self.changed = (self.now, HANDED_OVER_WITHIN);
    }

    pub(super) fn kill(&mut self, worker: usize) {
        self.workers[worker].lives = false;
        self.changed = (self.now, AWAY_MAX);
    }

    pub(super) fn stop(&mut self, worker: usize) {
        self.workers[worker].lives = false;
        let Worker { member, queues, .. } = &self.workers[worker];
        if self.flaw != Flaw::KeepsItsEntry
            && let Some(roster) = self.rosters.get_mut(queues)
        {
            roster.remove(&member.id);
        }
        self.changed = (self.now, HANDED_OVER_WITHIN);
    }

    pub(super) fn part(&mut self, worker: usize, reads: bool, writes: bool) {
        (self.workers[worker].reads, self.workers[worker].writes) = (reads, writes);
        self.changed = (self.now, AWAY_MAX);
    }

    pub(super) fn goes(&mut self, worker: usize, queue: usize, wrong: Option<Wrong>) {
        let wrongs = &mut self.workers[worker].wrong;
        wrongs.remove(&queue);
        wrongs.extend(wrong.map(|wrong| (queue, wrong)));
        self.changed = (self.now, AWAY_MAX);
    }

    pub(super) fn send(&mut self, queue: usize, many: usize) {
        self.messages[queue].extend(std::iter::repeat_n(self.now, many));
    }

    pub(super) fn living(&self) -> Vec<usize> {
        (0..self.workers.len()).filter(|at| self.workers[*at].lives).collect()
    }

    /// How many workers receive from a queue, or call for it.
    pub(super) fn at(&self, queue: usize) -> usize {
        self.workers.iter().filter(|worker| worker.lives && worker.is_at(queue, self.now)).count()
    }

    pub(super) fn watchers(&self, queue: usize) -> Vec<usize> {
        let watches = |worker: &Worker| worker.role(queue) == Some(Role::Watch);
        self.living().into_iter().filter(|at| watches(&self.workers[*at])).collect()
    }

    /// Fails if no worker receives from a queue for longer than is allowed.
    pub(super) fn run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            if self.now.as_millis().is_multiple_of(2000) {
                self.lagging.clone_from(&self.rosters);
            }
            for (queue, sent) in std::mem::take(&mut self.hidden) {
                self.messages[queue].push_front(sent);
            }
            let mut workers = std::mem::take(&mut self.workers);
            let mut order: Vec<&mut Worker> = workers.iter_mut().filter(|worker| worker.lives).collect();
            self.random.shuffle(&mut order);
            for worker in order {
                self.share(worker);
                self.receive(worker);
            }
            self.workers = workers;
            self.check()?;
        }
        let waits = self.messages.iter().flatten().map(|sent| self.now - *sent).max();
        self.longest_wait = self.longest_wait.max(waits.unwrap_or_default());
        Ok(())
    }

    fn share(&mut self, worker: &mut Worker) {
        let now = self.start + self.now;
        let said: Vec<Said> = worker.receivers.iter_mut().map(|one| one.work.said(now, EVERY)).collect();
        if let Some(mut entry) = worker.member.writes(&said, now) {
            if self.flaw == Flaw::NeverSaysFull {
                entry.full.clear();
            }
            if self.flaw == Flaw::NeverSaysAway {
                entry.away.clear();
            }
            if worker.writes {
                let roster = self.rosters.entry(worker.queues.clone()).or_default();
                roster.insert(worker.member.id.clone(), (entry, self.now + worker.ahead));
            } else {
                worker.member.has_not_written(now);
            }
        }
        if worker.member.reads(now) {
            self.read(worker, now);
        }
        if let Some(roles) = worker.member.decides(&said, now) {
            self.turns += roles.iter().zip(&worker.roles).filter(|(now, before)| now != before).count();
            worker.roles = roles;
        }
    }

    fn read(&mut self, worker: &mut Worker, now: Instant) {
        let lags = self.random.u8(..) < 25;
        let rosters = if lags { &self.lagging } else { &self.rosters };
        let found = rosters.get(&worker.queues).cloned().unwrap_or_default();
        let mut entries: BTreeMap<String, Entry> =
            found.iter().map(|(id, (entry, _))| (id.clone(), entry.clone())).collect();
        let again = |entries: &mut BTreeMap<String, Entry>, before: &BTreeMap<String, Entry>| {
            for (id, entry) in entries {
                entry.beat = before.get(id).map_or(entry.beat, |before| before.beat) + 1;
            }
        };
        match self.flaw {
            Flaw::TrustsOldReads if !worker.reads => {
                entries = worker.last_read.clone();
                again(&mut entries, &worker.last_read);
            }
            _ if !worker.reads => return,
            Flaw::ComparesClocks => {
                entries.retain(|id, _| self.now + worker.ahead < found[id].1 + 2 * EVERY);
                again(&mut entries, &worker.last_read);
            }
            _ => {}
        }
        worker.last_read.clone_from(&entries);
        worker.member.has_read(entries, now);
    }

    fn receive(&mut self, worker: &mut Worker) {
        let now = self.start + self.now;
        for (at, receiver) in worker.receivers.iter_mut().enumerate() {
            let queue = worker.queues[at];
            let wrong = worker.wrong.get(&queue).copied();
            let (is_cut_off, hangs) = (wrong == Some(Wrong::CutOff), wrong == Some(Wrong::Hangs));
            let calls_fail = wrong == Some(Wrong::CallsFail);
            while let Some((_, sent)) = receiver.calls.pop_front_if(|(ends, _)| *ends <= self.now) {
                if calls_fail {
                    self.hidden.push((queue, sent));
                    if self.now >= receiver.fails_until {
                        self.changed = (self.now, AWAY_MAX);
                    }
                }
                receiver.fails_until = if calls_fail { self.now + FAILS_FOR } else { Duration::ZERO };
                if self.flaw != Flaw::ForgetsCalls {
                    receiver.work.called(if calls_fail { Says::Away } else { Says::Succeeds }, now);
                }
            }
            loop {
                let Some(until) = receiver.polls_until else {
                    if worker.roles[at] == Role::Rest && !receiver.found {
                        receiver.work.rests(now);
                        break;
                    }
                    receiver.work.is_crowded(now);
                    if is_cut_off {
                        receiver.work.is_away(now);
                    }
                    if is_cut_off || receiver.calls.len() == SLOTS {
                        break;
                    }
                    receiver.work.asks(now);
                    receiver.polls_until = Some(self.now + POLL);
                    self.polls += 1;
                    continue;
                };
                let is_late = hangs && self.now + POLL >= until + self.flaw.receive_within();
                if is_cut_off || is_late {
                    (receiver.polls_until, receiver.found) = (None, false);
                    receiver.work.is_away(now);
                    break;
                }
                let many = self.messages[queue].len().min(SLOTS - receiver.calls.len());
                if hangs || many == 0 && self.now < until {
                    if self.now + POLL >= until + Duration::from_secs(5) {
                        receiver.work.is_quiet(now);
                        if self.flaw == Flaw::TrustsOpenPolls {
                            receiver.work.answered(0, now);
                        }
                    }
                    break;
                }
                for sent in self.messages[queue].drain(..many) {
                    if !calls_fail {
                        self.longest_wait = self.longest_wait.max(self.now - sent);
                    }
                    receiver.calls.push_back((self.now + CALL, sent));
                }
                receiver.work.answered(many, now);
                (receiver.polls_until, receiver.found) = (None, many > 0);
            }
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let (changed, within) = self.changed;
        for queue in 0..self.names.len() {
            let can = |worker: &&Worker| worker.lives && worker.can(queue);
            if !self.workers.iter().any(|worker| can(&worker)) || self.at(queue) > 0 {
                self.received_from[queue] = self.now;
            }
            let away = self.now - self.received_from[queue].max(changed);
            if away > within {
                let now = self.now;
                return Err(format!("at {now:?} no worker has received from queue {queue} for {away:?}"));
            }
        }
        Ok(())
    }
}

impl Worker {
    fn place(&self, queue: usize) -> Option<usize> {
        self.queues.binary_search(&queue).ok()
    }

    fn role(&self, queue: usize) -> Option<Role> {
        Some(self.roles[self.place(queue)?])
    }

    fn can(&self, queue: usize) -> bool {
        self.place(queue).is_some() && !self.wrong.contains_key(&queue)
    }

    fn is_at(&self, queue: usize, now: Duration) -> bool {
        self.place(queue).is_some_and(|at| {
            let (receiver, wrong) = (&self.receivers[at], self.wrong.get(&queue));
            let polls = receiver.polls_until.is_some() && wrong != Some(&Wrong::Hangs);
            (polls || !receiver.calls.is_empty()) && now >= receiver.fails_until
        })
    }
}
