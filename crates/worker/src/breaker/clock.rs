//! Decides when the next probe may begin: one at a time, and after twice the wait each time.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Clock {
    at: Instant,
    wait: Duration,
    wait_max: Duration,
    out: bool,
}

impl Clock {
    pub(super) fn new(wait_min: Duration, wait_max: Duration, now: Instant) -> Self {
        let first = wait_min.min(wait_max);
        Self { at: now + first, wait: (first * 2).min(wait_max), wait_max, out: false }
    }

    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let begins = !self.out && now >= self.at;
        self.out |= begins;
        begins
    }

    /// A probe without a call does not double the wait.
    pub(super) fn ended(&mut self, called: bool, now: Instant) {
        self.out = false;
        if called {
            self.at = now + self.wait;
            self.wait = (self.wait * 2).min(self.wait_max);
        }
    }

    /// When the next probe may begin; `None` while one is under way.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.out).then_some(self.at)
    }

    pub(super) fn is_out(&self) -> bool {
        self.out
    }
}
