//! Pure: which part of the clean-up runs next. The clock is a parameter.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(600);
/// The pause after a part that left more to do.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// While receipts are written. A lease of a retry reads each receipt of its minute that is not folded yet, under the lock of
/// its queue.
const FOLDED_EVERY: Duration = Duration::from_secs(10);
/// The pause after a look that found nothing to fold, or failed.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Dedup,
    Receipts,
    Retries,
    DeadLetters,
    Audit,
}

const PARTS: [Part; 5] = [Part::Dedup, Part::Receipts, Part::Retries, Part::DeadLetters, Part::Audit];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// It left more to do.
    More,
    Done,
    /// There was nothing to do.
    Idle,
    Failed,
}

/// When each part is due. Each run is bounded, and the part that has been due for longest is next. So a part that always has
/// more to do keeps no other one from running.
#[derive(Debug)]
pub(super) struct Turns {
    due: [(Part, Instant); PARTS.len()],
    pace: u32,
}

impl Turns {
    /// With many databases the pauses of folding are `pace` times longer.
    pub(super) fn new(now: Instant, pace: u32) -> Self {
        Self { due: PARTS.map(|part| (part, now)), pace }
    }

    /// The next part, and how long to wait for it.
    pub(super) fn next(&self, now: Instant) -> (Part, Duration) {
        let [mut next, others @ ..] = self.due;
        for other in others {
            if other.1 < next.1 {
                next = other;
            }
        }
        (next.0, next.1.saturating_duration_since(now))
    }

    pub(super) fn ran(&mut self, part: Part, ran: Ran, now: Instant) {
        let pause = match (part, ran) {
            (Part::Receipts, Ran::More) => Duration::ZERO,
            (Part::Receipts, Ran::Done) => FOLDED_EVERY * self.pace,
            (Part::Receipts, Ran::Idle | Ran::Failed) => IDLE,
            (_, Ran::More) => AGAIN_AFTER,
            (_, Ran::Done | Ran::Idle | Ran::Failed) => EVERY,
        };
        for (_, due) in self.due.iter_mut().filter(|(of, _)| *of == part) {
            *due = now + pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which each part runs within some minutes, if each run takes a second.
    fn runs(minutes: u64, said: impl Fn(Part) -> Ran) -> Vec<(Part, u64)> {
        let start = Instant::now();
        let (mut turns, mut now, mut runs) = (Turns::new(start, 1), start, Vec::new());
        loop {
            let (part, wait) = turns.next(now);
            now += wait;
            if now >= start + Duration::from_secs(60 * minutes) {
                return runs;
            }
            runs.push((part, (now - start).as_secs()));
            now += Duration::from_secs(1);
            turns.ran(part, said(part), now);
        }
    }

    fn many(runs: &[(Part, u64)], part: Part) -> usize {
        runs.iter().filter(|(of, _)| *of == part).count()
    }

    /// Guards promise 7: a part that always has more to do, or always fails, keeps no other one from running.
    #[test]
    fn no_part_keeps_another_from_running() {
        for endless in PARTS {
            for said in [Ran::More, Ran::Failed] {
                let runs = runs(60, |part| if part == endless { said } else { Ran::Done });
                for part in PARTS.into_iter().filter(|part| *part != endless) {
                    let least = if part == Part::Receipts { 60 * 60 / 13 } else { 5 };
                    assert!(many(&runs, part) >= least, "{endless:?} {said:?}: {part:?} in {runs:?}");
                }
            }
        }
        let all = runs(60, |_| Ran::More);
        for part in PARTS {
            assert!(many(&all, part) >= 60 * 60 / 6, "{part:?}");
        }
    }

    /// Guards promise 7: receipts are folded without a pause while there are more, and much more often than the rest is removed.
    #[test]
    fn receipts_are_folded_often() {
        let folds = |said| {
            many(&runs(10, |part| if part == Part::Receipts { said } else { Ran::Idle }), Part::Receipts)
        };
        assert_eq!([Ran::More, Ran::Done, Ran::Idle, Ran::Failed].map(folds), [596, 55, 10, 10]);
    }
}
