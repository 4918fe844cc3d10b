//! Puts a window's entries in several packs at a time. No entry overtakes another one of its key.

mod key_order; // which entries may go next
mod limiter; // how many packs may be under way

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use outbox_event::Envelope;
use outbox_transport::{Entry, PutError, RemoteBus};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::limiter::PutLimiter;

use self::key_order::KeyOrder;
use crate::metrics::Progress;
use crate::settle::Outcome;

/// Puts every entry until the bus has taken or refused it, or until `stop`. An entry without an envelope is refused.
pub(crate) async fn put_all<B: RemoteBus>(
    bus: &B,
    entries: &[Entry],
    envelopes: &[Result<Envelope<'_>, PutError>],
    limiter: &mut PutLimiter,
    progress: &Progress,
    stop: &CancellationToken,
) -> Vec<Outcome> {
    let settled = |envelope: &Result<_, PutError>| match envelope {
        Ok(_) => Outcome::Pending,
        Err(error) => Err(error.clone()).into(),
    };
    let mut order = KeyOrder::new(entries, bus.limits(), envelopes.iter().map(settled).collect());
    let mut flying = FuturesUnordered::new();
    loop {
        let allowed = limiter.allowed(order.limits.concurrency);
        while flying.len() < allowed && !stop.is_cancelled() {
            let Some(pack) = order.next_pack(Instant::now()) else { break };
            flying.push(async move {
                let events: Vec<&Envelope<'_>> =
                    pack.iter().filter_map(|&at| envelopes[at].as_ref().ok()).collect();
                let results = bus.put(&events).await;
                (pack, results)
            });
        }
        if flying.is_empty() && (order.waiting.is_empty() || stop.is_cancelled()) {
            return order.outcomes;
        }
        let retry_at = order.retry_at();
        let can_start = flying.len() < allowed && !stop.is_cancelled();
        tokio::select! {
            Some((pack, results)) = flying.next() => {
                progress.answers(&results);
                limiter.heard(&results, order.limits.concurrency);
                order.settle(&pack, results, Instant::now());
            }
            () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)), if can_start && retry_at.is_some() => {}
            () = stop.cancelled(), if flying.is_empty() => {}
        }
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use outbox_transport::{BusLimits, PutErrorKind};

    use super::*;

    fn progress() -> Progress {
        Progress::new("test", outbox_runtime::Readiness::default().part("test"))
    }

    fn entries(keys: &[Option<&str>]) -> Vec<Entry> {
        keys.iter()
            .enumerate()
            .map(|(at, key)| Entry {
                seq: at as i64,
                id: outbox_event::EventId::new(),
                name: "event_a".into(),
                key: key.map(str::to_owned),
                payload: "{}".into(),
                headers: None,
                occurred_at: chrono::Utc::now(),
                flaw: None,
            })
            .collect()
    }

    async fn put_them<B: RemoteBus>(bus: &B, entries: &[Entry], stop: &CancellationToken) -> Vec<Outcome> {
        let envelopes: Vec<_> = entries.iter().map(|entry| entry.envelope("cards")).collect();
        put_all(bus, entries, &envelopes, &mut PutLimiter::default(), &progress(), stop).await
    }

    /// A bus that fails some puts at random, and remembers what took effect.
    struct Flaky {
        random: Mutex<fastrand::Rng>,
        limits: BusLimits,
        taken: Mutex<Vec<outbox_event::EventId>>,
    }

    impl RemoteBus for Flaky {
        fn limits(&self) -> BusLimits {
            self.limits
        }

        async fn put(&self, entries: &[&Envelope<'_>]) -> Vec<Result<(), PutError>> {
            assert!(entries.len() <= self.limits.entries_max);
            let wait = self.random.lock().unwrap().u64(0..20);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            entries
                .iter()
                .map(|entry| match self.random.lock().unwrap().u8(0..10) {
                    0..3 => Err(PutError::new(PutErrorKind::Unavailable, "ThrottlingException", "slow down")),
                    3 => Err(PutError::refused("MalformedDetail", "no")),
                    _ => {
                        self.taken.lock().unwrap().push(entry.id);
                        Ok(())
                    }
                })
                .collect()
        }
    }

    fn flaky(seed: u64) -> Flaky {
        Flaky {
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            limits: BusLimits { entries_max: 3, bytes_max: 2500, concurrency: 4 },
            taken: Mutex::new(Vec::new()),
        }
    }

    /// Guards promise 4: after any failure or delay, entries of one key take effect in their order, and each is settled once.
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
            let outcomes = put_them(&bus, &entries, &CancellationToken::new()).await;
            let place =
                |id: &outbox_event::EventId| entries.iter().position(|entry| entry.id == *id).unwrap();
            let taken: Vec<usize> = bus.taken.into_inner().unwrap().iter().map(place).collect();
            for (at, outcome) in outcomes.iter().enumerate() {
                let times = taken.iter().filter(|&&taken| taken == at).count();
                assert_eq!(
                    times,
                    usize::from(*outcome == Outcome::Acked),
                    "seed {seed}: entry {at} {outcome:?}"
                );
                assert_ne!(*outcome, Outcome::Pending, "seed {seed}: entry {at}");
            }
            for key in ["a", "b", "c"] {
                let order: Vec<_> = taken.iter().filter(|&&at| keys[at] == Some(key)).collect();
                assert!(order.is_sorted(), "seed {seed}: key {key} took effect as {order:?}");
            }
        }
    }

    /// Guards: a bus that is away does not block a stop, and no pending entry counts as settled.
    #[tokio::test(start_paused = true)]
    async fn stop_leaves_what_is_pending_pending() {
        struct Away;
        impl RemoteBus for Away {
            fn limits(&self) -> BusLimits {
                BusLimits { entries_max: 10, bytes_max: 10_000, concurrency: 2 }
            }
            async fn put(&self, entries: &[&Envelope<'_>]) -> Vec<Result<(), PutError>> {
                let away = PutError::new(PutErrorKind::Unavailable, "Unreachable", "refused");
                entries.iter().map(|_| Err(away.clone())).collect()
            }
        }
        let stop = CancellationToken::new();
        let cancel = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(300)).await;
            cancel.cancel();
        });
        let outcomes = put_them(&Away, &entries(&[Some("a"), None]), &stop).await;
        assert_eq!(outcomes, [Outcome::Pending, Outcome::Pending]);
    }

    /// Guards promise 6: an entry at which the bus always fails is parked once others were taken, and waits while none is
    /// taken.
    #[tokio::test(start_paused = true)]
    async fn a_poison_entry_is_parked_and_an_outage_is_not() {
        struct Poisoned<'a> {
            entries: &'a [Entry],
            took: bool,
        }
        impl RemoteBus for Poisoned<'_> {
            fn limits(&self) -> BusLimits {
                BusLimits { entries_max: 10, bytes_max: 10_000, concurrency: 2 }
            }
            async fn put(&self, entries: &[&Envelope<'_>]) -> Vec<Result<(), PutError>> {
                let failed = PutError::new(PutErrorKind::Failed, "InternalFailure", "oops");
                entries
                    .iter()
                    .map(|event| match self.took && event.id != self.entries[0].id {
                        true => Ok(()),
                        false => Err(failed.clone()),
                    })
                    .collect()
            }
        }
        let (two, stop) = (entries(&[None, None]), CancellationToken::new());
        let outcomes = put_them(&Poisoned { entries: &two, took: true }, &two, &stop).await;
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
        let outcomes = put_them(&Poisoned { entries: &two, took: false }, &two, &stop).await;
        assert_eq!(outcomes, [Outcome::Pending, Outcome::Pending]);
    }

    /// Guards promise 6: if one entry makes every request with it fail, the others are taken without it, and it is parked.
    #[tokio::test(start_paused = true)]
    async fn an_entry_that_fails_its_pack_is_taken_alone() {
        struct Choking(outbox_event::EventId);
        impl RemoteBus for Choking {
            fn limits(&self) -> BusLimits {
                BusLimits { entries_max: 10, bytes_max: 10_000, concurrency: 2 }
            }
            async fn put(&self, entries: &[&Envelope<'_>]) -> Vec<Result<(), PutError>> {
                let failed = PutError::new(PutErrorKind::Failed, "InternalException", "oops");
                let chokes = entries.iter().any(|event| event.id == self.0);
                entries.iter().map(|_| if chokes { Err(failed.clone()) } else { Ok(()) }).collect()
            }
        }
        let entries = entries(&[None; 40]);
        let outcomes = put_them(&Choking(entries[7].id), &entries, &CancellationToken::new()).await;
        for (at, outcome) in outcomes.iter().enumerate() {
            match at {
                7 => assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}"),
                _ => assert_eq!(*outcome, Outcome::Acked, "{at}"),
            }
        }
    }
}
