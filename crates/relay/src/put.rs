//! Puts a window's entries: several packs at a time, no two entries of one key ever overtaking each other.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Limits, PutError};
use crate::outbox::Entry;
use crate::settle::Outcome;

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Puts every entry until the bus has taken or refused it, or until `stop`.
pub(crate) async fn put_all<B: Bus>(bus: &B, entries: &[Entry], stop: &CancellationToken) -> Vec<Outcome> {
    let mut lanes = Lanes::new(entries, bus.limits());
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < lanes.limits.concurrency && !stop.is_cancelled() {
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
        let can_start = flying.len() < lanes.limits.concurrency && !stop.is_cancelled();
        tokio::select! {
            Some((pack, results)) = flying.next() => lanes.settle(&pack, results, Instant::now()),
            () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)), if can_start && retry_at.is_some() => {}
            () = stop.cancelled(), if flying.is_empty() => {}
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
    /// Entries to put again, and how often they were tried.
    retries: HashMap<usize, (u32, Instant)>,
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
        }
    }

    fn next_pack(&mut self, now: Instant) -> Option<Vec<usize>> {
        let (mut pack, mut bytes) = (Vec::new(), 0);
        // A key passed over in this round stays passed over: its later entries must not overtake.
        let mut passed: HashSet<&str> = HashSet::new();
        for &at in &self.waiting {
            let entry = &self.entries[at];
            let key = entry.key.as_deref();
            let not_yet = self.retries.get(&at).is_some_and(|&(_, due)| due > now);
            let held = key.is_some_and(|key| {
                passed.contains(key) || (self.busy.contains(key) && !self.retries.contains_key(&at))
            });
            let size = entry.payload.len();
            let full = !pack.is_empty() && bytes + size > self.limits.bytes_max;
            if not_yet || held || full {
                passed.extend(key);
                continue;
            }
            pack.push(at);
            bytes += size;
            // Unless all of the pack or nothing takes effect, one entry of a key at a time.
            if !self.limits.atomic {
                passed.extend(key);
            }
            if pack.len() == self.limits.entries_max {
                break;
            }
        }
        for at in &pack {
            self.waiting.remove(at);
            self.busy.extend(self.entries[*at].key.as_deref());
        }
        (!pack.is_empty()).then_some(pack)
    }

    fn retry_at(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|at| self.retries.get(at)).map(|&(_, due)| due).min()
    }

    fn settle(&mut self, pack: &[usize], results: Vec<Result<(), PutError>>, now: Instant) {
        for (&at, result) in pack.iter().zip(results) {
            let key = self.entries[at].key.as_deref();
            if let Err(PutError::Unavailable { code, reason }) = &result {
                let tries = self.retries.get(&at).map_or(0, |&(tries, _)| tries) + 1;
                let ceiling = RETRY_MAX.min(RETRY_MIN * 2_u32.saturating_pow(tries.min(16)));
                let wait = ceiling.mul_f64(0.5 + fastrand::f64() / 2.0);
                tracing::warn!(event_id = %self.entries[at].id, code, reason, tries, wait_seconds = wait.as_secs_f64(), "the bus did not take it yet");
                self.retries.insert(at, (tries, now + wait));
                self.waiting.insert(at);
                continue;
            }
            self.retries.remove(&at);
            if let Some(key) = key {
                self.busy.remove(key);
            }
            self.outcomes[at] = result.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

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

        async fn record(&self, _: &mut sqlx::PgConnection, _: &[&Entry]) -> Result<(), sqlx::Error> {
            Ok(())
        }
    }

    fn flaky(seed: u64) -> Flaky {
        Flaky {
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            limits: Limits { entries_max: 3, bytes_max: 100, concurrency: 4, atomic: false },
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
            let outcomes = put_all(&bus, &entries, &CancellationToken::new()).await;
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
                Limits { entries_max: 10, bytes_max: 1000, concurrency: 2, atomic: false }
            }
            async fn begin(&mut self, _: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
                Ok(())
            }
            async fn put(&self, entries: &[&Entry]) -> Vec<Result<(), PutError>> {
                let away = PutError::Unavailable { code: "Unreachable".into(), reason: "refused".into() };
                entries.iter().map(|_| Err(away.clone())).collect()
            }
            async fn record(&self, _: &mut sqlx::PgConnection, _: &[&Entry]) -> Result<(), sqlx::Error> {
                Ok(())
            }
        }
        let stop = CancellationToken::new();
        let cancel = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(300)).await;
            cancel.cancel();
        });
        let outcomes = put_all(&Away, &entries(&[Some("a"), None]), &stop).await;
        assert_eq!(outcomes, [Outcome::Pending, Outcome::Pending]);
    }
}
