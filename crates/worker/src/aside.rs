//! Dead deliveries that the dead-letter queue refuses. Each goes back into its queue and comes again later. Its RPC is not
//! called again for that, and no other delivery waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use outbox_event::EventId;
use outbox_runtime::Guarded;
use tokio::time::Instant;

use outbox_transport::{Again, Outcome};

/// The wait before the next try doubles between these two.
const WAIT_MIN: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(600);
/// After its wait a message is received like others, which may take this long.
const COMES_WITHIN: Duration = Duration::from_secs(300);
/// A forgotten delivery is called and decided again.
const KEPT_MAX: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Aside(Arc<Guarded<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    of: HashMap<EventId, Dead>,
    /// How many, by the code of the refusal. A code stays at zero, so that its gauge is set back.
    counts: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Dead {
    code: &'static str,
    reason: String,
    refusal: String,
    tries: u32,
    until: Instant,
}

impl Aside {
    /// Sets aside a delivery that is dead by this code and reason; `refusal` is the server's code. Returns its wait and the
    /// kind of retry: its call was an attempt, and later tries make no call.
    pub(crate) fn set(
        &self,
        event: EventId,
        (code, reason): (&'static str, &str),
        refusal: &str,
        now: Instant,
    ) -> (Duration, Again) {
        let mut kept = self.0.lock();
        let tries = kept.of.get(&event).map_or(0, |dead| dead.tries);
        let wait = wait(tries);
        if kept.of.len() >= KEPT_MAX {
            kept.forget(now);
        }
        if kept.of.len() < KEPT_MAX || kept.of.contains_key(&event) {
            let (reason, refusal) = (reason.to_owned(), refusal.to_owned());
            let until = now + wait + COMES_WITHIN;
            kept.of.insert(event, Dead { code, reason, refusal, tries: tries.saturating_add(1), until });
        }
        (wait, if tries == 0 { Again::Failed } else { Again::Postponed })
    }

    /// The outcome that was decided for an event whose message has come back.
    pub(crate) fn decided(&self, event: EventId) -> Option<Outcome> {
        let known = |dead: &Dead| Outcome::SetAside { code: dead.code, reason: dead.reason.clone() };
        self.0.lock().of.get(&event).map(known)
    }

    pub(crate) fn settled(&self, event: EventId) {
        self.0.lock().of.remove(&event);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().of.is_empty()
    }

    pub(crate) fn counts(&self, now: Instant) -> BTreeMap<String, usize> {
        let mut kept = self.0.lock();
        kept.forget(now);
        kept.count();
        kept.counts.clone()
    }
}

impl Kept {
    /// A message that did not come back in time is with another worker, or gone.
    fn forget(&mut self, now: Instant) {
        self.of.retain(|_, dead| now < dead.until);
    }

    fn count(&mut self) {
        for count in self.counts.values_mut() {
            *count = 0;
        }
        for dead in self.of.values() {
            match self.counts.get_mut(&dead.refusal) {
                Some(count) => *count += 1,
                None => _ = self.counts.insert(dead.refusal.clone(), 1),
            }
        }
    }
}

/// For a message without an event's id, such as a malformed one, nothing is remembered.
pub(crate) const WAIT_UNKNOWN: Duration = Duration::from_secs(60);

fn wait(tries: u32) -> Duration {
    WAIT_MIN.saturating_mul(1 << tries.min(20)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 6 and 8: a delivery that is set aside waits longer each time, and is counted by its reason. It is
    /// forgotten once it is settled or does not come back.
    #[tokio::test]
    async fn what_is_set_aside_is_counted_until_it_is_settled() {
        let (aside, now) = (Aside::default(), Instant::now());
        let (one, other) = (EventId::new(), EventId::new());
        let dead = ("invalid_argument", "no card");
        let waits: Vec<u64> = (0..9).map(|_| aside.set(one, dead, "AccessDenied", now).0.as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(aside.set(other, dead, "QueueDoesNotExist", now), (WAIT_MIN, Again::Failed));
        assert_eq!(aside.set(one, dead, "AccessDenied", now).1, Again::Postponed);
        let counts = |now| aside.counts(now).into_values().collect::<Vec<_>>();
        assert_eq!(counts(now), [1, 1]);
        let known = Outcome::SetAside { code: "invalid_argument", reason: "no card".to_owned() };
        assert_eq!(aside.decided(one), Some(known));
        aside.settled(one);
        assert_eq!((counts(now), aside.decided(one)), (vec![0, 1], None));
        assert_eq!(counts(now + WAIT_MIN + COMES_WITHIN), [0, 0]);
        assert_eq!(aside.decided(other), None);
    }

    /// Guards promise 7: the number of remembered deliveries is bounded.
    #[tokio::test]
    async fn what_is_set_aside_is_bounded() {
        let (kept, now) = (Aside::default(), Instant::now());
        for _ in 0..KEPT_MAX {
            kept.set(EventId::new(), ("a", "b"), "c", now);
        }
        let late = EventId::new();
        assert_eq!(kept.set(late, ("a", "b"), "c", now), (WAIT_MIN, Again::Failed));
        let many = kept.0.lock().of.len();
        assert_eq!((many, kept.decided(late)), (KEPT_MAX, None));
    }
}
