use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use outbox_transport::{BusLimits, Entry, PutError, PutErrorKind};
use tokio::time::Instant;

use crate::settle::Outcome;

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// With the waits above this takes some four minutes.
const TRIES_MAX: u32 = 15;
/// From this try on, failed entries go into smaller packs, because another entry of the pack may be the cause.
const TRIES_TOGETHER: u32 = 3;

/// Which entries may be put next: those of one key one after the other, in their order. The clock is a parameter; the wait
/// before a retry is random.
pub(super) struct KeyOrder<'a> {
    entries: &'a [Entry],
    pub(super) limits: BusLimits,
    pub(super) outcomes: Vec<Outcome>,
    /// Not yet handed out, in seq order.
    pub(super) waiting: BTreeSet<usize>,
    /// Keys with an entry under way or due for a retry.
    busy: HashSet<&'a str>,
    /// Entries to put again.
    retries: HashMap<usize, Retry>,
    /// When the bus last took an entry.
    taken_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    tries: u32,
    /// How many of these tries failed because of this entry or another one in its pack.
    failures: u32,
    first_at: Instant,
    due: Instant,
}

impl<'a> KeyOrder<'a> {
    /// An entry that can't travel is settled already.
    pub(super) fn new(entries: &'a [Entry], limits: BusLimits, outcomes: Vec<Outcome>) -> Self {
        let waiting = (0..entries.len()).filter(|&at| outcomes[at] == Outcome::Pending).collect();
        Self {
            entries,
            limits,
            outcomes,
            waiting,
            busy: HashSet::new(),
            retries: HashMap::new(),
            taken_at: None,
        }
    }

    /// The next entries to put together; none if all of the rest must wait.
    pub(super) fn next_pack(&mut self, now: Instant) -> Option<Vec<usize>> {
        let (mut pack, mut bytes) = (Vec::new(), 0);
        let mut entries_max = self.limits.entries_max;
        // A key that was passed over stays so for this round: its later entries must not overtake.
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
            // A part of the pack may fail, so it has only one entry of a key.
            passed.extend(key);
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

    /// The largest pack that may contain this entry.
    fn together(&self, at: usize) -> usize {
        let failures = self.retries.get(&at).map_or(0, |retry| retry.failures);
        (self.limits.entries_max >> failures.saturating_sub(TRIES_TOGETHER - 1).min(16)).max(1)
    }

    /// When the next retry is due. Only the first entry of a key may be put again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
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

    pub(super) fn settle(&mut self, pack: &[usize], results: Vec<Result<(), PutError>>, now: Instant) {
        if results.iter().any(Result::is_ok) {
            self.taken_at = Some(now);
        }
        for (&at, result) in pack.iter().zip(results) {
            let result = match result {
                Err(PutError { kind: PutErrorKind::Failed, code, reason }) if self.is_hopeless(at) => Err(
                    PutError::refused(code, format!("{reason} ({TRIES_MAX} times, while others were taken)")),
                ),
                Err(failure) if failure.kind != PutErrorKind::Refused => {
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

    /// The entry fails again and again while the bus takes others. The relay no longer waits for it.
    fn is_hopeless(&self, at: usize) -> bool {
        self.retries.get(&at).is_some_and(|retry| {
            retry.tries + 1 >= TRIES_MAX && self.taken_at.is_some_and(|taken| taken >= retry.first_at)
        })
    }

    fn again(&mut self, at: usize, failure: &PutError, now: Instant) {
        let before = self.retries.get(&at).copied();
        let tries = before.map_or(0, |retry| retry.tries) + 1;
        let said = u32::from(failure.kind == PutErrorKind::Failed);
        let failures = before.map_or(0, |retry| retry.failures) + said;
        let ceiling = RETRY_MAX.min(RETRY_MIN * 2_u32.saturating_pow(tries.min(16)));
        let wait = ceiling.mul_f64(0.5 + fastrand::f64() / 2.0);
        tracing::warn!(event_id = %self.entries[at].id, code = failure.code, reason = failure.reason, tries, wait_seconds = wait.as_secs_f64(), "the bus did not take it yet");
        let first_at = before.map_or(now, |retry| retry.first_at);
        self.retries.insert(at, Retry { tries, failures, first_at, due: now + wait });
        self.waiting.insert(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: there is no busy loop for a failed entry while its key's first entry still waits.
    #[test]
    fn the_wait_of_a_key_is_that_of_its_first_entry() {
        let entry = |seq: i64| Entry {
            seq,
            id: outbox_event::EventId::new(),
            name: "event_a".into(),
            key: Some("a".into()),
            payload: "{}".into(),
            headers: None,
            occurred_at: chrono::Utc::now(),
            flaw: None,
        };
        let entries = [entry(0), entry(1)];
        let limits = BusLimits { entries_max: 10, bytes_max: 10_000, concurrency: 1 };
        let mut order = KeyOrder::new(&entries, limits, vec![Outcome::Pending; 2]);
        let now = Instant::now();
        let pack = order.next_pack(now).unwrap();
        assert_eq!(pack, [0]);
        let away = Err(PutError::new(PutErrorKind::Unavailable, "Unreachable", "refused"));
        order.settle(&pack, vec![away], now);
        let retry_at = order.retry_at().unwrap();
        assert_eq!(retry_at, order.retries[&0].due);
        assert_eq!(order.next_pack(now), None);
        assert_eq!(order.next_pack(retry_at), Some(vec![0]));
    }
}
