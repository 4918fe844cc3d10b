mod wrongs;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outbox_aws::Entry;
use tokio::time::Instant;

use super::member::Member;
use super::simulation::{Flaw, Fleet, Wrong};
use crate::duty::{Role, Said};

const EVERY: Duration = Duration::from_secs(10);
const QUEUES: usize = 300;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A worker, and another one that is better for some of its queues.
struct Two {
    start: Instant,
    member: Member,
    said: Vec<Said>,
}

impl Two {
    fn new() -> Self {
        let names: Vec<String> = (0..8).map(|n| format!("queue-{n}")).collect();
        let (start, random) = (Instant::now(), fastrand::Rng::with_seed(7));
        let names = names.iter().map(String::as_str);
        let member = Member::new("one".to_owned(), names, EVERY, start, random);
        Self { start, member, said: vec![Said::default(); 8] }
    }

    fn reads(&mut self, at: u64, entries: &[(&str, Entry)]) {
        let entries = entries.iter().map(|(id, entry)| ((*id).to_owned(), entry.clone())).collect();
        self.member.has_read(entries, self.start + seconds(at));
    }

    /// The numbers of queues that it watches and that it helps.
    fn roles(&mut self, at: u64) -> (usize, usize) {
        // A change makes it decide again.
        let now = self.start + seconds(at);
        let mut other = self.said.clone();
        other.iter_mut().for_each(|said| said.full = !said.full);
        self.member.decides(&other, now);
        let roles = self.member.decides(&self.said, now).unwrap();
        let many = |wanted| roles.iter().filter(|role| **role == wanted).count();
        (many(Role::Watch), many(Role::Help))
    }
}

fn entry(beat: u64) -> Entry {
    Entry { beat, ..Entry::default() }
}

/// Guards promise 2: a worker rests only for a better one whose entry changed within the time of two entries. An entry does
/// not count if it has not changed yet, is older, or is gone.
#[tokio::test]
async fn a_worker_rests_only_for_one_that_lives() {
    let mut two = Two::new();
    assert_eq!(two.roles(0), (8, 0), "alone");
    two.reads(1, &[("two", entry(5))]);
    assert_eq!(two.roles(1), (8, 0), "its worker may have ended before the first read");
    two.reads(6, &[("two", entry(5))]);
    assert_eq!(two.roles(6), (8, 0));
    two.reads(11, &[("two", entry(6))]);
    let (shared, helped) = two.roles(11);
    assert!((1..8).contains(&shared) && helped == 0, "{shared}");
    two.reads(16, &[("two", entry(5))]);
    two.reads(21, &[("two", entry(6))]);
    assert_eq!((two.roles(30), two.roles(31)), ((shared, 0), (8, 0)), "20 s without a change");
    two.reads(32, &[("two", entry(7))]);
    assert_eq!(two.roles(32), (shared, 0));
    two.reads(33, &[]);
    assert_eq!(two.roles(33), (8, 0), "it removed its entry");
    two.reads(34, &[("two", entry(7))]);
    assert_eq!(two.roles(34), (8, 0), "an older copy of the table");
    two.reads(35, &[("one", entry(9))]);
    assert_eq!(two.member.members(two.start + seconds(35)), 1, "its own entry is no other worker");
}

/// Guards promise 6: a full queue is helped, and a queue from which the better worker does not receive is watched.
#[tokio::test]
async fn full_queues_are_helped_and_left_ones_watched() {
    let all: BTreeSet<usize> = (0..8).collect();
    let mut two = Two::new();
    two.reads(0, &[("two", entry(1))]);
    two.reads(5, &[("two", entry(2))]);
    let (watched, _) = two.roles(5);
    two.reads(10, &[("two", Entry { beat: 3, full: all.clone(), ..Entry::default() })]);
    assert_eq!(two.roles(10), (watched, 8 - watched));
    two.reads(15, &[("two", Entry { beat: 4, away: all.clone(), ..Entry::default() })]);
    assert_eq!(two.roles(15), (8, 0));
    two.reads(20, &[("two", entry(5))]);
    assert_eq!(two.roles(20), (watched, 0));
    // The queues are full for this worker itself: it goes on helping.
    two.said.iter_mut().for_each(|said| said.full = true);
    assert_eq!(two.roles(21), (watched, 8 - watched));
}

/// Guards: an entry is written every ten seconds, after a change at once, but at most once a second.
#[tokio::test]
async fn entries_are_written_when_they_must_be() {
    let mut two = Two::new();
    let (mut written, mut said) = (Vec::new(), two.said.clone());
    for tick in 0..600 {
        let now = two.start + Duration::from_millis(100 * tick);
        said[3].full = tick >= 305;
        if tick >= 400 {
            said[4].away = tick.is_multiple_of(2);
        }
        if let Some(entry) = two.member.writes(&said, now) {
            written.push((tick, entry));
        }
    }
    assert!(written.windows(2).all(|pair| pair[1].1.beat == pair[0].1.beat + 1));
    assert!(written.windows(2).all(|pair| (10..=111).contains(&(pair[1].0 - pair[0].0))), "{written:?}");
    let first_full = written.iter().find(|(_, entry)| entry.full.contains(&3)).unwrap();
    assert!((305..=315).contains(&first_full.0), "{first_full:?}");
    assert!(written.iter().filter(|(tick, _)| *tick < 300).count() <= 4, "{written:?}");
}

/// Guards: while queues become full all the time, writes do not grow with the number of workers. What has ended waits for the
/// regular write.
#[tokio::test]
async fn a_load_does_not_multiply_writes() {
    for (others, gap) in [(1, 10), (9, 10), (49, 50), (99, 90)] {
        let (mut two, mut written) = (Two::new(), Vec::new());
        let names: Vec<String> = (0..others).map(|n| format!("other {n}")).collect();
        for tick in 0..3000 {
            if tick % 50 == 0 {
                let entries = names.iter().map(|name| (name.as_str(), entry(tick))).collect::<Vec<_>>();
                two.reads(tick / 10, &entries);
            }
            (0..8).for_each(|queue| two.said[queue].full = queue as u64 == tick % 8);
            let now = two.start + Duration::from_millis(100 * tick);
            // The first reads show who lives.
            if two.member.writes(&two.said, now).is_some() && tick > 300 {
                written.push(tick);
            }
        }
        let least = written.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
        assert!((gap..gap + 10).contains(&least), "{others} others: {least} of {written:?}");
    }
    let (mut two, mut written) = (Two::new(), Vec::new());
    for tick in 0..300 {
        two.said[3].away = tick < 20;
        let now = two.start + Duration::from_millis(100 * tick);
        written.extend(two.member.writes(&two.said, now).map(|entry| (tick, entry.away.len())));
    }
    let first = written.iter().find(|(_, away)| *away == 0).unwrap();
    assert!((90..=111).contains(&first.0), "{written:?}");
}

/// Guards promise 7: the entry of a dead worker is taken away in the end, by one worker, and none that changes is.
#[tokio::test]
async fn entries_of_the_dead_are_taken_away() {
    let start = Instant::now();
    let mut left = BTreeMap::new();
    for id in ["one", "two"] {
        let other = if id == "one" { "two" } else { "one" };
        let names = ["queue"];
        let mut member = Member::new(id.to_owned(), names, EVERY, start, fastrand::Rng::with_seed(7));
        for at in 0..=60 {
            let entries = [("dead".to_owned(), entry(9)), (other.to_owned(), entry(at))];
            member.has_read(BTreeMap::from(entries), start + seconds(5 * at));
            assert!(at == 60 || member.left_behind(start + seconds(5 * at)).is_empty());
        }
        left.insert(id, member.left_behind(start + seconds(300)));
    }
    let left: Vec<_> = left.into_values().flatten().collect();
    assert_eq!(left, [("dead".to_owned(), entry(9))]);
}

/// Workers that start, are killed, stop, or lose the roster or a queue, one such fault at a time.
fn faults(workers: usize, seed: u64, many: usize, flaw: Flaw) -> Result<Fleet, String> {
    let mut fleet = Fleet::new(QUEUES, seed, flaw);
    let mut random = fastrand::Rng::with_seed(seed);
    // Every fifth worker has a router with fewer queues.
    let joins = |fleet: &mut Fleet, nth: usize| {
        fleet.join(if nth.is_multiple_of(5) { 100..QUEUES } else { 0..QUEUES });
    };
    for nth in 1..=workers {
        joins(&mut fleet, nth);
    }
    fleet.run(seconds(40))?;
    for nth in 1..=many {
        if random.bool() {
            for one in fleet.living() {
                fleet.part(one, true, true);
            }
        }
        let (living, queue) = (fleet.living(), random.usize(..QUEUES));
        let one = match fleet.watchers(queue)[..] {
            [watcher, ..] => watcher,
            [] => living[0],
        };
        match random.u8(..10) {
            _ if living.len() < workers / 2 => joins(&mut fleet, nth),
            0 => joins(&mut fleet, nth),
            1 | 2 => fleet.kill(one),
            3 => fleet.stop(one),
            4 => fleet.goes(one, queue, Some(Wrong::CutOff)),
            5 => fleet.goes(one, queue, None),
            6 => fleet.goes(one, queue, Some(Wrong::Hangs)),
            7 => {
                fleet.goes(one, queue, Some(Wrong::CallsFail));
                fleet.send(queue, 1);
            }
            _ => fleet.part(one, random.bool(), random.bool()),
        }
        for _ in 0..80 {
            fleet.send(random.usize(..QUEUES), random.usize(..3));
            fleet.run(Duration::from_millis(500))?;
        }
    }
    match fleet.longest_wait {
        wait if wait > seconds(30) => Err(format!("a message waited for {wait:?}")),
        _ => Ok(fleet),
    }
}

/// Guards promise 2: if a worker can reach a queue, a worker receives from it within 30 s of any fault. No message waits
/// longer than that.
#[tokio::test]
async fn every_queue_is_received_from() {
    for seed in 0..3 {
        faults(10, seed, 20, Flaw::None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    faults(100, 7, 4, Flaw::None).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Guards promise 2: the simulation finds each fault that would leave a queue without a worker.
#[tokio::test]
async fn the_simulation_finds_each_flaw() {
    for flaw in [
        Flaw::TrustsOldReads,
        Flaw::ComparesClocks,
        Flaw::KeepsItsEntry,
        Flaw::NeverSaysAway,
        Flaw::ForgetsCalls,
        Flaw::TrustsOpenPolls,
    ] {
        let found = (0..20).find_map(|seed| faults(10, seed, 20, flaw).err());
        assert!(found.is_some(), "{flaw:?} is not found");
    }
    assert!(burst(Flaw::NeverSaysFull).is_err());
}

/// Guards: ten or a hundred workers make no more long polls of 300 quiet queues than one, and do not change their roles.
#[tokio::test]
async fn a_quiet_queue_has_one_watcher() {
    let quiet = |workers: usize| {
        let mut fleet = Fleet::new(QUEUES, 7, Flaw::None);
        for _ in 0..workers {
            fleet.join(0..QUEUES);
        }
        fleet.run(seconds(60)).unwrap();
        (fleet.polls, fleet.turns) = (0, 0);
        fleet.run(seconds(150)).unwrap();
        (fleet.polls as f64, fleet.turns)
    };
    let (alone, _) = quiet(1);
    for workers in [10, 100] {
        let (polls, turns) = quiet(workers);
        assert!(polls <= 1.1 * alone, "{workers} workers poll {polls} times, and one {alone} times");
        assert_eq!(turns, 0, "{workers} workers");
    }
}

/// A queue that has more messages than one worker can deliver, and later none.
fn burst(flaw: Flaw) -> Result<(), String> {
    let mut fleet = Fleet::new(20, 7, flaw);
    for _ in 0..10 {
        fleet.join(0..20);
    }
    fleet.run(seconds(60))?;
    fleet.send(3, 3000);
    fleet.run(EVERY)?;
    if fleet.at(3) < 10 {
        return Err(format!("{} workers receive from a busy queue", fleet.at(3)));
    }
    let before = fleet.turns;
    fleet.run(seconds(25))?;
    if fleet.turns > before {
        return Err(format!("{} roles changed while it was busy", fleet.turns - before));
    }
    fleet.run(seconds(60))?;
    match fleet.at(3) {
        1 => Ok(()),
        others => Err(format!("{others} workers receive from a quiet queue")),
    }
}

/// Guards promise 6: all workers help a busy queue within the time between two entries, without a break. They stop once it is
/// quiet.
#[tokio::test]
async fn a_busy_queue_is_helped_until_it_is_quiet() {
    burst(Flaw::None).unwrap();
}

/// Guards: under a load that three workers can deliver, helpers do not begin and end in turn.
#[tokio::test]
async fn helpers_do_not_come_and_go() {
    let mut fleet = Fleet::new(20, 7, Flaw::None);
    for _ in 0..10 {
        fleet.join(0..20);
    }
    fleet.run(seconds(60)).unwrap();
    fleet.turns = 0;
    for _ in 0..600 {
        fleet.send(3, 15);
        fleet.run(Duration::from_millis(500)).unwrap();
    }
    assert!(fleet.longest_wait <= seconds(15), "{:?}", fleet.longest_wait);
    // Each of nine helpers begins and ends a few times in five minutes.
    assert!(fleet.turns <= 9 * 2 * 8, "{} changes", fleet.turns);
}
