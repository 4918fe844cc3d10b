use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Where to begin reading a table whose ids grow, so that a read does not walk over all removed rows.
///
/// A row below the lowest live one may still appear: its transaction has drawn the id, and has not committed yet. So the mark
/// stays below every id that was drawn less than `settled_after` ago. Transactions that draw ids end sooner than that.
#[derive(Debug)]
pub struct LowWater {
    settled_after: Duration,
    mark: i64,
    /// The highest ids seen, and when.
    drawn: VecDeque<(Instant, i64)>,
}

impl LowWater {
    pub fn new(settled_after: Duration) -> Self {
        Self { settled_after, mark: 0, drawn: VecDeque::new() }
    }

    /// No live row has an id below this one, and none will.
    pub fn mark(&self) -> i64 {
        self.mark
    }

    /// The lowest and the highest live id that a read from the mark on found.
    pub fn saw(&mut self, lowest: i64, highest: i64, now: Instant) {
        self.drawn.push_back((now, highest));
        while let Some((at, settled)) = self.drawn.front().copied()
            && now.duration_since(at) >= self.settled_after
        {
            self.mark = self.mark.max(settled.min(lowest));
            self.drawn.pop_front();
        }
    }

    /// Begins at the first id again, because ids were set back.
    pub fn reset(&mut self) {
        self.mark = 0;
        self.drawn.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 2 and 6: the mark passes removed rows, and never an id that an open transaction may have drawn.
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
