//! What publishers saw.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::history::{Change, Complaint, Outcome, Silent, Told};
use crate::routes::{GARBLED, subscribers};

/// What publishers saw, and the number of deliveries that follow from it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    told: Mutex<Vec<Told>>,
    silent: Mutex<Vec<Silent>>,
    complaints: Mutex<Vec<Complaint>>,
    events: AtomicUsize,
    due: AtomicUsize,
    /// While the relay was awake, and while it slept.
    prepared: [AtomicUsize; 2],
}

impl Ledger {
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no panic while held").clone()
    }

    pub(crate) fn silent(&self) -> Vec<Silent> {
        self.silent.lock().expect("no panic while held").clone()
    }

    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        self.complaints.lock().expect("no panic while held").clone()
    }

    pub(crate) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }

    /// The deliveries of all transactions with a known outcome.
    pub(crate) fn due(&self) -> usize {
        self.due.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, changes: &[Change], outcome: Outcome) {
        if outcome == Outcome::Committed {
            let due = changes.iter().filter(|change| change.name != GARBLED);
            self.due.fetch_add(due.map(|change| subscribers(&change.name).len()).sum(), Ordering::Relaxed);
            self.events.fetch_add(changes.len(), Ordering::Relaxed);
        }
        let told = changes.iter().map(|change| Told { event: change.event, outcome });
        self.told.lock().expect("no panic while held").extend(told);
    }

    pub(crate) fn prepared(&self, awake: bool) {
        self.prepared[usize::from(!awake)].fetch_add(1, Ordering::Relaxed);
    }

    /// Transactions that were prepared while the relay was awake, and while it slept.
    pub(crate) fn prepared_so_far(&self) -> (usize, usize) {
        (self.prepared[0].load(Ordering::Relaxed), self.prepared[1].load(Ordering::Relaxed))
    }

    /// Notes the commit of a prepared transaction.
    pub(crate) fn committed_silently(&self, silent: Silent) {
        self.silent.lock().expect("no panic while held").push(silent);
    }

    pub(crate) fn complain(&self, kind: &'static str, what: String) {
        self.complaints.lock().expect("no panic while held").push(Complaint { kind, what });
    }
}
