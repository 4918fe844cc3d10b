//! The order of keys over generated entries, limits and answers. Packs are answered in any order.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use outbox_transport::{BusLimits, Entry, PutError, PutErrorKind};
use tokio::time::Instant;

use super::key_order::KeyOrder;
use super::limiter::PutLimiter;
use crate::settle::Outcome;

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let key = prop::option::weighted(0.8, prop::sample::select(vec!["a", "b", "c"]));
    vec((key, 0_usize..800), 0..24).prop_map(|entries| {
        entries.into_iter().enumerate().map(|(at, (key, bytes))| entry(at, key, bytes)).collect()
    })
}

fn entry(at: usize, key: Option<&str>, bytes: usize) -> Entry {
    Entry {
        seq: at as i64,
        id: outbox_event::EventId::new(),
        name: "event_a".into(),
        key: key.map(str::to_owned),
        payload: "x".repeat(bytes),
        headers: None,
        occurred_at: chrono::Utc::now(),
        flaw: None,
    }
}

fn limits() -> impl Strategy<Value = BusLimits> {
    (1_usize..6, 800_usize..6000, 1_usize..5).prop_map(|(entries_max, bytes_max, concurrency)| BusLimits {
        entries_max,
        bytes_max,
        concurrency,
    })
}

/// The bus's answer to a pack, and which of the packs under way it answers.
#[derive(Debug, Clone)]
struct Answer {
    which: Index,
    each: Vec<Said>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Taken,
    Refused,
    Unavailable,
    Failed,
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let said =
        prop_oneof![Just(Said::Taken), Just(Said::Refused), Just(Said::Unavailable), Just(Said::Failed)];
    let answer = (any::<Index>(), vec(said, 6)).prop_map(|(which, each)| Answer { which, each });
    vec(answer, 0..60)
}

impl Said {
    fn result(self) -> Result<(), PutError> {
        let kind = match self {
            Said::Taken => return Ok(()),
            Said::Refused => PutErrorKind::Refused,
            Said::Unavailable => PutErrorKind::Unavailable,
            Said::Failed => PutErrorKind::Failed,
        };
        Err(PutError::new(kind, "Code", "reason"))
    }
}

/// A putter without a bus. It starts packs as `put_all` does, answers them as the test says, and at last accepts everything.
struct Run<'a> {
    entries: &'a [Entry],
    order: KeyOrder<'a>,
    flying: Vec<Vec<usize>>,
    now: Instant,
    /// In the order in which they took effect.
    taken: Vec<usize>,
}

impl Run<'_> {
    fn start(&mut self) {
        while self.flying.len() < self.order.limits.concurrency {
            let Some(pack) = self.order.next_pack(self.now) else { return };
            self.check(&pack);
            self.flying.push(pack);
        }
    }

    fn check(&self, pack: &[usize]) {
        let KeyOrder { limits, outcomes, .. } = &self.order;
        let entries = self.entries;
        assert!((1..=limits.entries_max).contains(&pack.len()));
        let bytes: usize = pack.iter().map(|&at| entries[at].bytes_max()).sum();
        assert!(pack.len() == 1 || bytes <= limits.bytes_max, "{bytes} bytes in a pack of {}", pack.len());
        for (n, &at) in pack.iter().enumerate() {
            assert_eq!(outcomes[at], Outcome::Pending, "{at} is put after it was settled");
            assert!(!self.flying.iter().flatten().chain(&pack[..n]).any(|&other| other == at), "{at} twice");
            // The entries before it with the same key are settled.
            let Some(key) = &entries[at].key else { continue };
            let mut before = (0..at).filter(|&other| entries[other].key.as_ref() == Some(key));
            let pending = before.find(|&other| outcomes[other] == Outcome::Pending);
            assert_eq!(pending, None, "{at} overtakes it");
        }
    }

    fn answer(&mut self, which: usize, each: &[Said]) {
        let pack = self.flying.remove(which);
        let each: Vec<Said> = pack.iter().enumerate().map(|(n, _)| each[n % each.len()]).collect();
        let taken = pack.iter().zip(&each).filter(|(_, said)| **said == Said::Taken);
        self.taken.extend(taken.map(|(&at, _)| at));
        self.order.settle(&pack, each.into_iter().map(Said::result).collect(), self.now);
    }

    /// Nothing is under way and nothing can start, so the clock advances to the next retry.
    fn wait(&mut self) {
        let retry_at = self.order.retry_at().expect("what waits has a time");
        assert!(retry_at > self.now, "its time has come, and it does not start");
        self.now = retry_at;
    }

    fn finish(&mut self) {
        while !self.order.waiting.is_empty() || !self.flying.is_empty() {
            self.start();
            if self.flying.is_empty() { self.wait() } else { self.answer(0, &[Said::Taken]) }
        }
    }
}

proptest! {
    /// Guards promises 2, 4 and 7: after any failure or delay, no pack exceeds a limit, no entry overtakes another of its key,
    /// and each is settled once.
    #[test]
    fn packs_fit_and_keys_keep_their_order(entries in entries(), limits in limits(), answers in answers()) {
        let mut run = Run { entries: &entries, order: KeyOrder::new(&entries, limits, vec![Outcome::Pending; entries.len()]), flying: Vec::new(), now: Instant::now(), taken: Vec::new() };
        for answer in answers {
            run.start();
            if run.flying.is_empty() {
                if run.order.waiting.is_empty() {
                    break;
                }
                run.wait();
            } else {
                run.answer(answer.which.index(run.flying.len()), &answer.each);
            }
        }
        run.finish();
        for (at, outcome) in run.order.outcomes.iter().enumerate() {
            let times = run.taken.iter().filter(|&&taken| taken == at).count();
            match outcome {
                Outcome::Acked => prop_assert_eq!(times, 1),
                Outcome::Refused { .. } => prop_assert_eq!(times, 0),
                Outcome::Pending => prop_assert!(false, "{} was never settled", at),
            }
        }
        for key in ["a", "b", "c"] {
            let of_key: Vec<usize> =
                run.taken.iter().copied().filter(|&at| entries[at].key.as_deref() == Some(key)).collect();
            prop_assert!(of_key.is_sorted(), "{} took effect as {:?}", key, of_key);
        }
    }

    /// Guards promise 7: at least one pack may always be under way, and never more than the bus allows.
    #[test]
    fn the_limit_stays_within_its_bounds(concurrency in 1_usize..64, said in vec(any::<bool>(), 0..100)) {
        let mut limiter = PutLimiter::default();
        for busy in said {
            let result = if busy { Said::Unavailable } else { Said::Taken }.result();
            limiter.heard(&[result], concurrency);
            prop_assert!((1..=concurrency).contains(&limiter.allowed(concurrency)));
        }
        for _ in 0..concurrency {
            limiter.heard(&[Ok(())], concurrency);
        }
        prop_assert_eq!(limiter.allowed(concurrency), concurrency);
    }
}
