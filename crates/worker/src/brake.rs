//! What an operator's pause or limit means for one RPC in this worker. Pure; the clock is a parameter.

use outbox_event_router::Policy;
use outbox_transport::{Brake, Braked};
use tokio::time::Instant;

/// Ends that differ by less are the same: each read computes them again.
const SAME_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// What is set for one RPC, as it was read last. Each part ends by itself, so it holds while nothing can be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    paused_until: Option<Instant>,
    limit: Option<Limit>,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    concurrency: Option<usize>,
    rate_per_second: Option<u32>,
    until: Instant,
}

impl Orders {
    pub(crate) fn of(rpc: &str, all: &[Braked], now: Instant) -> Self {
        let mut orders = Self::default();
        for braked in all.iter().filter(|braked| braked.rpc == rpc) {
            let until = now + braked.left.min(outbox_transport::BRAKE_MAX);
            match braked.brake {
                Brake::Pause => orders.paused_until = Some(until),
                Brake::Limit { concurrency, rate_per_second } => {
                    let concurrency = concurrency.and_then(|many| usize::try_from(many).ok());
                    orders.limit = Some(Limit { concurrency, rate_per_second, until });
                }
            }
        }
        orders
    }

    /// `None` if it is not paused.
    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| now < *until)
    }

    pub(crate) fn is_limited(&self, now: Instant) -> bool {
        self.limit(now).is_some()
    }

    /// How many calls may be under way: as set, or as event_router.yaml has it.
    pub(crate) fn concurrency(&self, policy: &Policy, now: Instant) -> usize {
        let set = self.limit(now).and_then(|limit| limit.concurrency);
        set.map_or(policy.concurrency, |set| set.clamp(1, Policy::CONCURRENCY_MAX))
    }

    /// How many calls may begin in a second: as set, or as event_router.yaml has it.
    pub(crate) fn rate(&self, policy: &Policy, now: Instant) -> Option<u32> {
        let set = self.limit(now).and_then(|limit| limit.rate_per_second);
        set.map(|set| set.clamp(1, Policy::RATE_PER_SECOND_MAX)).or(policy.rate_per_second)
    }

    /// When a part ends next.
    pub(crate) fn ends(&self, now: Instant) -> Option<Instant> {
        let parts = [self.paused_until, self.limit.map(|limit| limit.until)];
        parts.into_iter().flatten().filter(|until| now < *until).min()
    }

    /// Whether they say the same. A read takes some time, so the ends differ a little.
    pub(crate) fn are_like(&self, other: &Self, now: Instant) -> bool {
        let alike = |one: Option<Instant>, other: Option<Instant>| match (one, other) {
            (Some(one), Some(other)) => {
                one.max(other).saturating_duration_since(one.min(other)) < SAME_WITHIN
            }
            (one, other) => one.is_none() && other.is_none(),
        };
        let limit = |orders: &Self| orders.limit(now).map(|limit| (limit.concurrency, limit.rate_per_second));
        alike(self.paused_until(now), other.paused_until(now))
            && limit(self) == limit(other)
            && alike(self.limit(now).map(|limit| limit.until), other.limit(now).map(|limit| limit.until))
    }

    fn limit(&self, now: Instant) -> Option<Limit> {
        self.limit.filter(|limit| now < limit.until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn braked(rpc: &str, brake: Brake, left: Duration) -> Braked {
        Braked { rpc: rpc.to_owned(), brake, left }
    }

    fn limit(concurrency: Option<u32>, rate_per_second: Option<u32>) -> Brake {
        Brake::Limit { concurrency, rate_per_second }
    }

    /// Guards promise 6: a pause or a limit is of one RPC, changes what it names, and ends by itself.
    #[tokio::test]
    async fn a_brake_holds_until_its_end() {
        let now = Instant::now();
        let later = now + MINUTE;
        let slow = Policy { rate_per_second: Some(50), ..Policy::default() };
        for (all, paused, concurrency, rate) in [
            (vec![], false, 16, Some(50)),
            (vec![braked("A/B", Brake::Pause, MINUTE)], true, 16, Some(50)),
            (vec![braked("C/D", Brake::Pause, MINUTE)], false, 16, Some(50)),
            (vec![braked("A/B", limit(Some(2), None), MINUTE)], false, 2, Some(50)),
            (vec![braked("A/B", limit(None, Some(100)), MINUTE)], false, 16, Some(100)),
            (vec![braked("A/B", limit(Some(64), Some(1)), MINUTE)], false, 64, Some(1)),
            (vec![braked("A/B", limit(Some(0), Some(0)), MINUTE)], false, 1, Some(1)),
            (vec![braked("A/B", limit(Some(9999), Some(99_999)), MINUTE)], false, 1000, Some(10_000)),
            (
                vec![braked("A/B", limit(Some(1), None), MINUTE), braked("A/B", Brake::Pause, MINUTE)],
                true,
                1,
                Some(50),
            ),
        ] {
            let orders = Orders::of("A/B", &all, now);
            let said = |at| {
                (orders.paused_until(at).is_some(), orders.concurrency(&slow, at), orders.rate(&slow, at))
            };
            assert_eq!(said(now), (paused, concurrency, rate), "{all:?}");
            assert_eq!(said(later), (false, 16, Some(50)), "{all:?} has ended");
            let sets = all.iter().any(|one| one.rpc == "A/B");
            assert_eq!((orders.ends(now), orders.ends(later)), (sets.then_some(later), None), "{all:?}");
        }
    }

    /// Guards: a read that finds the same changes nothing, and one that finds another end, limit or pause does.
    #[tokio::test]
    async fn the_same_orders_are_recognized() {
        let now = Instant::now();
        let of = |all: &[Braked]| Orders::of("A/B", all, now);
        let (pause, few) = (braked("A/B", Brake::Pause, MINUTE), braked("A/B", limit(Some(2), None), MINUTE));
        let longer = |one: &Braked, more| Braked { left: one.left + more, ..one.clone() };
        let (moment, hour) = (Duration::from_millis(300), Duration::from_secs(3600));
        for (one, other, alike) in [
            (vec![], vec![], true),
            (vec![pause.clone()], vec![longer(&pause, moment)], true),
            (vec![few.clone()], vec![longer(&few, moment)], true),
            (vec![pause.clone()], vec![longer(&pause, hour)], false),
            (vec![few.clone()], vec![longer(&few, hour)], false),
            (vec![few.clone()], vec![braked("A/B", limit(Some(3), None), MINUTE)], false),
            (vec![pause.clone()], vec![], false),
            (vec![few], vec![], false),
            // One that has ended is as none.
            (vec![braked("A/B", Brake::Pause, Duration::ZERO)], vec![], true),
        ] {
            assert_eq!(of(&one).are_like(&of(&other), now), alike, "{one:?} {other:?}");
            assert_eq!(of(&other).are_like(&of(&one), now), alike, "{other:?} {one:?}");
        }
    }
}
