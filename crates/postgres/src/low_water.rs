use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Where to begin looking in a table whose ids grow, so that a look does not walk over all that was removed.
///
/// A row below the lowest live one may still appear: its transaction drew the id, and has not committed yet. So the mark
/// stays below every id that was drawn less than `settled_after` ago. Transactions that draw ids end sooner than that.
#[derive(Debug)]
pub struct LowWater {
    settled_after: Duration,
    mark: i64,
    /// When which highest id was seen.
    drawn: VecDeque<(Instant, i64)>,
}

impl LowWater {
    pub fn new(settled_after: Duration) -> Self {
        Self { settled_after, mark: 0, drawn: VecDeque::new() }
    }

    /// Nothing live lies below this id, and nothing will.
    pub fn mark(&self) -> i64 {
        self.mark
    }

    /// What a look from the mark on found: the lowest live id, and the highest one.
    pub fn saw(&mut self, lowest: i64, highest: i64, now: Instant) {
        self.drawn.push_back((now, highest));
        while let Some((at, settled)) = self.drawn.front().copied()
            && now.duration_since(at) >= self.settled_after
        {
            self.mark = self.mark.max(settled.min(lowest));
            self.drawn.pop_front();
        }
    }

    /// Looks at everything again: ids were set back.
    pub fn reset(&mut self) {
        self.mark = 0;
        self.drawn.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 2 and 6: the mark passes what is removed, and never an id that an open transaction may have drawn.
    #[test]
    fn the_mark_stays_below_what_may_still_come() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut low = LowWater::new(Duration::from_secs(10));
        low.saw(90, 100, at(0)); // 95 is drawn and not committed
        low.saw(90, 120, at(5));
        assert_eq!(low.mark(), 0);
        low.saw(95, 130, at(10)); // now it is there
        assert_eq!(low.mark(), 95);
        low.saw(125, 130, at(15));
        assert_eq!(low.mark(), 120, "125 is live, but what was drawn in the last ten seconds is unknown");
        low.saw(130, 130, at(30));
        assert_eq!(low.mark(), 130);
        low.reset();
        assert_eq!(low.mark(), 0);
    }
}
