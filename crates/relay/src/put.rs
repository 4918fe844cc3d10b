//! Puts a window's entries: several packs at a time, no two entries of one key ever overtaking each other.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Limits, PutError};
use crate::outbox::Entry;
use crate::progress::Progress;
use crate::settle::Outcome;

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// With the waits above that is some four minutes.
const TRIES_MAX: u32 = 15;
/// From this try on, what failed is put in packs that get smaller, in case that another entry of its pack is the reason.
const TRIES_TOGETHER: u32 = 3;

/// Puts every entry until the bus has taken or refused it, or until `stop`.
pub(crate) async fn put_all<B: Bus>(
    bus: &B,
    entries: &[Entry],
    pace: &mut Pace,
    progress: &Progress,
    stop: &CancellationToken,
) -> Vec<Outcome> {
    let mut lanes = Lanes::new(entries, bus.limits());
    let mut flying = FuturesUnordered::new();
    loop {
        let allowed = pace.allowed(lanes.limits.concurrency);
        while flying.len() < allowed && !stop.is_cancelled() {
            let Some(pack) = lanes.next_pack(Instant::now()) else { break };
            flying.push(async move {
                let entries: Vec<&Entry> = pack.iter().map(|&at| &entries[at]).collect();
                let results = bus.put(&entries).await;
                (pack, results)
            });
        }
        if flying.is_empty() && (lanes.waiting.is_empty() || stop.is_cancelled()) {
            return lanes.outcomes;
        }
        let retry_at = lanes.retry_at();
        let can_start = flying.len() < allowed && !stop.is_cancelled();
        tokio::select! {
            Some((pack, results)) = flying.next() => {
                show(&results, progress);
                pace.heard(&results, lanes.limits.concurrency);
                lanes.settle(&pack, results, Instant::now());
            }
            () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)), if can_start && retry_at.is_some() => {}
            () = stop.cancelled(), if flying.is_empty() => {}
        }
    }
}

/// That some were taken is no progress yet: that the cursor advances is.
fn show(results: &[Result<(), PutError>], progress: &Progress) {
    let failures = results.iter().filter_map(|result| result.as_ref().err());
    let (mut failed, mut last) = (0, None);
    for failure in failures {
        progress.answered(failure.code(), 1);
        failed += 1;
        last = Some(failure);
    }
    let taken = results.len() - failed;
    if taken > 0 {
        progress.answered("ok", taken);
    }
    if let Some(failure) = last {
        progress.waits(format!("the bus says {failure}"));
    }
}

/// How many packs may be under way: fewer when the bus says that it is too much, and more again one by one.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Below the bus's own limit.
    held_back: usize,
}

impl Pace {
    fn allowed(&self, concurrency: usize) -> usize {
        concurrency.saturating_sub(self.held_back).max(1)
    }

    fn heard(&mut self, results: &[Result<(), PutError>], concurrency: usize) {
        let too_much = results.iter().any(|result| matches!(result, Err(PutError::Unavailable { .. })));
        if too_much || results.iter().all(|result| matches!(result, Err(PutError::Failed { .. }))) {
            let allowed = self.allowed(concurrency);
            self.held_back = concurrency - (allowed / 2).max(1);
        } else {
            self.held_back = self.held_back.saturating_sub(1);
        }
    }
}

/// Which entries may be put next. Pure but for the clock handed in.
struct Lanes<'a> {
    entries: &'a [Entry],
    limits: Limits,
    outcomes: Vec<Outcome>,
    /// Not yet handed out, in seq order.
    waiting: BTreeSet<usize>,
    /// Keys with an entry under way or due for a retry.
    busy: HashSet<&'a str>,
    /// Entries to put again.
    retries: HashMap<usize, Retry>,
    /// When the bus last took one.
    taken_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    tries: u32,
    /// How many of these tries said something of the entry, or of one in its pack.
    failures: u32,
    first_at: Instant,
    due: Instant,
}

impl<'a> Lanes<'a> {
    fn new(entries: &'a [Entry], limits: Limits) -> Self {
        Self {
            entries,
            limits,
            outcomes: vec![Outcome::Pending; entries.len()],
            waiting: (0..entries.len()).collect(),
            busy: HashSet::new(),
            retries: HashMap::new(),
            taken_at: None,
        }
    }

    fn next_pack(&mut self, now: Instant) -> Option<Vec<usize>> {
        let (mut pack, mut bytes) = (Vec::new(), 0);
        let mut entries_max = self.limits.entries_max;
        // A key passed over in this round stays passed over: its later entries must not overtake.
        let mut passed: HashSet<&str> = HashSet::new();
        for &at in &self.waiting {
            let entry = &self.entries[at];
            let key = entry.key.as_deref();
            let not_yet = self.retries.get(&at).is_some_and(|retry| retry.due > now);
            let held = key.is_some_and(|key| {
                passed.contains(key) || (self.busy.contains(key) && !self.retries.contains_key(&at))
            });
            let size = entry.bytes_max();
            let together = self.together(at).min(entries_max);
            let full = !pack.is_empty() && (bytes + size > self.limits.bytes_max || pack.len() >= together);
            if not_yet || held || full {
                passed.extend(key);
                continue;
            }
            pack.push(at);
            bytes += size;
            entries_max = together;
            // Unless all of the pack or nothing takes effect, one entry of a key at a time.
            if !self.limits.atomic {
                passed.extend(key);
            }
            if pack.len() >= entries_max {
                break;
            }
        }
        for at in &pack {
            self.waiting.remove(at);
            self.busy.extend(self.entries[*at].key.as_deref());
        }
        (!pack.is_empty()).then_some(pack)
    }

    /// How many entries a pack with this one may have.
    fn together(&self, at: usize) -> usize {
        let failures = self.retries.get(&at).map_or(0, |retry| retry.failures);
        (self.limits.entries_max >> failures.saturating_sub(TRIES_TOGETHER - 1).min(16)).max(1)
    }

    /// Of a key's entries only the first may be put again.
    fn retry_at(&self) -> Option<Instant> {
        if self.retries.is_empty() {
            return None;
        }
        let mut keys = HashSet::new();
        let first = self.waiting.iter().filter(|&&at| match self.entries[at].key.as_deref() {
            None => true,
            Some(key) => keys.insert(key),
        });
        first.filter_map(|at| self.retries.get(at)).map(|retry| retry.due).min()
    }

    fn settle(&mut self, pack: &[usize], results: Vec<Result<(), PutError>>, now: Instant) {
        if results.iter().any(Result::is_ok) {
            self.taken_at = Some(now);
        }
        for (&at, result) in pack.iter().zip(results) {
            let result = match result {
                Err(PutError::Failed { code, reason }) if self.is_hopeless(at) => {
                    let reason = format!("{reason} ({TRIES_MAX} times, while others were taken)");
                    Err(PutError::Refused { code, reason })
                }
                Err(failure @ (PutError::Unavailable { .. } | PutError::Failed { .. })) => {
                    self.again(at, &failure, now);
                    continue;
                }
                settled => settled,
            };
            self.retries.remove(&at);
            if let Some(key) = self.entries[at].key.as_deref() {
                self.busy.remove(key);
            }
            self.outcomes[at] = result.into();
        }
    }

    /// It fails again and again, and the bus is not to blame: it took others meanwhile. Nobody waits for it any longer.
    fn is_hopeless(&self, at: usize) -> bool {
        self.retries.get(&at).is_some_and(|retry| {
            retry.tries + 1 >= TRIES_MAX && self.taken_at.is_some_and(|taken| taken >= retry.first_at)
        })
    }

    fn again(&mut self, at: usize, failure: &PutError, now: Instant) {
        let before = self.retries.get(&at).copied();
        let tries = before.map_or(0, |retry| retry.tries) + 1;
        let said = u32::from(matches!(failure, PutError::Failed { .. }));
        let failures = before.map_or(0, |retry| retry.failures) + said;
        let ceiling = RETRY_MAX.min(RETRY_MIN * 2_u32.saturating_pow(tries.min(16)));
        let wait = ceiling.mul_f64(0.5 + fastrand::f64() / 2.0);
        tracing::warn!(event_id = %self.entries[at].id, code = failure.code(), reason = failure.reason(), tries, wait_seconds = wait.as_secs_f64(), "the bus did not take it yet");
        let first_at = before.map_or(now, |retry| retry.first_at);
        self.retries.insert(at, Retry { tries, failures, first_at, due: now + wait });
        self.waiting.insert(at);
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn progress() -> Progress {
        Progress::new("test", runtime::Readiness::default().part("test"))
    }

    fn entries(keys: &[Option<&str>]) -> Vec<Entry> {
        keys.iter()
            .enumerate()
            .map(|(at, key)| Entry {
                seq: at as i64,
                id: event::EventId::new(),
                name: "event_a".into(),
                key: key.map(str::to_owned),
                payload: "{}".into(),
                headers: None,
                occurred_at: chrono::Utc::now(),
                flaw: None,
            })
            .collect()
    }

    /// A bus that fails some puts, in an order of its own, and remembers what took effect.
    struct Flaky {
        random: Mutex<fastrand::Rng>,
        limits: Limits,
        taken: Mutex<Vec<i64>>,
    }

    impl Bus for Flaky {
        fn limits(&self) -> Limits {
            self.limits
        }

        async fn begin(&mut self, _: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
            Ok(())
        }

        async fn put(&self, entries: &[&Entry]) -> Vec<Result<(), PutError>> {
            assert!(entries.len() <= self.limits.entries_max);
            let wait = self.random.lock().unwrap().u64(0..20);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            entries
                .iter()
                .map(|entry| match self.random.lock().unwrap().u8(0..10) {
                    0..3 => Err(PutError::Unavailable {
                        code: "ThrottlingException".into(),
                        reason: "slow down".into(),
                    }),
                    3 => Err(PutError::Refused { code: "MalformedDetail".into(), reason: "no".into() }),
                    _ => {
                        self.taken.lock().unwrap().push(entry.seq);
                        Ok(())
                    }
                })
                .collect()
        }
    }

    fn flaky(seed: u64) -> Flaky {
        Flaky {
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            limits: Limits { entries_max: 3, bytes_max: 1000, concurrency: 4, atomic: false },
            taken: Mutex::new(Vec::new()),
        }
    }

    /// Guards promise 4: whatever fails and however late, entries of one key take effect in their order, each is
    /// settled, and none twice.
    #[tokio::test(start_paused = true)]
    async fn keys_keep_their_order_through_failures() {
        for seed in 0..50 {
            let keys = [
                Some("a"),
                None,
                Some("b"),
                Some("a"),
                Some("a"),
                Some("b"),
                None,
                Some("c"),
                Some("a"),
                Some("b"),
            ];
            let entries = entries(&keys);
            let bus = flaky(seed);
            let outcomes =
                put_all(&bus, &entries, &mut Pace::default(), &progress(), &CancellationToken::new()).await;
            let taken = bus.taken.into_inner().unwrap();
            for (at, outcome) in outcomes.iter().enumerate() {
                let times = taken.iter().filter(|&&seq| seq == at as i64).count();
                assert_eq!(
                    times,
                    usize::from(*outcome == Outcome::Acked),
                    "seed {seed}: entry {at} {outcome:?}"
                );
                assert_ne!(*outcome, Outcome::Pending, "seed {seed}: entry {at}");
            }
            for key in ["a", "b", "c"] {
                let order: Vec<_> = taken.iter().filter(|&&seq| keys[seq as usize] == Some(key)).collect();
                assert!(order.is_sorted(), "seed {seed}: key {key} took effect as {order:?}");
            }
        }
    }

    /// Guards: a bus that is away does not keep the relay from stopping, and nothing is called settled that is not.
    #[tokio::test(start_paused = true)]
    async fn stop_leaves_what_is_pending_pending() {
        struct Away;
        impl Bus for Away {
            fn limits(&self) -> Limits {
                Limits { entries_max: 10, bytes_max: 10_000, concurrency: 2, atomic: false }
            }
            async fn begin(&mut self, _: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
                Ok(())
            }
            async fn put(&self, entries: &[&Entry]) -> Vec<Result<(), PutError>> {
                let away = PutError::Unavailable { code: "Unreachable".into(), reason: "refused".into() };
                entries.iter().map(|_| Err(away.clone())).collect()
            }
        }
        let stop = CancellationToken::new();
        let cancel = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(300)).await;
            cancel.cancel();
        });
        let outcomes =
            put_all(&Away, &entries(&[Some("a"), None]), &mut Pace::default(), &progress(), &stop).await;
        assert_eq!(outcomes, [Outcome::Pending, Outcome::Pending]);
    }

    /// Guards promise 6: an entry that the bus fails at for ever is parked once others were taken meanwhile, and waited
    /// for while nothing is taken.
    #[tokio::test(start_paused = true)]
    async fn a_poison_entry_is_parked_and_an_outage_is_not() {
        struct Poisoned {
            took: bool,
        }
        impl Bus for Poisoned {
            fn limits(&self) -> Limits {
                Limits { entries_max: 10, bytes_max: 10_000, concurrency: 2, atomic: false }
            }
            async fn begin(&mut self, _: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
                Ok(())
            }
            async fn put(&self, entries: &[&Entry]) -> Vec<Result<(), PutError>> {
                let failed = PutError::Failed { code: "InternalFailure".into(), reason: "oops".into() };
                entries
                    .iter()
                    .map(|entry| if self.took && entry.seq > 0 { Ok(()) } else { Err(failed.clone()) })
                    .collect()
            }
        }
        let stop = CancellationToken::new();
        let outcomes = put_all(
            &Poisoned { took: true },
            &entries(&[None, None]),
            &mut Pace::default(),
            &progress(),
            &stop,
        )
        .await;
        assert!(
            matches!(&outcomes[0], Outcome::Refused { code, .. } if code == "InternalFailure"),
            "{outcomes:?}"
        );
        assert_eq!(outcomes[1], Outcome::Acked);

        let cancel = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
            cancel.cancel();
        });
        let outcomes = put_all(
            &Poisoned { took: false },
            &entries(&[None, None]),
            &mut Pace::default(),
            &progress(),
            &stop,
        )
        .await;
        assert_eq!(outcomes, [Outcome::Pending, Outcome::Pending]);
    }

    /// Guards promise 6: where one entry makes every request with it fail, the others are taken without it, and it is parked.
    #[tokio::test(start_paused = true)]
    async fn who_fails_in_bad_company_is_taken_alone() {
        struct Choking;
        impl Bus for Choking {
            fn limits(&self) -> Limits {
                Limits { entries_max: 10, bytes_max: 10_000, concurrency: 2, atomic: false }
            }
            async fn begin(&mut self, _: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
                Ok(())
            }
            async fn put(&self, entries: &[&Entry]) -> Vec<Result<(), PutError>> {
                let failed = PutError::Failed { code: "InternalException".into(), reason: "oops".into() };
                let chokes = entries.iter().any(|entry| entry.seq == 7);
                entries.iter().map(|_| if chokes { Err(failed.clone()) } else { Ok(()) }).collect()
            }
        }
        let entries = entries(&[None; 40]);
        let (mut pace, stop) = (Pace::default(), CancellationToken::new());
        let outcomes = put_all(&Choking, &entries, &mut pace, &progress(), &stop).await;
        for (at, outcome) in outcomes.iter().enumerate() {
            match at {
                7 => assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}"),
                _ => assert_eq!(*outcome, Outcome::Acked, "{at}"),
            }
        }
    }

    /// Guards: a pack that failed as a whole is not asked for again and again until its first entry's time has come.
    #[test]
    fn the_wait_of_a_key_is_that_of_its_first_entry() {
        let entries = entries(&[Some("a"), Some("a")]);
        let limits = Limits { entries_max: 10, bytes_max: 10_000, concurrency: 1, atomic: true };
        let mut lanes = Lanes::new(&entries, limits);
        let now = Instant::now();
        let pack = lanes.next_pack(now).unwrap();
        assert_eq!(pack, [0, 1]);
        let away = || Err(PutError::Unavailable { code: "Unreachable".into(), reason: "refused".into() });
        lanes.settle(&pack, vec![away(), away()], now);
        // Jitter may let the second be due before the first.
        lanes.retries.get_mut(&1).unwrap().due = now;
        let retry_at = lanes.retry_at().unwrap();
        assert_eq!(retry_at, lanes.retries[&0].due);
        assert_eq!(lanes.next_pack(now), None);
        assert_eq!(lanes.next_pack(retry_at), Some(vec![0, 1]));
    }

    /// Guards: a bus that says it is too much gets half as much, and more again only step by step.
    #[test]
    fn throttling_slows_the_putter() {
        let busy = [
            Ok(()),
            Err(PutError::Unavailable { code: "ThrottlingException".into(), reason: String::new() }),
        ];
        let mut pace = Pace::default();
        let mut allowed = vec![pace.allowed(16)];
        for results in [&busy[..], &busy, &busy, &busy, &busy, &busy[..1], &busy[..1]] {
            pace.heard(results, 16);
            allowed.push(pace.allowed(16));
        }
        assert_eq!(allowed, [16, 8, 4, 2, 1, 1, 2, 3]);
    }
}
