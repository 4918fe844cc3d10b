//! How many calls a server gets that is back after an outage. It may have just started, with cold caches and a backlog of
//! hours in front of it. So the first call is alone, and each answer permits one more: the calls double with each round.
//! A call without an answer halves them. Pure.

use crate::codes::Says;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ramp {
    /// `None` if all calls may begin.
    calls: Option<usize>,
}

impl Ramp {
    /// The server was away, and has answered.
    pub(crate) fn begins(&mut self) {
        self.calls = Some(1);
    }

    pub(crate) fn answered(&mut self, says: Says) {
        self.calls = self.calls.map(|calls| match says {
            Says::Succeeds | Says::Serves | Says::Refuses => calls.saturating_add(1),
            Says::Doubtful | Says::Away => (calls / 2).max(1),
            Says::Nothing => calls,
        });
    }

    /// How many of the `wanted` calls may be under way. The ramp ends at the policy's concurrency, and not at a lower limit: such
    /// a limit may end long before the server has shown that it serves so many.
    pub(crate) fn allows(&mut self, policy: usize, wanted: usize) -> usize {
        self.calls = self.calls.filter(|calls| *calls < policy);
        self.calls.map_or(wanted, |calls| calls.min(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Says::{Away, Doubtful, Nothing, Refuses, Serves, Succeeds};

    /// Guards promise 6: after an outage a server gets one call, and with each answer one more, up to the concurrency. Calls
    /// without an answer make them fewer, and never none.
    #[test]
    fn calls_grow_with_answers() {
        for (answers, expected) in [
            (vec![], 1),
            (vec![Succeeds], 2),
            (vec![Succeeds, Serves, Refuses], 4),
            (vec![Succeeds; 14], 15),
            (vec![Succeeds; 15], 16),
            (vec![Succeeds; 40], 16),
            (vec![Nothing, Nothing], 1),
            (vec![Away, Doubtful], 1),
            (vec![Succeeds, Succeeds, Succeeds, Away], 2),
            (vec![Succeeds, Succeeds, Succeeds, Doubtful, Succeeds], 3),
        ] {
            let mut ramp = Ramp::default();
            ramp.begins();
            answers.iter().for_each(|says| ramp.answered(*says));
            assert_eq!(ramp.allows(16, 16), expected, "{answers:?}");
        }
    }

    /// Guards promise 6: rounds of calls double, so a concurrency of 1000 is reached in ten rounds.
    #[test]
    fn each_round_doubles() {
        let mut ramp = Ramp::default();
        ramp.begins();
        let mut rounds = Vec::new();
        for _ in 0..11 {
            rounds.push(ramp.allows(1000, 1000));
            (0..rounds[rounds.len() - 1]).for_each(|_| ramp.answered(Succeeds));
        }
        assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]);
    }

    /// Guards: without an outage nothing is limited, whatever fails. A ramp that has ended does not come back with a higher
    /// concurrency.
    #[test]
    fn only_an_outage_begins_it() {
        let mut ramp = Ramp::default();
        ramp.answered(Away);
        assert_eq!(ramp.allows(16, 16), 16);
        ramp.begins();
        ramp.answered(Succeeds);
        assert_eq!((ramp.allows(2, 2), ramp.allows(64, 64)), (2, 64));
    }

    /// Guards promise 6: a limit that an operator sets during a ramp holds, and does not end the ramp.
    #[test]
    fn a_limit_does_not_end_it() {
        let mut ramp = Ramp::default();
        ramp.begins();
        (0..3).for_each(|_| ramp.answered(Succeeds));
        assert_eq!(ramp.allows(16, 2), 2);
        assert_eq!(ramp.allows(16, 16), 4, "the limit has ended, and the ramp goes on");
        assert_eq!(ramp.allows(16, 64), 4, "a higher limit does not end it either");
        (0..12).for_each(|_| ramp.answered(Succeeds));
        assert_eq!((ramp.allows(16, 2), ramp.allows(16, 64)), (2, 64));
    }
}
