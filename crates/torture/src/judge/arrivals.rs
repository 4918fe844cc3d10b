//! Where each event must have arrived, and where none may.

use std::collections::{HashMap, HashSet};

use outbox::EventId;

use super::{Facts, Findings};
use crate::history::Outcome;
use crate::routes::{GARBLED, Rpc};

impl Facts<'_> {
    /// The outcome that a publisher saw equals the domain table's.
    pub(super) fn outcomes(&self, found: &mut Findings) {
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
    pub(super) fn arrivals(&self, found: &mut Findings) {
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
    pub(super) fn strangers(&self, found: &mut Findings) {
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

    /// A row that no bus can carry is parked once, with a code, and never put.
    pub(super) fn parked_once(&self, found: &mut Findings) {
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
    pub(super) fn moved_once(&self, found: &mut Findings) {
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
    pub(super) fn records(&self, found: &mut Findings) {
        for &(event, rpc) in self.calls.keys() {
            if self.succeeded(event, rpc).is_some() && !self.history.recorded.contains_key(&(event, rpc)) {
                found.add(
                    "unrecorded",
                    format!("{event} at {}: succeeded, and is not recorded as done", rpc.name()),
                );
            }
        }
    }
}
