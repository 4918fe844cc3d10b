//! Pure: how much one statement of the leader asks for. After a timeout it asks for less and waits longer, so no turn fails
//! again and again at the same place.

use std::time::Duration;

/// Rows after a page's last byte are sent in vain. After a timeout on a slow network, the next connection must not ask for as
/// much at once.
const ROWS_AT_FIRST: usize = 100;
const SEQS_MIN: i64 = 1000;
const SEQS_MAX: i64 = 1_000_000;
const PATIENCE_MIN: Duration = Duration::from_secs(10);
const PATIENCE_MAX: Duration = Duration::from_secs(120);

/// It outlives a term, because a statement that times out ends the term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appetite {
    rows: usize,
    seqs: i64,
    patience: Duration,
}

impl Default for Appetite {
    fn default() -> Self {
        Self { rows: ROWS_AT_FIRST, seqs: SEQS_MAX, patience: PATIENCE_MIN }
    }
}

impl Appetite {
    pub(crate) fn rows(&self, page_max: usize) -> usize {
        page_max.min(self.rows)
    }

    /// How many seqs a page may span, because rows that are not visible yet lie between the others.
    pub(crate) fn seqs(&self) -> i64 {
        self.seqs
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// After a read: if its bytes were cut, ask for as many rows as fit, and otherwise for more again.
    pub(crate) fn read(&mut self, rows: usize, cut: bool) {
        self.rows = if cut { rows.max(1) } else { self.rows.saturating_mul(2) };
    }

    /// After a turn that was answered in time.
    pub(crate) fn answered(&mut self) {
        self.seqs = (self.seqs * 2).min(SEQS_MAX);
        self.patience = PATIENCE_MIN;
    }

    /// After a timeout. `page_max` bounds the number of rows.
    pub(crate) fn timed_out(&mut self, page_max: usize) {
        self.rows = (self.rows(page_max) / 2).max(1);
        self.seqs = (self.seqs / 2).max(SEQS_MIN);
        self.patience = (self.patience * 2).min(PATIENCE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 2 and 6: a statement that timed out is not repeated unchanged, and success restores all limits.
    #[test]
    fn what_timed_out_asks_for_less() {
        let mut appetite = Appetite::default();
        for _ in 0..10 {
            appetite.read(10, false);
        }
        assert_eq!((appetite.rows(1000), appetite.seqs()), (1000, SEQS_MAX));
        appetite.timed_out(1000);
        assert_eq!((appetite.rows(1000), appetite.seqs()), (500, SEQS_MAX / 2));
        assert_eq!(appetite.patience(), 2 * PATIENCE_MIN);
        for _ in 0..40 {
            appetite.timed_out(1000);
        }
        assert_eq!((appetite.rows(1000), appetite.seqs(), appetite.patience()), (1, SEQS_MIN, PATIENCE_MAX));
        for _ in 0..40 {
            appetite.read(1, false);
            appetite.answered();
        }
        assert_eq!(
            (appetite.rows(1000), appetite.seqs(), appetite.patience()),
            (1000, SEQS_MAX, PATIENCE_MIN)
        );
    }
}
