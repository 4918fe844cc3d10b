//! Events whose RPC succeeded and whose record is not written yet. While the database is away, their messages may come back
//! before the record is written. This list then prevents another call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outbox_event::EventId;
use outbox_runtime::Guarded;
use tokio::time::Instant;

/// For those whose record could not be written. Each is a lost lease, and leaves after a time.
const KEPT_MAX: usize = 10_000;

#[derive(Debug, Clone)]
pub(crate) struct Unrecorded(Arc<Guarded<Successes>>);

#[derive(Debug)]
struct Successes {
    of: HashMap<EventId, Success>,
    keeps: Duration,
}

#[derive(Debug, Default)]
struct Success {
    /// So many records of it are still to be written. Each is in the settler's channel, which is bounded.
    pending: usize,
    /// Without any, it is remembered until then.
    until: Option<Instant>,
}

impl Unrecorded {
    /// `lease` and `visibility` are the consumer's: after both a message has come back, or it never will.
    pub(crate) fn new(lease: Duration, visibility: Duration) -> Self {
        let keeps = lease.saturating_add(visibility);
        Self(Arc::new(Guarded::new(Successes { of: HashMap::new(), keeps })))
    }

    /// The consumer has other times from now on, beside one that may still have the times before.
    pub(crate) fn keeps_for(&self, lease: Duration, visibility: Duration) {
        let mut successes = self.0.lock();
        successes.keeps = successes.keeps.max(lease.saturating_add(visibility));
    }

    /// A call succeeded, now or before: its record is to be written.
    pub(crate) fn succeeded(&self, event: EventId) {
        self.0.lock().of.entry(event).or_default().pending += 1;
    }

    /// Whether a call of this worker has succeeded for it, and may not be recorded.
    pub(crate) fn knows(&self, event: EventId, now: Instant) -> bool {
        self.0.lock().of.get(&event).is_some_and(|success| success.is_known(now))
    }

    /// Its record is written, by this worker or another one, and answers from here on.
    pub(crate) fn recorded(&self, event: EventId) {
        self.0.lock().of.remove(&event);
    }

    /// They can't be recorded, because other workers hold their leases. If such a worker dies before it calls, their messages
    /// come back once more.
    pub(crate) fn lost(&self, events: impl IntoIterator<Item = EventId>, now: Instant) {
        let mut successes = self.0.lock();
        let until = Some(now + successes.keeps);
        for event in events {
            if let Some(success) = successes.of.get_mut(&event) {
                success.pending = success.pending.saturating_sub(1);
                success.until = success.until.max(until);
            }
        }
        successes.clear(now);
    }

    /// Their records will not be written, because the settler has ended. Call it only after the end of a consumer: the records
    /// of one that was replaced are still pending while it finishes its calls.
    pub(crate) fn orphaned(&self, now: Instant) {
        let mut successes = self.0.lock();
        let until = Some(now + successes.keeps);
        for success in successes.of.values_mut().filter(|success| success.pending > 0) {
            *success = Success { pending: 0, until };
        }
        successes.clear(now);
    }
}

impl Success {
    fn is_known(&self, now: Instant) -> bool {
        self.pending > 0 || self.until.is_some_and(|until| now < until)
    }
}

impl Successes {
    fn clear(&mut self, now: Instant) {
        self.of.retain(|_, success| success.is_known(now));
        let mut kept: Vec<_> = self
            .of
            .iter()
            .filter(|(_, success)| success.pending == 0)
            .map(|(id, it)| (it.until, *id))
            .collect();
        if kept.len() <= KEPT_MAX {
            return;
        }
        kept.sort_unstable();
        for (_, event) in &kept[..kept.len() - KEPT_MAX] {
            self.of.remove(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(40);
    const VISIBILITY: Duration = Duration::from_secs(30);

    /// Guards promises 3 and 7: a success is remembered until it is recorded. After a lost lease it is remembered as long as
    /// its message may come back, and then forgotten.
    #[tokio::test]
    async fn a_success_is_known_until_its_record_answers() {
        let known = Unrecorded::new(LEASE, VISIBILITY);
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let (recorded, lost, twice, orphan) =
            (EventId::new(), EventId::new(), EventId::new(), EventId::new());
        for event in [recorded, lost, twice, twice, orphan] {
            assert!(event == twice || !known.knows(event, start));
            known.succeeded(event);
            assert!(known.knows(event, at(1_000_000)), "its record is still to be written");
        }
        known.recorded(recorded);
        known.lost([lost, twice, EventId::new()], start);
        assert!(!known.knows(recorded, start));
        assert_eq!([69, 70].map(|s| known.knows(lost, at(s))), [true, false]);
        assert!(known.knows(twice, at(70)), "another record of it is still to be written");
        known.orphaned(at(100));
        assert_eq!([169, 170].map(|s| known.knows(orphan, at(s))), [true, false]);
        assert_eq!([169, 170].map(|s| known.knows(twice, at(s))), [true, false]);
        known.lost([EventId::new()], at(170));
        assert_eq!(known.0.lock().of.len(), 0, "all are forgotten");
    }

    /// Guards promise 7: however many leases are lost at once, the remembered ones are bounded, and the oldest leave first.
    #[tokio::test]
    async fn lost_leases_are_bounded() {
        let known = Unrecorded::new(LEASE, VISIBILITY);
        let start = Instant::now();
        let events: Vec<EventId> = (0..KEPT_MAX + 500).map(|_| EventId::new()).collect();
        for (nth, event) in events.iter().enumerate() {
            known.succeeded(*event);
            if nth % 500 == 499 {
                let of = events[nth - 499..=nth].iter().copied();
                known.lost(of, start + Duration::from_millis(nth as u64));
            }
        }
        assert_eq!(known.0.lock().of.len(), KEPT_MAX);
        assert!(!known.knows(events[0], start) && known.knows(events[500], start));
    }
}
