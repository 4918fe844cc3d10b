//! Compares what happened with what was promised. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use outbox::EventId;
use serde::Serialize;

use crate::faults::{CLOCK_OFF_MAX, Fault};
use crate::fleet::SOURCE;
use crate::history::{Answer, At, Call, Change, History, Outcome, Spell};
use crate::routes::{GARBLED, Rpc, subscribers};

#[cfg(test)]
mod tests;

/// So many violations of a kind are shown; the others are counted.
const EXAMPLES_MAX: usize = 10;
/// The time for a record after a success, on any machine: a later fault does not excuse a missing record.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);
/// A worker's lease outlives a call by this time.
const LEASE_BEYOND_CALL: Duration = Duration::from_secs(3);
/// A worker that was paused in the middle of a call makes the call when it continues.
const RESUMED_WITHIN: Duration = Duration::from_secs(1);
/// A relay may miss notifications a little longer than the fault lasted: its fallback poll comes every 5 s.
const MUTED_FOR: Duration = Duration::from_secs(6);

#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) events: usize,
    pub(crate) deliveries: usize,
    pub(crate) repeats_excused: Vec<Excused>,
    pub(crate) violations: Vec<Violation>,
}

/// A call after a success that a fault in between excuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Excused {
    pub(crate) event: EventId,
    pub(crate) rpc: &'static str,
    pub(crate) because: String,
}

/// A broken promise, with examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    pub(crate) kind: &'static str,
    pub(crate) count: usize,
    pub(crate) examples: Vec<String>,
}

pub(crate) fn judge(history: &History) -> Verdict {
    let facts = Facts::of(history);
    let mut found = Findings::default();
    facts.outcomes(&mut found);
    facts.arrivals(&mut found);
    facts.strangers(&mut found);
    facts.order(&mut found);
    facts.moved_once(&mut found);
    facts.parked_once(&mut found);
    facts.records(&mut found);
    let late_excused = facts.after_the_record(&mut found);
    facts.cursor(&mut found);
    facts.wake_ups(&mut found);
    facts.blind_spots(&mut found);
    let mut repeats_excused = facts.repeats(&mut found);
    repeats_excused.extend(late_excused);
    for complaint in &history.complaints {
        found.add(complaint.kind, complaint.what.clone());
    }
    Verdict {
        events: history.committed.len(),
        deliveries: history.committed.iter().map(|change| facts.due(change).len()).sum(),
        repeats_excused,
        violations: found.0.into_values().collect(),
    }
}

#[derive(Default)]
struct Findings(BTreeMap<&'static str, Violation>);

impl Findings {
    fn add(&mut self, kind: &'static str, what: String) {
        let violation = self.0.entry(kind).or_insert(Violation { kind, count: 0, examples: Vec::new() });
        violation.count += 1;
        if violation.examples.len() < EXAMPLES_MAX {
            violation.examples.push(what);
        }
    }
}

struct Facts<'a> {
    history: &'a History,
    committed: HashMap<EventId, &'a Change>,
    /// In the order of their arrival.
    calls: HashMap<(EventId, Rpc), Vec<Call>>,
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let mut calls: HashMap<_, Vec<Call>> = HashMap::new();
        for call in &history.calls {
            calls.entry((call.event, call.rpc)).or_default().push(*call);
        }
        calls.values_mut().for_each(|calls| calls.sort_by_key(|call| call.came));
        let committed = history.committed.iter().map(|change| (change.event, change)).collect();
        Self { history, committed, calls }
    }

    /// The RPCs that must receive a committed event. A row that no bus can carry has none.
    fn due(&self, change: &Change) -> &'static [Rpc] {
        if change.name == GARBLED { &[] } else { subscribers(&change.name) }
    }

    fn succeeded(&self, event: EventId, rpc: Rpc) -> Option<(Call, At)> {
        self.calls.get(&(event, rpc))?.iter().find_map(|call| match call.answer {
            Some((Answer::Success, at)) => Some((*call, at)),
            _ => None,
        })
    }

    /// The outcome that a publisher saw equals the domain table's.
    fn outcomes(&self, found: &mut Findings) {
        for told in &self.history.told {
            match (told.outcome, self.committed.contains_key(&told.event)) {
                (Outcome::Committed, false) => {
                    found.add(
                        "commit_lost",
                        format!("{}: COMMIT was answered, and the row is not there", told.event),
                    );
                }
                (Outcome::RolledBack, true) => {
                    found.add(
                        "rollback_kept",
                        format!("{}: it was rolled back, and the row is there", told.event),
                    );
                }
                _ => {}
            }
        }
    }

    /// Each committed event is done, dead or parked; dead and parked only if it was bound to be.
    fn arrivals(&self, found: &mut Findings) {
        for change in &self.history.committed {
            let event = change.event;
            let parked = self.history.parked.contains_key(&event);
            match (change.name == GARBLED, parked) {
                (true, false) => {
                    found.add("lost", format!("{event}: no bus can carry it, and it is not parked"));
                }
                (false, true) => {
                    found.add("parked", format!("{event} ({}, {}): parked", change.name, change.how));
                }
                _ => {}
            }
            for &rpc in self.due(change) {
                let who = || format!("{event} ({}, {}) at {}", change.name, change.how, rpc.name());
                let dead = self.history.dead.contains(&(event, rpc));
                let succeeded = self.succeeded(event, rpc).is_some();
                if dead && !change.refuse {
                    found.add("dead_lettered", format!("{}: dead-lettered without a refusal", who()));
                }
                if succeeded && change.refuse {
                    found.add("succeeded_refused", format!("{}: it was to be refused", who()));
                }
                if !dead && !succeeded && !parked {
                    found.add("lost", format!("{}: neither done nor dead nor parked", who()));
                }
            }
        }
    }

    /// An uncommitted event is never seen, and only subscribers are called.
    fn strangers(&self, found: &mut Findings) {
        for (event, rpc) in self.calls.keys() {
            match self.committed.get(event) {
                None => found.add("called_uncommitted", format!("{event}: {} was called", rpc.name())),
                Some(change) if !self.due(change).contains(rpc) => {
                    found.add(
                        "called_unsubscribed",
                        format!("{event} ({}): {} was called", change.name, rpc.name()),
                    );
                }
                Some(_) => {}
            }
        }
        let kept = self.history.dead.iter().map(|(event, _)| event).chain(self.history.parked.keys());
        let put = self.history.puts.iter().map(|put| &put.event).chain(kept);
        for event in put.filter(|event| !self.committed.contains_key(event)).collect::<HashSet<_>>() {
            found.add("put_uncommitted", event.to_string());
        }
    }

    /// No call follows a success, unless a fault came between the success and its record.
    fn repeats(&self, found: &mut Findings) -> Vec<Excused> {
        let mut excused = Vec::new();
        for (&(event, rpc), calls) in &self.calls {
            let Some((first, done)) = self.succeeded(event, rpc) else { continue };
            let again = calls.iter().filter(|call| {
                let succeeded = matches!(call.answer, Some((Answer::Success, _)));
                **call != first && (call.came > done || succeeded)
            });
            let mut last = first;
            for call in again {
                match self.excuse(&last, call).or_else(|| self.stood_still(call, done)) {
                    Some(because) => excused.push(Excused { event, rpc: rpc.name(), because }),
                    None => found.add(
                        "called_again",
                        format!(
                            "{event} at {}: done by {} at {:.3} s (attempt {}), called by {} at {:.3} s (attempt {})",
                            rpc.name(),
                            first.worker,
                            done.as_secs_f64(),
                            first.attempt,
                            call.worker,
                            call.came.as_secs_f64(),
                            call.attempt
                        ),
                    ),
                }
                // A failed call is tried again.
                if matches!(call.answer, Some((Answer::Success, _))) {
                    last = *call;
                }
            }
        }
        excused.sort_by_key(|repeat| repeat.event);
        excused
    }

    /// The fault that affected the worker between the success `first` and the call `again`.
    fn excuse(&self, first: &Call, again: &Call) -> Option<String> {
        let (_, done) = first.answer?;
        let (from, to) = (first.came.min(again.came), first.came.max(again.came));
        let mut between = self.history.spells.iter().filter(|spell| {
            spell.fault.parts_success_from_record(self.history.transport)
                && (!spell.fault.meets_a_worker() || spell.whom == first.worker)
                && spell.at <= to.min(done + RECORDED_WITHIN)
                && spell.until >= from
        });
        if let Some(spell) = between.next() {
            return Some(format!(
                "{} ({}) at {:.1} s",
                spell.fault.name(),
                spell.whom,
                spell.at.as_secs_f64()
            ));
        }
        // The record was not written before the lease ended, so another worker may have had it.
        let mut delays = self.history.spells.iter().filter(|spell| {
            spell.fault.delays_the_record()
                && spell.at <= to.min(done + RECORDED_WITHIN)
                && spell.until >= from
        });
        if again.came >= done + LEASE_BEYOND_CALL
            && let Some(spell) = delays.next()
        {
            return Some(format!(
                "{} at {:.1} s, and a lease ended",
                spell.fault.name(),
                spell.at.as_secs_f64()
            ));
        }
        let unheard = self.history.unheard.contains(&(first.event, first.rpc, first.attempt));
        unheard.then(|| "the worker did not wait for the answer any longer".to_owned())
    }

    /// Events of a key take effect on the bus in the order of its changes: none begins before the one before it is done for
    /// the first time.
    fn order(&self, found: &mut Findings) {
        /// Tick and count of the change, of any process.
        type First<'a> = (i64, i64, i64, &'a Change);
        let mut firsts: HashMap<(EventId, Option<Rpc>), (i64, i64)> = HashMap::new();
        for put in &self.history.puts {
            let first = firsts.entry((put.event, put.rpc)).or_insert((i64::MAX, i64::MAX));
            *first = (first.0.min(put.begun), first.1.min(put.done));
        }
        let mut keys: HashMap<(&str, Option<Rpc>), Vec<First<'_>>> = HashMap::new();
        for ((event, rpc), (begun, done)) in firsts {
            let Some(change) = self.committed.get(&event) else { continue };
            if let Some(key) = &change.key {
                keys.entry((key, rpc)).or_default().push((change.n, begun, done, change));
            }
        }
        for ((key, rpc), mut puts) in keys {
            puts.sort_unstable_by_key(|(n, begun, done, _)| (*n, *begun, *done));
            for pair in puts.windows(2) {
                let ((n, _, done, one), (later, begun, _, other)) = (pair[0], pair[1]);
                if begun < done && !self.set_back_between(one, other) {
                    let (event, other) = (one.event, other.event);
                    let to = rpc.map_or("the bus", Rpc::name);
                    found.add(
                        "order",
                        format!(
                            "{key}: change {later} ({other}) was put to {to} before change {n} ({event})"
                        ),
                    );
                }
            }
        }
    }

    /// A later change of a key waited for the earlier one's lock and drew a lower seq: the sequence was set back between
    /// them. The relay knows no other order than that of seqs.
    fn set_back_between(&self, earlier: &Change, later: &Change) -> bool {
        self.history.spells.iter().any(|spell| spell.fault == Fault::SequencesSetBack)
            && (later.seq < earlier.seq || later.seq < later.seq_before)
    }

    /// A row that no bus can carry is parked once, with a code, and never put.
    fn parked_once(&self, found: &mut Findings) {
        for (event, codes) in &self.history.parked {
            if codes.len() > 1 {
                found.add("parked_twice", format!("{event}: {codes:?}"));
            }
            if codes.iter().any(String::is_empty) {
                found.add("parked_without_code", event.to_string());
            }
        }
        let garbled =
            |event: &EventId| self.committed.get(event).is_some_and(|change| change.name == GARBLED);
        for put in self.history.puts.iter().filter(|put| garbled(&put.event)) {
            found.add("put_garbled", format!("{}: no bus can carry it, and it was put", put.event));
        }
    }

    /// The transaction that advances the cursor fills the queues of the transport postgres: exactly once.
    fn moved_once(&self, found: &mut Findings) {
        let mut times: HashMap<(EventId, Rpc), usize> = HashMap::new();
        for put in &self.history.puts {
            if let Some(rpc) = put.rpc {
                *times.entry((put.event, rpc)).or_default() += 1;
            }
        }
        for ((event, rpc), times) in times.into_iter().filter(|(_, times)| *times > 1) {
            found.add("put_twice", format!("{event}: {times} times into the queue of {}", rpc.name()));
        }
    }

    /// Every success is recorded as done by the end.
    fn records(&self, found: &mut Findings) {
        for &(event, rpc) in self.calls.keys() {
            if self.succeeded(event, rpc).is_some() && !self.history.recorded.contains_key(&(event, rpc)) {
                found.add(
                    "unrecorded",
                    format!("{event} at {}: succeeded, and is not recorded as done", rpc.name()),
                );
            }
        }
    }

    /// The pause in the middle of a call: it began before `done`, and the call was made after it.
    fn stood_still(&self, call: &Call, done: At) -> Option<String> {
        let spell = self.history.spells.iter().find(|spell| {
            spell.fault == Fault::WorkerPaused
                && spell.whom == call.worker
                && spell.at <= done
                && (spell.until..=spell.until + RESUMED_WITHIN).contains(&call.came)
        })?;
        Some(format!(
            "worker_paused ({}) at {:.1} s, in the middle of a call",
            spell.whom,
            spell.at.as_secs_f64()
        ))
    }

    /// A recorded success is not called again, except by a worker that was paused in the middle of that call.
    fn after_the_record(&self, found: &mut Findings) -> Vec<Excused> {
        let mut excused = Vec::new();
        for (&(event, rpc), recorded) in &self.history.recorded {
            let calls = self.calls.get(&(event, rpc)).into_iter().flatten();
            // The recording clock may have been behind.
            for call in calls.filter(|call| call.came > *recorded + CLOCK_OFF_MAX) {
                if let Some(because) = self.stood_still(call, *recorded) {
                    excused.push(Excused { event, rpc: rpc.name(), because });
                    continue;
                }
                found.add(
                    "called_after_record",
                    format!(
                        "{event} at {}: recorded as done at {:.3} s, called by {} at {:.3} s (attempt {})",
                        rpc.name(),
                        recorded.as_secs_f64(),
                        call.worker,
                        call.came.as_secs_f64(),
                        call.attempt
                    ),
                );
            }
        }
        excused
    }

    /// The cursor advances; only a crash may set it back to a durable state.
    fn cursor(&self, found: &mut Findings) {
        for pair in self.history.cursor.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let crashed = |spell: &Spell| {
                spell.fault == Fault::PostgresCrashed && spell.at <= after.at && spell.until >= before.at
            };
            if after.last_seq < before.last_seq && !self.history.spells.iter().any(crashed) {
                found.add(
                    "cursor_went_back",
                    format!(
                        "from {} to {} at {:.1} s",
                        before.last_seq,
                        after.last_seq,
                        after.at.as_secs_f64()
                    ),
                );
            }
        }
    }

    /// Without observations a run proves nothing.
    fn blind_spots(&self, found: &mut Findings) {
        let seen: HashSet<EventId> = self.history.puts.iter().map(|put| put.event).collect();
        for &(event, rpc) in self.calls.keys() {
            if !seen.contains(&event) {
                found.add("blind", format!("{event}: {} was called, and no put was observed", rpc.name()));
            }
        }
        if self.history.cursor.is_empty() {
            found.add("blind", "the cursor was never observed".to_owned());
        }
        if self.history.looks == 0 {
            found.add("blind", "the relays' metrics were never read".to_owned());
        }
    }

    /// The fallback poll finds events only for a reason. A fault kept the notification from the relay, or prepared
    /// transactions committed as many without one.
    fn wake_ups(&self, found: &mut Findings) {
        for poll in &self.history.found {
            let muted = |spell: &Spell| {
                spell.fault.may_keep_notifications()
                    && spell.at <= poll.to
                    && spell.until + MUTED_FOR >= poll.from
            };
            let silent = self.history.silent.iter().filter(|silent| {
                poll.source == SOURCE && silent.from <= poll.to && silent.to + MUTED_FOR >= poll.from
            });
            let silent: usize = silent.map(|silent| silent.events).sum();
            if !self.history.spells.iter().any(muted) && poll.events > silent as u64 {
                found.add(
                    "found_by_fallback",
                    format!(
                        "{}: the fallback poll found {} events of {} between {:.1} and {:.1} s, {silent} of prepared transactions",
                        poll.relay,
                        poll.events,
                        poll.source,
                        poll.from.as_secs_f64(),
                        poll.to.as_secs_f64()
                    ),
                );
            }
        }
    }
}
