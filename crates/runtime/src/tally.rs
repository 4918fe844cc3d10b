use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The calls that a stop found under way: how many were finished since, and how many were cut off.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    finished: AtomicU64,
    cut: AtomicU64,
}

impl Tally {
    pub fn finished(&self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }

    pub fn cut(&self) {
        self.0.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// `finished 31, cut 1`
    pub fn told(&self) -> String {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!("finished {}, cut {}", count(&self.0.finished), count(&self.0.cut))
    }
}
