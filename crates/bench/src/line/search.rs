//! The highest sustainable rate: first up in large steps, then between the best success and the lowest failure.

const UP: f64 = 1.4;
/// Smaller steps are within the differences between runs.
const CLOSE: f64 = 1.08;

#[derive(Debug)]
pub(crate) struct Search {
    first: f64,
    held: Option<f64>,
    failed: Option<f64>,
    steps_left: usize,
}

impl Search {
    pub(crate) fn from(first: f64, steps: usize) -> Self {
        Self { first, held: None, failed: None, steps_left: steps }
    }

    /// The next rate to try; `None` at the end.
    pub(crate) fn next(&self) -> Option<f64> {
        if self.steps_left == 0 {
            return None;
        }
        match (self.held, self.failed) {
            (None, None) => Some(self.first),
            (Some(held), None) => Some(held * UP),
            (None, Some(failed)) => Some(failed / UP),
            (Some(held), Some(failed)) if failed / held > CLOSE => Some((held * failed).sqrt()),
            (Some(_), Some(_)) => None,
        }
    }

    pub(crate) fn heard(&mut self, rate: f64, held: bool) {
        self.steps_left -= 1;
        if held {
            self.held = Some(rate);
        } else {
            self.failed = Some(rate);
        }
    }

    /// The best sustained rate; without one, the next rate to try.
    pub(crate) fn best(&self) -> f64 {
        self.held.or(self.failed.map(|failed| failed / UP)).unwrap_or(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: f64, steps: usize) -> f64 {
        let mut search = Search::from(1000.0, steps);
        while let Some(rate) = search.next() {
            search.heard(rate, rate <= limit);
        }
        search.best()
    }

    /// Guards: the result is sustainable, and close to the limit, for any limit.
    #[test]
    fn a_search_ends_close_below_the_limit() {
        for limit in [220.0, 999.0, 1000.0, 1390.0, 5500.0, 12_000.0] {
            let found = found(limit, 20);
            assert!(found <= limit && limit / found < CLOSE, "{found} of {limit}");
        }
        assert_eq!(found(5500.0, 2), 1400.0);
    }
}
