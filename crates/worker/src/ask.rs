//! Pure: decides what to request from the queue next.

use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::{Gate, Probe};

/// How long a single slot waits for a delivery that has not failed, after each one that has.
const TURN: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) most: usize,
    /// Also deliveries that have failed before.
    pub(crate) failed: bool,
    /// So many of these may be called; the others go back.
    pub(crate) failed_most: usize,
    pub(crate) probe: Option<Probe>,
    /// When to make another request instead.
    pub(crate) until: Option<Instant>,
}

/// Slots for deliveries that have failed before: an old backlog must not take the slots of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailedSlots {
    pub(crate) free: usize,
    /// There is only one slot for all deliveries.
    pub(crate) single: bool,
    /// The last request found deliveries that have failed.
    pub(crate) found: bool,
    /// Whether the queue can select deliveries that have not failed.
    pub(crate) chooses: bool,
}

impl FailedSlots {
    /// Half of all; a single one is shared.
    pub(crate) fn of(concurrency: usize) -> usize {
        (concurrency / 2).max(1)
    }

    /// Whether the next request will find some, by what the last one found.
    pub(crate) fn finds(&self, asked: &Ask, found: bool) -> bool {
        if asked.failed { found } else { self.found && !self.single }
    }
}

/// The next request for `free` slots, of which `failed` has its part. `Err`: no request before then.
pub(crate) fn ask(
    gate: Gate,
    free: usize,
    failed: FailedSlots,
    now: Instant,
) -> Result<Ask, Option<Instant>> {
    let all = Ask { most: free, failed: true, failed_most: failed.free, probe: None, until: None };
    Ok(match gate {
        Gate::Shut { until } => return Err(until),
        Gate::Probe { probe, until } => {
            Ask { most: 1, failed: probe == Probe::Any, failed_most: 1, probe: Some(probe), until }
        }
        Gate::Fresh { until } => Ask { failed: false, failed_most: 0, until, ..all },
        Gate::All if !failed.chooses => all,
        Gate::All if failed.free == 0 => Ask { failed: false, ..all },
        Gate::All if failed.found && failed.single => {
            Ask { failed: false, failed_most: 0, until: Some(now + TURN), ..all }
        }
        // A queue returns any deliveries, and a surplus of failed ones would have to go back.
        Gate::All if failed.found => Ask { most: free.min(failed.free), ..all },
        Gate::All => all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 6: deliveries that have failed get only their slots, and others get all free ones.
    #[test]
    fn what_has_failed_leaves_slots_to_others() {
        let now = Instant::now();
        let slots = |free, found, chooses| FailedSlots { free, found, chooses, single: false };
        let asked =
            |gate, failed| ask(gate, 16, failed, now).map(|ask| (ask.most, ask.failed, ask.failed_most));
        let all = Gate::All;
        assert_eq!(asked(all, slots(8, false, true)), Ok((16, true, 8)));
        assert_eq!(asked(all, slots(8, true, true)), Ok((8, true, 8)));
        assert_eq!(asked(all, slots(0, true, true)), Ok((16, false, 0)));
        assert_eq!(asked(all, slots(0, true, false)), Ok((16, true, 0)), "SQS does not choose");
        assert_eq!(asked(Gate::Fresh { until: None }, slots(8, true, true)), Ok((16, false, 0)));
        for (probe, failed) in [(Probe::Any, true), (Probe::Fresh, false)] {
            assert_eq!(asked(Gate::Probe { probe, until: None }, slots(0, true, true)), Ok((1, failed, 1)));
        }
        assert_eq!(asked(Gate::Shut { until: None }, slots(8, true, true)), Err(None));
        let single = FailedSlots { free: 1, found: true, chooses: true, single: true };
        let turn = ask(all, 1, single, now).unwrap();
        assert_eq!((turn.most, turn.failed, turn.until), (1, false, Some(now + TURN)));
        assert!(!single.finds(&turn, false), "then it is the others' turn again");
        assert_eq!([FailedSlots::of(1), FailedSlots::of(2), FailedSlots::of(16)], [1, 1, 8]);
    }
}
