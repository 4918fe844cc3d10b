//! Pure: one worker of a roster. It decides when to read and to write what, which other workers are running, and which queues
//! this worker receives from. The clock is a parameter.
//!
//! A worker rests only if the entry of a better one has changed lately, by its own clock. So a failed read makes it receive.
//! The best running worker of a queue finds no better one. So it receives, whatever the others have read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outbox_aws::Entry;
use tokio::time::Instant;

use super::rank::{hash, score};
use crate::duty::{Role, Said};

/// A worker counts as running for this many pauses between two entries after a read found its entry changed.
const LIVES_FOR: u32 = 2;
/// An entry that has not changed for this many of these pauses is removed.
const KEPT_FOR: u32 = 30;
/// With more workers each makes fewer early writes of the same kind, so the number of all writes stays the same.
const FEW: f64 = 10.0;

pub(super) struct Member {
    pub(super) id: String,
    rank: u64,
    queues: Vec<u64>,
    every: Duration,
    others: BTreeMap<String, Other>,
    wrote: Entry,
    wrote_at: Option<Instant>,
    /// The time of the last write with a full queue.
    full_at: Option<Instant>,
    /// The time of the last write with a queue that is left alone.
    away_at: Option<Instant>,
    write_at: Instant,
    read_at: Instant,
    decided: Option<Picture>,
    random: fastrand::Rng,
}

struct Other {
    rank: u64,
    entry: Entry,
    /// Since when the entry has not changed.
    since: Instant,
    /// `None` until a read has found the entry changed.
    lives_until: Option<Instant>,
}

/// All that decides about roles: the running workers, each with its full queues and those that it is away from.
type Picture = Vec<(u64, BTreeSet<usize>, BTreeSet<usize>)>;

impl Member {
    /// The queues are in the order of their names.
    pub(super) fn new<'a>(
        id: String,
        queues: impl IntoIterator<Item = &'a str>,
        every: Duration,
        now: Instant,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            rank: hash(&id),
            id,
            queues: queues.into_iter().map(hash).collect(),
            every,
            others: BTreeMap::new(),
            wrote: Entry::default(),
            wrote_at: None,
            full_at: None,
            away_at: None,
            write_at: now,
            read_at: now,
            decided: None,
            random,
        }
    }

    /// Whether to read the roster now. It is read more often than entries are written, so a missing write is noticed soon.
    pub(super) fn reads(&mut self, now: Instant) -> bool {
        let is_due = now >= self.read_at;
        if is_due {
            self.read_at = now + self.about(self.every / 2);
        }
        is_due
    }

    /// Takes the entries of a request that began at this time.
    pub(super) fn has_read(&mut self, entries: BTreeMap<String, Entry>, began: Instant) {
        self.others.retain(|id, _| entries.contains_key(id));
        for (id, entry) in entries {
            if id == self.id {
                continue;
            }
            match self.others.get_mut(&id) {
                None => {
                    let other = Other { rank: hash(&id), entry, since: began, lives_until: None };
                    self.others.insert(id, other);
                }
                // An older entry is of an older copy of the table, and is ignored.
                Some(other) if entry.beat > other.entry.beat => {
                    let lives_until = Some(began + self.every * LIVES_FOR);
                    *other = Other { entry, since: began, lives_until, ..*other };
                }
                Some(_) => {}
            }
        }
    }

    /// The entry to write now. It is written regularly, and sooner if a queue became full or was left alone. The end of that
    /// waits for the regular write: until then the others only receive more than they must.
    pub(super) fn writes(&mut self, said: &[Said], now: Instant) -> Option<Entry> {
        let of = |word: fn(&Said) -> bool| -> BTreeSet<usize> {
            (0..said.len()).filter(|at| word(&said[*at])).collect()
        };
        let (full, away) = (of(|said| said.full), of(|said| said.away));
        let gap = self.every / 10;
        let past = |at: Option<Instant>, gap| at.is_none_or(|at| now >= at + gap);
        let rarer = |workers: usize| gap.mul_f64((workers as f64 / FEW).max(1.0));
        let is_full = || !full.is_subset(&self.wrote.full) && past(self.full_at, rarer(self.members(now)));
        // No other worker receives until this is read. So only the workers that write the same make it rarer.
        let others_away = || self.living(now).filter(|other| !other.entry.away.is_empty()).count();
        let is_away = || !away.is_subset(&self.wrote.away) && past(self.away_at, rarer(others_away() + 1));
        if now < self.write_at && !(past(self.wrote_at, gap) && (is_full() || is_away())) {
            return None;
        }
        for (queues, at) in [(&full, &mut self.full_at), (&away, &mut self.away_at)] {
            if !queues.is_empty() {
                *at = Some(now);
            }
        }
        self.wrote = Entry { beat: self.wrote.beat + 1, full, away };
        (self.wrote_at, self.write_at) = (Some(now), now + self.about(self.every));
        Some(self.wrote.clone())
    }

    /// The write may not have taken effect, so it is repeated soon.
    pub(super) fn has_not_written(&mut self, now: Instant) {
        self.write_at = now + self.every / 10;
    }

    /// The role for each queue, if any may have changed.
    pub(super) fn decides(&mut self, said: &[Said], now: Instant) -> Option<Vec<Role>> {
        let own: BTreeSet<usize> = (0..said.len()).filter(|at| said[*at].full).collect();
        let mut picture: Picture = vec![(self.rank, own, BTreeSet::new())];
        picture.extend(
            self.living(now).map(|other| (other.rank, other.entry.full.clone(), other.entry.away.clone())),
        );
        if self.decided.as_ref() == Some(&picture) {
            return None;
        }
        let roles = (0..self.queues.len()).map(|queue| self.role(queue, &picture)).collect();
        self.decided = Some(picture);
        Some(roles)
    }

    /// Without a better worker that receives, this one watches. Of two equal ones both watch.
    fn role(&self, queue: usize, picture: &Picture) -> Role {
        let score = |rank| score(rank, self.queues[queue]);
        let own = score(self.rank);
        let is_better =
            |(rank, _, away): &(u64, _, BTreeSet<usize>)| score(*rank) > own && !away.contains(&queue);
        match picture {
            _ if !picture.iter().any(is_better) => Role::Watch,
            _ if picture.iter().any(|(_, full, _)| full.contains(&queue)) => Role::Help,
            _ => Role::Rest,
        }
    }

    fn living(&self, now: Instant) -> impl Iterator<Item = &Other> {
        self.others.values().filter(move |other| other.lives_until.is_some_and(|until| now < until))
    }

    /// The number of running workers, with this one.
    pub(super) fn members(&self, now: Instant) -> usize {
        self.living(now).count() + 1
    }

    /// Entries that have not changed for long. One of the running workers removes each.
    pub(super) fn left_behind(&self, now: Instant) -> Vec<(String, Entry)> {
        let is_mine = |other: &Other| {
            let own = score(self.rank, other.rank);
            self.living(now).all(|living| score(living.rank, other.rank) < own)
        };
        let left = self.others.iter().filter(|(_, other)| now >= other.since + self.every * KEPT_FOR);
        left.filter(|(_, other)| is_mine(other))
            .map(|(id, other)| (id.clone(), other.entry.clone()))
            .collect()
    }

    /// Random pauses, so that workers that start together do not always write together.
    fn about(&mut self, time: Duration) -> Duration {
        time.mul_f64(0.9 + self.random.f64() / 5.0)
    }
}
